#include "net/rtnl.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

namespace fairlead::net {
namespace {

constexpr std::uint16_t kCreate = NLM_F_CREATE;
constexpr std::uint16_t kCreateNew = NLM_F_CREATE | NLM_F_EXCL;

std::uint8_t address_family(Family family) { return family == Family::V4 ? AF_INET : AF_INET6; }

// 4 or 16 bytes, as attributes carry them.
std::string_view wire(const Ip& ip) {
  const std::string_view all(reinterpret_cast<const char*>(ip.bytes().data()), ip.bytes().size());
  return ip.is_v4() ? all.substr(12) : all;
}

std::optional<Ip> parse_wire(std::string_view bytes) {
  if (bytes.size() == 4) return Ip::from_v4_be(netlink_value<std::uint32_t>(bytes));
  if (bytes.size() == 16) return Ip::from_bytes(netlink_value<std::array<std::uint8_t, 16>>(bytes));
  return std::nullopt;
}

std::string terminated(std::string_view bytes) { return std::string(bytes.substr(0, bytes.find('\0'))); }

ifinfomsg link_header(std::uint32_t index = 0, bool up = false) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = static_cast<int>(index);
  if (up) header.ifi_flags = header.ifi_change = IFF_UP;
  return header;
}

// The kernel takes no alias and no settings of the port while it makes a link (linux v6.1 net/core/rtnetlink.c
// rtnl_create_link): they are a second message.
void then_mark(std::vector<NetlinkMessage>& messages, const std::string& name, const std::string& alias,
               const std::string& slave_data) {
  if (alias.empty() && slave_data.empty()) return;
  LinkChange change;
  change.name = name;
  if (!alias.empty()) change.alias = alias;
  change.slave_data = slave_data;
  messages.push_back(change_link(change));
}

NetlinkMessage address_message(std::uint16_t type, std::uint16_t flags, const AddressInfo& address) {
  const InterfaceAddress& at = address.address;
  ifaddrmsg header{};
  header.ifa_family = address_family(at.family());
  header.ifa_prefixlen = at.length;
  header.ifa_scope = address.scope;
  header.ifa_index = address.link;
  NetlinkMessage message(type, flags);
  message.header(header).attribute(IFA_LOCAL, wire(at.address)).attribute(IFA_ADDRESS, wire(at.address));
  // As every tool but the kernel fills it in; a subnet of two addresses or one has no broadcast (RFC 3021).
  if (type == RTM_NEWADDR && at.address.is_v4() && at.length < 31) {
    const std::uint32_t hosts = htonl(at.length == 0 ? 0xffffffffU : (1U << (32 - at.length)) - 1);
    message.value(IFA_BROADCAST, at.address.v4_be() | hosts);
  }
  if (address.flags != 0) message.value(IFA_FLAGS, address.flags);
  return message;
}

NetlinkMessage route_message(std::uint16_t type, std::uint16_t flags, const RouteInfo& route) {
  const bool deletes = type == RTM_DELROUTE;
  rtmsg header{};
  header.rtm_family = address_family(route.destination.family());
  header.rtm_dst_len = route.destination.length;
  header.rtm_table = route.table < 256 ? static_cast<std::uint8_t>(route.table) : std::uint8_t{RT_TABLE_COMPAT};
  header.rtm_protocol = deletes ? std::uint8_t{RTPROT_UNSPEC} : route.protocol;
  header.rtm_scope = deletes ? std::uint8_t{RT_SCOPE_NOWHERE} : route.scope;
  header.rtm_type = deletes ? std::uint8_t{RTN_UNSPEC} : std::uint8_t{RTN_UNICAST};
  if (route.on_link) header.rtm_flags = RTNH_F_ONLINK;
  NetlinkMessage message(type, flags);
  message.header(header);
  if (route.destination.length != 0) message.attribute(RTA_DST, wire(route.destination.address));
  if (route.gateway) message.attribute(RTA_GATEWAY, wire(*route.gateway));
  if (route.link != 0) message.value(RTA_OIF, route.link);
  if (route.source) message.attribute(RTA_PREFSRC, wire(*route.source));
  if (route.priority != 0) message.value(RTA_PRIORITY, route.priority);
  if (route.table >= 256) message.value(RTA_TABLE, route.table);
  if (route.mtu != 0 || route.advmss != 0) {
    message.nest(RTA_METRICS | NLA_F_NESTED, [&](NetlinkMessage& metrics) {
      if (route.mtu != 0) metrics.value(RTAX_MTU, route.mtu);
      if (route.advmss != 0) metrics.value(RTAX_ADVMSS, route.advmss);
    });
  }
  return message;
}

void parse_link_info(std::string_view info, LinkInfo& link) {
  link.kind = terminated(netlink_attribute(info, IFLA_INFO_KIND));
  link.kind_data = netlink_attribute(info, IFLA_INFO_DATA);
  link.slave_data = netlink_attribute(info, IFLA_INFO_SLAVE_DATA);
}

// linux v6.1 net/ipv6/addrconf.c ipv6_store_devconf: an array in the order of DEVCONF_*.
std::optional<std::int32_t> parse_accept_ra(std::string_view families) {
  const auto settings = netlink_attribute(netlink_attribute(families, AF_INET6), IFLA_INET6_CONF);
  constexpr std::size_t kAt = DEVCONF_ACCEPT_RA * sizeof(std::int32_t);
  if (settings.size() < kAt + sizeof(std::int32_t)) return std::nullopt;
  return netlink_value<std::int32_t>(settings.substr(kAt));
}

LinkInfo parse_link(std::string_view body) {
  const auto header = netlink_value<ifinfomsg>(body);
  LinkInfo link;
  link.index = static_cast<std::uint32_t>(header.ifi_index);
  link.flags = header.ifi_flags;
  body.remove_prefix(std::min(body.size(), NLMSG_ALIGN(sizeof header)));
  for_each_netlink_attribute(body, [&](std::uint16_t type, std::string_view value) {
    switch (type) {
      case IFLA_IFNAME: link.name = terminated(value); break;
      case IFLA_IFALIAS: link.alias = terminated(value); break;
      case IFLA_ADDRESS: link.mac = netlink_value<Mac>(value.size() == sizeof(Mac) ? value : ""); break;
      case IFLA_MTU: link.mtu = netlink_value<std::uint32_t>(value); break;
      case IFLA_MASTER: link.master = netlink_value<std::uint32_t>(value); break;
      case IFLA_LINK: link.peer = netlink_value<std::uint32_t>(value); break;
      case IFLA_LINK_NETNSID: link.peer_netns = netlink_value<std::int32_t>(value); break;
      case IFLA_OPERSTATE: link.operstate = netlink_value<std::uint8_t>(value); break;
      case IFLA_TXQLEN: link.tx_queue_len = netlink_value<std::uint32_t>(value); break;
      case IFLA_PROMISCUITY: link.promiscuity = netlink_value<std::uint32_t>(value); break;
      case IFLA_LINKINFO: parse_link_info(value, link); break;
      case IFLA_AF_SPEC: link.accept_ra = parse_accept_ra(value); break;
      default: break;
    }
  });
  return link;
}

std::optional<AddressInfo> parse_address(std::string_view body) {
  const auto header = netlink_value<ifaddrmsg>(body);
  AddressInfo out;
  out.link = header.ifa_index;
  out.scope = header.ifa_scope;
  out.flags = header.ifa_flags;
  out.address.length = header.ifa_prefixlen;
  std::optional<Ip> local, address;
  body.remove_prefix(std::min(body.size(), NLMSG_ALIGN(sizeof header)));
  for_each_netlink_attribute(body, [&](std::uint16_t type, std::string_view value) {
    if (type == IFA_LOCAL) local = parse_wire(value);
    if (type == IFA_ADDRESS) address = parse_wire(value);
    if (type == IFA_FLAGS) out.flags = netlink_value<std::uint32_t>(value);
  });
  if (!local) local = address;  // IPv6 tells only this one, and the peer's where there is one
  if (!local) return std::nullopt;
  out.address.address = *local;
  return out;
}

// Nothing for what is no unicast route of the main table: local and broadcast ones stand in another.
std::optional<RouteInfo> parse_route(std::string_view body) {
  const auto header = netlink_value<rtmsg>(body);
  if (header.rtm_type != RTN_UNICAST || (header.rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;
  RouteInfo route;
  route.table = header.rtm_table;
  route.scope = header.rtm_scope;
  route.protocol = header.rtm_protocol;
  route.on_link = (header.rtm_flags & RTNH_F_ONLINK) != 0;
  Ip destination = header.rtm_family == AF_INET ? Ip::v4(0, 0, 0, 0) : Ip();
  body.remove_prefix(std::min(body.size(), NLMSG_ALIGN(sizeof header)));
  for_each_netlink_attribute(body, [&](std::uint16_t type, std::string_view value) {
    switch (type) {
      case RTA_DST: destination = parse_wire(value).value_or(destination); break;
      case RTA_GATEWAY: route.gateway = parse_wire(value); break;
      case RTA_OIF: route.link = netlink_value<std::uint32_t>(value); break;
      case RTA_PREFSRC: route.source = parse_wire(value); break;
      case RTA_PRIORITY: route.priority = netlink_value<std::uint32_t>(value); break;
      case RTA_TABLE: route.table = netlink_value<std::uint32_t>(value); break;
      case RTA_METRICS:
        route.mtu = netlink_value<std::uint32_t>(netlink_attribute(value, RTAX_MTU));
        route.advmss = netlink_value<std::uint32_t>(netlink_attribute(value, RTAX_ADVMSS));
        break;
      // Several ways to one destination: the first one stands for all.
      case RTA_MULTIPATH: {
        const auto hop = netlink_value<rtnexthop>(value);
        route.link = static_cast<std::uint32_t>(hop.rtnh_ifindex);
        if (value.size() > sizeof hop)
          route.gateway = parse_wire(netlink_attribute(value.substr(sizeof hop), RTA_GATEWAY));
        break;
      }
      default: break;
    }
  });
  route.destination = Prefix::of(destination, header.rtm_dst_len);
  return route.table == RT_TABLE_MAIN ? std::optional(route) : std::nullopt;
}

// A dump's answers that `parse` takes and that lie at `link` (0: anywhere).
template <typename T>
Result<std::vector<T>> gather(NetlinkSocket& socket, const NetlinkMessage& question, std::uint32_t link,
                              std::optional<T> (*parse)(std::string_view)) {
  std::vector<T> found;
  for (const std::string& body : TRY(socket.ask(question))) {
    std::optional<T> one = parse(body);
    if (one && (link == 0 || one->link == link)) found.push_back(*std::move(one));
  }
  return found;
}

std::optional<NeighbourInfo> parse_neighbour(std::string_view body) {
  const auto header = netlink_value<ndmsg>(body);
  NeighbourInfo out;
  out.link = static_cast<std::uint32_t>(header.ndm_ifindex);
  out.permanent = (header.ndm_state & NUD_PERMANENT) != 0;
  body.remove_prefix(std::min(body.size(), NLMSG_ALIGN(sizeof header)));
  const std::optional<Ip> address = parse_wire(netlink_attribute(body, NDA_DST));
  const std::string_view mac = netlink_attribute(body, NDA_LLADDR);
  if (!address || mac.size() != sizeof(Mac) || (header.ndm_state & NUD_NOARP) != 0) return std::nullopt;
  out.address = *address;
  out.mac = netlink_value<Mac>(mac);
  return out;
}

NetlinkMessage link_question(std::uint32_t index) {
  NetlinkMessage message(RTM_GETLINK, 0);
  message.header(link_header(index));
  return message;
}

// One queue each way, which is what a veth uses anyhow. Not told, the kernel makes one for every processor there may be
// and then sets all but one aside, waiting two grace periods of RCU under its lock (linux v6.18 drivers/net/veth.c
// veth_init_queues, net/core/dev.c netif_set_real_num_tx_queues).
void with_one_queue(NetlinkMessage& message) {
  message.value(IFLA_NUM_TX_QUEUES, std::uint32_t{1}).value(IFLA_NUM_RX_QUEUES, std::uint32_t{1});
}

}  // namespace

Result<Mac> parse_mac(std::string_view text) {
  const auto no_mac = [&] { return Error(base::cat("\"", text, "\" is not a MAC address (02:00:00:00:00:01)")); };
  constexpr std::string_view kDigits = "0123456789abcdef";
  Mac mac{};
  if (text.size() != mac.size() * 3 - 1) return no_mac();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i % 3 == 2) {
      if (text[i] != ':' && text[i] != '-') return no_mac();
      continue;
    }
    const char lower = text[i] >= 'A' && text[i] <= 'F' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
    const std::size_t digit = kDigits.find(lower);
    if (digit == kDigits.npos) return no_mac();
    mac[i / 3] = static_cast<std::uint8_t>(std::size_t{mac[i / 3]} * 16 + digit);
  }
  return mac;
}

