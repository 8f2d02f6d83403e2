// host_link: the host's end of a container's veth, from birth to removal. It is found again by its name and alias,
// which are made from the attachment alone (marks.h).
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "cni-plugin/call.h"
#include "net/link_events.h"
#include "net/netns.h"
#include "net/rtnl.h"

namespace fairlead::cni {

// The protocol number of routes that are ours (linux v6.1 include/uapi/linux/rtnetlink.h leaves it free; so does
// iproute2's rt_protos).
inline constexpr std::uint8_t kRouteProtocol = 76;

struct VethWish {
  std::uint32_t mtu = 0;
  std::uint32_t master = 0;
  std::string slave_data{};
  std::optional<net::Mac> host_mac{}, container_mac{};
  bool up = true;  // the host's end
};
// Both ends in one write: the host's marked, the container's under its name in its namespace. The name of the
// host's end. An Error with kAlreadyAttached when the container has an interface of that name.
Result<std::string> create_veth(net::Rtnl& host, const Attachment& attachment, const net::Netns& netns,
                                const VethWish& wish);

// The host's end of the attachment, if it has one.
Result<std::optional<net::LinkInfo>> find_host_link(net::Rtnl& host, const Attachment& attachment);

// Once it is told as IF_OPER_UP: packets pass, and a bridge's port forwards. An Error after two seconds.
Result<net::LinkInfo> wait_until_up(net::Rtnl& rtnl, const std::string& name);

// Takes a link of the thread's namespace away; done when it is no longer listed.
//
// The kernel answers RTM_DELLINK only when no packet in flight can refer to the link (linux v6.1 net/core/dev.c
// netdev_run_todo, an RCU barrier): 30 ms in which nobody needs us. A child process waits them out, with no descriptor
// of ours but the socket, so that neither a runtime that reads our stdout to its end nor the next holder of a lock
// waits with it.
Status remove_link(std::uint32_t index);

// GC: host's ends whose mark is of this network and of no attachment in call.valid. Goes on behind errors.
Status sweep_host_links(const Call& call);

// Whatever the attachment has by way of interfaces: its veth, else a link of its name in the container, whoever made it
// (another version of a plugin), but a veth of another attachment. Nothing of the host's that is not marked.
Status remove_interface(const Call& call);

}  // namespace fairlead::cni
