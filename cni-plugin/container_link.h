// container_link: the container's end. What it shall have is a plain value made from an IPAM result; one write puts it
// there.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cni-plugin/call.h"
#include "cni-plugin/net_result.h"
#include "net/netns.h"
#include "net/rtnl.h"

namespace fairlead::cni {

struct ContainerLink {
  std::uint32_t index = 0;
  std::optional<std::string> rename{};  // it was born under another name
  bool arp_notify = false;
  std::vector<net::AddressInfo> addresses{};
  std::vector<net::NeighbourInfo> neighbours{};
  std::vector<net::RouteInfo> routes{};
  bool operator==(const ContainerLink&) const = default;
};

// How the container reaches its own subnet.
enum class Subnet : std::uint8_t {
  OnLink,      // everybody of it is on the link: a bridge's, a macvlan's
  ViaGateway,  // only the gateway is: the other end of a veth
};
struct DuplicateDetection {
  bool on = false;  // RFC 4862 section 5.4: an address is of no use for a second
};
// Addresses and routes of `result`; a route without a gateway goes by the first address' of its family. An Error when
// the subnet goes by a gateway and an address has none.
Result<ContainerLink> container_link(std::uint32_t index, const NetResult& result, Subnet subnet,
                                     DuplicateDetection detection = {});

// The routed container of fairlead's own: /32 and /128, everything by one gateway that answers to no ARP, because its
// MAC is known (Calico and Cilium do likewise).
ContainerLink routed_container_link(std::uint32_t index, const NetResult& result, const net::Mac& gateway);

// In order; the link comes up first.
std::vector<net::NetlinkMessage> messages(const ContainerLink& link);

// The container's namespace and the link inside.
struct Inside {
  net::Netns netns;
  net::Rtnl rtnl;  // in that namespace, wherever the thread is
  net::LinkInfo link;
};
struct IpSettings {
  std::optional<bool> accept_dad{};  // net.ipv6.conf.<name>.accept_dad, which link-local addresses obey
  bool ndisc_notify = false;         // net.ipv6.conf.<name>.ndisc_notify
};
Result<net::Netns> open_netns(const std::string& path);  // an Error says that it is CNI_NETNS

// Where CNI_IFNAME is free.
struct Place {
  net::Netns netns;
  net::Rtnl rtnl;  // in that namespace
};
// Stands before everything else of an ADD, for what fails behind it is undone by a DEL, which goes by the name. An
// Error with kAlreadyAttached when the container has an interface of that name.
Result<Place> free_place(const Call& call);
Error already_there(const std::string& ifname);

Result<Inside> enter(Place place, const std::string& name, const IpSettings& settings);

Status bring_up(Inside& inside);

// As it stands in a result.
Interface told(const Inside& inside, const std::string& sandbox);

// One write. IPv6 is switched on where a runtime switched it off for this link, since there is an address for it.
Status configure(Inside& inside, const ContainerLink& link);

// Until duplicate address detection is through with every address of the link, which is up and has a carrier. An Error
// when somebody has one of them already, or after ten seconds.
Status await_detection(Inside& inside);

}  // namespace fairlead::cni