std::string to_string(const Mac& mac) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : mac) {
    if (!out.empty()) out.push_back(':');
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::vector<NetlinkMessage> create_veth(const VethPair& pair) {
  NetlinkMessage message(RTM_NEWLINK, kCreateNew);
  message.header(link_header(0, pair.up)).text(IFLA_IFNAME, pair.name);
  if (pair.mac) message.value(IFLA_ADDRESS, *pair.mac);
  if (pair.mtu != 0) message.value(IFLA_MTU, pair.mtu);
  if (pair.master != 0) message.value(IFLA_MASTER, pair.master);
  with_one_queue(message);
  message.nest(IFLA_LINKINFO | NLA_F_NESTED, [&](NetlinkMessage& info) {
    info.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA | NLA_F_NESTED, [&](NetlinkMessage& data) {
      data.nest(VETH_INFO_PEER | NLA_F_NESTED, [&](NetlinkMessage& peer) {
        peer.header(link_header()).text(IFLA_IFNAME, pair.peer_name);
        if (pair.peer_mac) peer.value(IFLA_ADDRESS, *pair.peer_mac);
        if (pair.mtu != 0) peer.value(IFLA_MTU, pair.mtu);
        with_one_queue(peer);
        if (pair.peer_netns_fd >= 0) peer.value(IFLA_NET_NS_FD, std::uint32_t(pair.peer_netns_fd));
      });
    });
  });
  std::vector<NetlinkMessage> messages{std::move(message)};
  then_mark(messages, pair.name, pair.alias, pair.slave_data);
  return messages;
}

