#include "cni-plugin/container_link.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace fairlead::cni {
namespace {

using base::cat;
using net::Family;
using net::Ip;

// Link-local (RFC 3927, RFC 4291 section 2.5.6), and nobody's: only the neighbour entry leads there.
Ip routed_gateway(Family family) {
  if (family == Family::V4) return Ip::v4(169, 254, 1, 1);
  std::array<std::uint8_t, 16> bytes{0xfe, 0x80};
  bytes.back() = 1;
  return Ip::from_bytes(bytes);
}

std::optional<Ip> first_gateway(const NetResult& result, Family family) {
  for (const IpConfig& ip : result.ips) {
    if (ip.gateway && ip.gateway->family() == family) return ip.gateway;
  }
  return std::nullopt;
}

net::RouteInfo route_of(const Route& route, std::uint32_t index, const NetResult& result) {
  net::RouteInfo out{.destination = route.destination, .gateway = route.gateway, .link = index};
  out.scope = static_cast<std::uint8_t>(route.scope.value_or(RT_SCOPE_UNIVERSE));
  // A route whose scope is the link's or narrower has no gateway.
  if (!out.gateway && out.scope < RT_SCOPE_LINK) out.gateway = first_gateway(result, route.destination.family());
  out.table = route.table.value_or(RT_TABLE_MAIN);
  if (out.table == RT_TABLE_UNSPEC) out.table = RT_TABLE_MAIN;
  out.priority = route.priority.value_or(0);
  out.mtu = route.mtu.value_or(0);
  out.advmss = route.advmss.value_or(0);
  return out;
}

void add_subnet_by_gateway(const IpConfig& ip, ContainerLink& link) {
  const Ip& own = ip.address.address;
  link.routes.push_back(
      {.destination = net::Prefix::host(*ip.gateway), .link = link.index, .source = own, .scope = RT_SCOPE_LINK});
  if (ip.address.subnet() == net::Prefix::host(*ip.gateway)) return;
  link.routes.push_back({.destination = ip.address.subnet(), .gateway = ip.gateway, .link = link.index, .source = own});
}

Status enable_ipv6(const Inside& inside, const std::string& name) {
  return inside.netns.run([&]() -> Status {
    for (const std::string& link : {std::string("lo"), name})
      TRY(net::write_sysctl(cat("net/ipv6/conf/", link, "/disable_ipv6"), "0"));
    return {};
  });
}

}  // namespace

Result<ContainerLink> container_link(std::uint32_t index, const NetResult& result, Subnet subnet,
                                     DuplicateDetection detection) {
  ContainerLink link{.index = index, .arp_notify = true};
  for (const IpConfig& ip : result.ips) {
    net::AddressInfo address{.address = ip.address, .link = index};
    if (!detection.on && !ip.address.address.is_v4()) address.flags |= IFA_F_NODAD;
    if (subnet == Subnet::ViaGateway) {
      if (!ip.gateway)
        return failure(code::kInvalidConfig, "ipam: ", ip.address.to_string(),
                       " comes without a gateway, and a point-to-point link needs one");
      address.flags |= IFA_F_NOPREFIXROUTE;
      add_subnet_by_gateway(ip, link);
    }
    link.addresses.push_back(address);
  }
  for (const Route& route : result.routes) link.routes.push_back(route_of(route, index, result));
  return link;
}

ContainerLink routed_container_link(std::uint32_t index, const NetResult& result, const net::Mac& gateway) {
  ContainerLink link{.index = index};
  const auto by_gateway = [&](const Ip& via) {
    const bool known = std::any_of(link.neighbours.begin(), link.neighbours.end(),
                                   [&](const net::NeighbourInfo& one) { return one.address == via; });
    if (known) return;
    link.neighbours.push_back({.address = via, .link = index, .mac = gateway});
    if (via.is_v4())
      link.routes.push_back({.destination = net::Prefix::host(via), .link = index, .scope = RT_SCOPE_LINK});
    link.routes.push_back(
        {.destination = net::Prefix::of(via.is_v4() ? Ip::v4(0, 0, 0, 0) : Ip(), 0), .gateway = via, .link = index});
  };
  for (const IpConfig& ip : result.ips) {
    const Ip& own = ip.address.address;
    link.addresses.push_back({.address = {own, net::Prefix::host(own).length},
                              .link = index,
                              .flags = own.is_v4() ? 0U : unsigned{IFA_F_NODAD}});
    by_gateway(routed_gateway(own.family()));
  }
  return link;
}

