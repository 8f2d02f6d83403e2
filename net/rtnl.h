// rtnl: links, addresses, routes, neighbours, queueing disciplines of one network namespace, by rtnetlink messages made
// by hand. What is asked is a pure message over plain structs; Rtnl sends it.
//
// For the static CNI binary, which wires one pod and goes: a handful of messages in one write. The agent watches links
// through net/links.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"
#include "net/netlink_message.h"
#include "net/netns.h"

namespace fairlead::net {

using Mac = std::array<std::uint8_t, 6>;
Result<Mac> parse_mac(std::string_view text);  // "02:00:00:00:00:01"
std::string to_string(const Mac& mac);

// A link as the kernel tells it.
struct LinkInfo {
  std::uint32_t index = 0;
  std::string name{};
  std::string kind{};   // "veth", "bridge", "ifb", "macvlan"; empty: a device
  std::string alias{};  // IFLA_IFALIAS
  Mac mac{};
  std::uint32_t mtu = 0;
  std::uint32_t flags = 0;                   // IFF_UP ...
  std::uint32_t master = 0;                  // index; 0: none
  std::uint32_t peer = 0;                    // IFLA_LINK: the veth's other end, the macvlan's master
  std::optional<std::int32_t> peer_netns{};  // IFLA_LINK_NETNSID: `peer` counts in another namespace
  std::uint8_t operstate = 0;                // RFC 2863, IF_OPER_UP is 6
  std::uint32_t tx_queue_len = 0;
  std::uint32_t promiscuity = 0;
  std::string kind_data{};                  // IFLA_INFO_DATA, attributes
  std::string slave_data{};                 // IFLA_INFO_SLAVE_DATA, attributes: of a bridge's port
  std::optional<std::int32_t> accept_ra{};  // net.ipv6.conf.<name>.accept_ra; without IPv6 there is none
  bool operator==(const LinkInfo&) const = default;
};

struct AddressInfo {
  InterfaceAddress address{};
  std::uint32_t link = 0;
  std::uint8_t scope = 0;
  std::uint32_t flags = 0;  // IFA_F_TENTATIVE ...
  bool operator==(const AddressInfo&) const = default;
};

struct RouteInfo {
  Prefix destination{};
  std::optional<Ip> gateway{};
  std::uint32_t link = 0;
  std::optional<Ip> source{};  // RTA_PREFSRC
  std::uint8_t scope = 0;      // RT_SCOPE_UNIVERSE
  std::uint8_t protocol = 3;   // RTPROT_BOOT
  std::uint32_t table = 254;   // RT_TABLE_MAIN
  std::uint32_t priority = 0, mtu = 0, advmss = 0;
  bool on_link = false;  // RTNH_F_ONLINK
  bool operator==(const RouteInfo&) const = default;
};

struct NeighbourInfo {
  Ip address{};
  std::uint32_t link = 0;
  Mac mac{};
  bool permanent = true;
  bool operator==(const NeighbourInfo&) const = default;
};

// A pair made in one write: the near end in the socket's namespace, the far end born in another.
struct VethPair {
  std::string name{};
  std::string alias{};  // of the near end
  std::optional<Mac> mac{};
  std::uint32_t mtu = 0;     // of both; 0: the kernel's
  std::uint32_t master = 0;  // index of a bridge; 0: none
  std::string slave_data{};  // of that bridge's port: attributes of IFLA_INFO_SLAVE_DATA (net/bridge.h)
  bool up = true;            // the near end; the far one cannot be born up (ENOTCONN)
  std::string peer_name{};
  std::optional<Mac> peer_mac{};
  int peer_netns_fd = -1;  // -1: the socket's own
};
// In order, for one write. EEXIST when either name is taken in its namespace. The kernel goes on behind an error, and
// the alias would then stand on somebody else's link of that name: ask first whether it is free.
std::vector<NetlinkMessage> create_veth(const VethPair& pair);

// Any other kind. `data` are the attributes of IFLA_INFO_DATA, already put together.
struct NewLink {
  std::string name{};
  std::string kind{};
  std::string data{};
  std::string alias{};  // only of one born in the socket's own namespace
  std::optional<Mac> mac{};
  std::uint32_t mtu = 0;
  std::uint32_t link = 0;          // IFLA_LINK: the parent of a macvlan or ipvlan
  std::uint32_t tx_queue_len = 0;  // 0: the kernel's
  bool up = false;
  int netns_fd = -1;  // where it is born; -1: the socket's own
};
// As create_veth: in order, for one write, where the name is free. EOPNOTSUPP when the kernel has no such kind.
std::vector<NetlinkMessage> create_link(const NewLink& link);

// Only what is set changes.
struct LinkChange {
  std::uint32_t index = 0;  // 0: the link called `name`, which then is no change
  std::optional<bool> up{};
  std::optional<std::string> name{};
  std::optional<std::string> alias{};
  std::optional<Mac> mac{};
  std::optional<std::uint32_t> mtu{};
  std::optional<std::uint32_t> master{};  // 0: none
  std::optional<std::uint32_t> tx_queue_len{};
  std::optional<bool> promiscuous{}, all_multicast{};
  std::string slave_data{};          // empty: no change
  std::optional<bool> arp_notify{};  // net.ipv4.conf.<name>.arp_notify
};
NetlinkMessage change_link(const LinkChange& change);
// The link makes itself no IPv6 address when it comes up, and says nothing by IPv6. Refused by a kernel without IPv6.
NetlinkMessage stay_silent(const std::string& name);
NetlinkMessage delete_link_message(std::uint32_t index);

NetlinkMessage add_address(const AddressInfo& address);     // EEXIST when it is there
NetlinkMessage delete_address(const AddressInfo& address);  // EADDRNOTAVAIL when there is none
NetlinkMessage add_route(const RouteInfo& route);           // EEXIST when the destination has one of that priority
// Where the destination has one already: IPv4 prefers the newest, IPv6 spreads. EEXIST when it is the very same.
NetlinkMessage add_parallel_route(const RouteInfo& route);
NetlinkMessage replace_route(const RouteInfo& route);
NetlinkMessage delete_route(
    const RouteInfo& route);  // ESRCH when there is none; scope and protocol do not tell it apart
NetlinkMessage replace_neighbour(const NeighbourInfo& neighbour);

class Rtnl {
 public:
  // In the calling thread's network namespace, and stays there.
  static Result<Rtnl> open();
  static Result<Rtnl> open(const Netns& netns);  // in that one

  Result<std::optional<LinkInfo>> find_link(const std::string& name);
  Result<std::optional<LinkInfo>> find_link(std::uint32_t index);
  Result<LinkInfo> link(const std::string& name);  // an Error when there is none
  Result<std::vector<LinkInfo>> list_links();
  // Of one family: then nobody else's change of configuration is waited for, as a dump of all families waits (linux
  // v6.18 net/core/rtnetlink.c rtnl_dumpit, RTNL_FLAG_DUMP_UNLOCKED).
  Result<std::vector<AddressInfo>> list_addresses(Family family, std::uint32_t link);  // 0: of all
  Result<std::vector<AddressInfo>> list_addresses(std::uint32_t link);                 // of both families
  Result<std::vector<RouteInfo>> list_routes(Family family, std::uint32_t link);       // main table; 0: of all links
  Result<std::vector<NeighbourInfo>> list_neighbours(std::uint32_t link);  // those with a MAC; 0: of all links
  NetlinkSocket& socket() { return socket_; }
  Status order(const std::vector<NetlinkMessage>& messages) { return socket_.order_all(messages); }

 private:
  explicit Rtnl(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
};

}  // namespace fairlead::net