std::vector<NetlinkMessage> create_link(const NewLink& link) {
  NetlinkMessage message(RTM_NEWLINK, kCreateNew);
  message.header(link_header(0, link.up)).text(IFLA_IFNAME, link.name);
  if (link.mac) message.value(IFLA_ADDRESS, *link.mac);
  if (link.mtu != 0) message.value(IFLA_MTU, link.mtu);
  if (link.link != 0) message.value(IFLA_LINK, link.link);
  if (link.tx_queue_len != 0) message.value(IFLA_TXQLEN, link.tx_queue_len);
  if (link.netns_fd >= 0) message.value(IFLA_NET_NS_FD, std::uint32_t(link.netns_fd));
  message.nest(IFLA_LINKINFO | NLA_F_NESTED, [&](NetlinkMessage& info) {
    info.text(IFLA_INFO_KIND, link.kind);
    if (!link.data.empty()) info.attribute(IFLA_INFO_DATA | NLA_F_NESTED, link.data);
  });
  std::vector<NetlinkMessage> messages{std::move(message)};
  if (link.netns_fd < 0) then_mark(messages, link.name, link.alias, "");
  return messages;
}

// RTM_NEWLINK without NLM_F_CREATE: RTM_SETLINK would pass over a port's settings.
NetlinkMessage change_link(const LinkChange& change) {
  ifinfomsg header = link_header(change.index);
  const auto flag = [&](const std::optional<bool>& wanted, unsigned bit) {
    if (!wanted) return;
    header.ifi_change |= bit;
    if (*wanted) header.ifi_flags |= bit;
  };
  flag(change.up, IFF_UP);
  flag(change.promiscuous, IFF_PROMISC);
  flag(change.all_multicast, IFF_ALLMULTI);
  NetlinkMessage message(RTM_NEWLINK, 0);
  message.header(header);
  if (change.name) message.text(IFLA_IFNAME, *change.name);
  if (change.alias) message.attribute(IFLA_IFALIAS, *change.alias);
  if (change.mac) message.value(IFLA_ADDRESS, *change.mac);
  if (change.mtu) message.value(IFLA_MTU, *change.mtu);
  if (change.master) message.value(IFLA_MASTER, *change.master);
  if (change.tx_queue_len) message.value(IFLA_TXQLEN, *change.tx_queue_len);
  if (!change.slave_data.empty()) {
    message.nest(IFLA_LINKINFO | NLA_F_NESTED,
                 [&](NetlinkMessage& info) { info.attribute(IFLA_INFO_SLAVE_DATA | NLA_F_NESTED, change.slave_data); });
  }
  if (change.arp_notify) {
    message.nest(IFLA_AF_SPEC | NLA_F_NESTED, [&](NetlinkMessage& families) {
      families.nest(AF_INET | NLA_F_NESTED, [&](NetlinkMessage& v4) {
        v4.nest(IFLA_INET_CONF | NLA_F_NESTED, [&](NetlinkMessage& settings) {
          settings.value(IPV4_DEVCONF_ARP_NOTIFY, std::uint32_t{*change.arp_notify});
        });
      });
    });
  }
  return message;
}