std::vector<net::NetlinkMessage> messages(const ContainerLink& link) {
  net::LinkChange change;
  change.index = link.index;
  change.up = true;
  change.name = link.rename;
  if (link.arp_notify) change.arp_notify = true;
  std::vector<net::NetlinkMessage> out{net::change_link(change)};
  for (const auto& address : link.addresses) out.push_back(net::add_address(address));
  for (const auto& neighbour : link.neighbours) out.push_back(net::replace_neighbour(neighbour));
  for (const auto& route : link.routes) out.push_back(net::add_parallel_route(route));
  return out;
}

Result<net::Netns> open_netns(const std::string& path) {
  auto netns = net::Netns::open(path);
  if (netns) return netns;
  const int gone = netns.error().errno_value() == ENOENT ? code::kUnknownContainer : code::kInvalidNetns;
  return std::move(netns).error().with_context("CNI_NETNS").with_code(gone);
}

Error already_there(const std::string& ifname) {
  return failure(code::kAlreadyAttached, "CNI_IFNAME: the container has an interface ", ifname, " already");
}

Result<Place> free_place(const Call& call) {
  net::Netns netns = TRY(open_netns(call.netns));
  net::Rtnl rtnl = TRY(net::Rtnl::open(netns));
  if (TRY(rtnl.find_link(call.attachment.ifname))) return already_there(call.attachment.ifname);
  return Place{std::move(netns), std::move(rtnl)};
}

Result<Inside> enter(Place place, const std::string& name, const IpSettings& settings) {
  if (settings.accept_dad || settings.ndisc_notify) {
    Status written = place.netns.run([&]() -> Status {
      // As the reference plugins: without IPv6 there are none to write.
      const auto write = [&](std::string_view key, const char* value) {
        (void)net::write_sysctl(cat("net/ipv6/conf/", name, "/", key), value).has_value();
      };
      if (settings.accept_dad) write("accept_dad", *settings.accept_dad ? "1" : "0");
      if (settings.ndisc_notify) write("ndisc_notify", "1");
      return {};
    });
    TRY(std::move(written));
  }
  net::LinkInfo link = TRY(place.rtnl.link(name));
  return Inside{std::move(place.netns), std::move(place.rtnl), std::move(link)};
}

Interface told(const Inside& inside, const std::string& sandbox) {
  Interface interface;
  interface.name = inside.link.name;
  interface.mac = net::to_string(inside.link.mac);
  interface.sandbox = sandbox;
  interface.mtu = inside.link.mtu;
  return interface;
}

Status bring_up(Inside& inside) {
  TRY_CONTEXT(inside.rtnl.order({net::change_link({.index = inside.link.index, .up = true})}),
              cat("bring up ", inside.link.name));
  return {};
}

Status configure(Inside& inside, const ContainerLink& link) {
  const auto all = messages(link);
  const auto outcomes = TRY(inside.rtnl.socket().order(all));
  std::vector<net::NetlinkMessage> failed;
  bool ipv6_off = false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (outcomes[i]) continue;
    failed.push_back(all[i]);
    // linux v6.1 net/ipv6/addrconf.c addrconf_add_dev: disable_ipv6 is set.
    ipv6_off = ipv6_off || outcomes[i].error().errno_value() == EACCES;
  }
  if (failed.empty()) return {};
  const std::string name = link.rename.value_or(inside.link.name);
  const std::string what = cat("configure ", name);
  if (!ipv6_off) {
    for (const Status& outcome : outcomes) TRY_CONTEXT(Status(outcome), what);
  }
  TRY_CONTEXT(enable_ipv6(inside, name), what);
  TRY_CONTEXT(inside.rtnl.order(failed), what);
  return {};
}

Status await_detection(Inside& inside) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    const net::AddressInfo* tentative = nullptr;
    const auto addresses = TRY(inside.rtnl.list_addresses(Family::V6, inside.link.index));
    for (const net::AddressInfo& one : addresses) {
      if (one.flags & IFA_F_DADFAILED)
        return Error(
            cat("duplicate address detection: somebody on the link has ", one.address.to_string(), " already"));
      if (one.flags & IFA_F_TENTATIVE) tentative = &one;
    }
    if (tentative == nullptr) return {};
    if (std::chrono::steady_clock::now() > deadline)
      return Error(cat("duplicate address detection: not done with ", tentative->address.to_string(), " after 10 s"));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace fairlead::cni