NetlinkMessage stay_silent(const std::string& name) {
  NetlinkMessage message(RTM_NEWLINK, 0);
  message.header(link_header()).text(IFLA_IFNAME, name);
  return message.nest(IFLA_AF_SPEC | NLA_F_NESTED, [&](NetlinkMessage& families) {
    families.nest(AF_INET6 | NLA_F_NESTED, [&](NetlinkMessage& v6) {
      v6.value(IFLA_INET6_ADDR_GEN_MODE, std::uint8_t{IN6_ADDR_GEN_MODE_NONE});
    });
  });
}

NetlinkMessage delete_link_message(std::uint32_t index) {
  NetlinkMessage message(RTM_DELLINK, 0);
  return message.header(link_header(index));
}

NetlinkMessage add_address(const AddressInfo& address) { return address_message(RTM_NEWADDR, kCreateNew, address); }
NetlinkMessage delete_address(const AddressInfo& address) { return address_message(RTM_DELADDR, 0, address); }
NetlinkMessage add_route(const RouteInfo& route) { return route_message(RTM_NEWROUTE, kCreateNew, route); }
NetlinkMessage add_parallel_route(const RouteInfo& route) { return route_message(RTM_NEWROUTE, kCreate, route); }
NetlinkMessage replace_route(const RouteInfo& route) {
  return route_message(RTM_NEWROUTE, kCreate | NLM_F_REPLACE, route);
}
NetlinkMessage delete_route(const RouteInfo& route) { return route_message(RTM_DELROUTE, 0, route); }

NetlinkMessage replace_neighbour(const NeighbourInfo& neighbour) {
  ndmsg header{};
  header.ndm_family = address_family(neighbour.address.family());
  header.ndm_ifindex = static_cast<int>(neighbour.link);
  header.ndm_state = neighbour.permanent ? NUD_PERMANENT : NUD_REACHABLE;
  NetlinkMessage message(RTM_NEWNEIGH, kCreate | NLM_F_REPLACE);
  message.header(header).attribute(NDA_DST, wire(neighbour.address)).value(NDA_LLADDR, neighbour.mac);
  return message;
}

Result<Rtnl> Rtnl::open() {
  NetlinkSocket socket = TRY(NetlinkSocket::open(NETLINK_ROUTE));
  const int on = 1;
  // With it the kernel filters dumps itself (linux v4.20); without, gather() still does.
  (void)::setsockopt(socket.fd(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  return Rtnl(std::move(socket));
}

Result<Rtnl> Rtnl::open(const Netns& netns) {
  std::optional<Rtnl> inside;
  Status opened = netns.run([&]() -> Status {
    inside = TRY(open());
    return {};
  });
  TRY(std::move(opened));
  return *std::move(inside);
}

namespace {

Result<std::optional<LinkInfo>> find(NetlinkSocket& socket, NetlinkMessage question) {
  question.value(IFLA_EXT_MASK, std::uint32_t{RTEXT_FILTER_SKIP_STATS});
  const auto answers = socket.ask(question);
  if (!answers && answers.error().errno_value() == ENODEV) return std::optional<LinkInfo>();
  if (!answers) return answers.error();
  if (answers->empty()) return std::optional<LinkInfo>();
  return std::optional(parse_link(answers->front()));
}

}  // namespace

Result<std::optional<LinkInfo>> Rtnl::find_link(const std::string& name) {
  return find(socket_, link_question(0).text(IFLA_IFNAME, name));
}

Result<std::optional<LinkInfo>> Rtnl::find_link(std::uint32_t index) { return find(socket_, link_question(index)); }

Result<LinkInfo> Rtnl::link(const std::string& name) {
  auto found = TRY(find_link(name));
  if (!found) return Error::from_errno(base::cat("interface ", name), ENODEV);
  return *std::move(found);
}

Result<std::vector<LinkInfo>> Rtnl::list_links() {
  NetlinkMessage question(RTM_GETLINK, NLM_F_DUMP);
  question.header(link_header()).value(IFLA_EXT_MASK, std::uint32_t{RTEXT_FILTER_SKIP_STATS});
  std::vector<LinkInfo> links;
  for (const std::string& body : TRY(socket_.ask(question))) links.push_back(parse_link(body));
  return links;
}

Result<std::vector<AddressInfo>> Rtnl::list_addresses(Family family, std::uint32_t link) {
  NetlinkMessage question(RTM_GETADDR, NLM_F_DUMP);
  question.header(ifaddrmsg{.ifa_family = static_cast<std::uint8_t>(address_family(family)),
                            .ifa_prefixlen = 0,
                            .ifa_flags = 0,
                            .ifa_scope = 0,
                            .ifa_index = link});
  auto found = TRY(gather(socket_, question, link, parse_address));
  // A kernel without the family answers with those that it has.
  std::erase_if(found, [&](const AddressInfo& one) { return one.address.family() != family; });
  return found;
}

Result<std::vector<AddressInfo>> Rtnl::list_addresses(std::uint32_t link) {
  auto found = TRY(list_addresses(Family::V4, link));
  for (const AddressInfo& one : TRY(list_addresses(Family::V6, link))) found.push_back(one);
  return found;
}

Result<std::vector<RouteInfo>> Rtnl::list_routes(Family family, std::uint32_t link) {
  rtmsg header{};
  header.rtm_family = address_family(family);
  NetlinkMessage question(RTM_GETROUTE, NLM_F_DUMP);
  question.header(header).value(RTA_TABLE, std::uint32_t{RT_TABLE_MAIN});
  if (link != 0) question.value(RTA_OIF, link);
  auto routes = gather(socket_, question, link, parse_route);
  // A namespace that never had a route has no table (linux v6.1 net/ipv4/fib_frontend.c inet_dump_fib).
  if (!routes && routes.error().errno_value() == ENOENT) return std::vector<RouteInfo>();
  return routes;
}

Result<std::vector<NeighbourInfo>> Rtnl::list_neighbours(std::uint32_t link) {
  NetlinkMessage question(RTM_GETNEIGH, NLM_F_DUMP);
  question.header(ndmsg{});
  if (link != 0) question.value(NDA_IFINDEX, link);
  return gather(socket_, question, link, parse_neighbour);
}

}  // namespace fairlead::net
