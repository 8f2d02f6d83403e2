// routed: a veth to the host without a subnet, as Calico and Cilium have it. The container has a /32 and a /128 and
// sends everything to one gateway, the host's end, whose MAC it knows; the host has a route to each container. No ARP,
// no neighbour discovery, no bridge, nothing to answer for anybody.
//
// It is the mode "routed" of the `fairlead` plugin (fairlead.cc).

#include <linux/rtnetlink.h>

#include "cni-plugin/container_link.h"
#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/host_settings.h"
#include "cni-plugin/interface_config.h"
#include "cni-plugin/link_check.h"
#include "cni-plugin/masquerade.h"
#include "cni-plugin/wired.h"

namespace fairlead::cni {
namespace {

using base::cat;

// The result's interfaces are host's end, container's end, as ptp's.
constexpr std::uint32_t kContainerInterface = 1;

// Of every host's end. Set from birth it is let alone by udev (systemd.link MACAddressPolicy), and the containers'
// permanent neighbour entries stay true.
constexpr net::Mac kHostMac{0xee, 0xee, 0xee, 0xee, 0xee, 0xee};

std::vector<net::NetlinkMessage> host_messages(std::uint32_t link, const net::Mac& container,
                                               const std::vector<IpConfig>& ips) {
  std::vector<net::NetlinkMessage> messages;
  for (const IpConfig& ip : ips) {
    messages.push_back(net::replace_neighbour({.address = ip.address.address, .link = link, .mac = container}));
    messages.push_back(net::replace_route({.destination = net::Prefix::host(ip.address.address),
                                           .link = link,
                                           .scope = RT_SCOPE_LINK,
                                           .protocol = kRouteProtocol}));
  }
  return messages;
}

}  // namespace

Result<Wired> wire_routed(const Call& call, const World& world, Place place) {
  const Fields config = TRY(Fields::of(call.config));
  const VethWish wish{
      .mtu = TRY(read_mtu(config)), .host_mac = kHostMac, .container_mac = TRY(requested_mac(call, config))};
  const auto masquerade = TRY(read_masquerade(config));
  net::Rtnl host = TRY(net::Rtnl::open());
  const std::string host_name = TRY(create_veth(host, call.attachment, place.netns, wish));
  Inside inside = TRY(enter(std::move(place), call.attachment.ifname, {.accept_dad = false}));

  NetResult result = TRY(addresses_of(call, world, kContainerInterface));
  const ContainerLink link = routed_container_link(inside.link.index, result, kHostMac);
  TRY(enable_forwarding(result.ips));
  TRY(configure(inside, link));
  const net::LinkInfo host_link = TRY(wait_until_up(host, host_name));
  TRY_CONTEXT(host.order(host_messages(host_link.index, inside.link.mac, result.ips)), cat("set up ", host_name));

  // What it has now, which IPAM cannot have known. The subnets are told as IPAM has them: its CHECK compares them, and
  // masquerading needs them.
  result.routes.clear();
  for (const net::RouteInfo& route : link.routes) {
    if (route.gateway) result.routes.push_back({.destination = route.destination, .gateway = route.gateway});
  }
  for (IpConfig& ip : result.ips) ip.gateway.reset();
  TRY(override_dns(config, result));
  result.interfaces = {{.name = host_name, .mac = net::to_string(kHostMac), .mtu = host_link.mtu},
                       told(inside, call.netns)};
  Claims claims;
  if (masquerade) append(claims, masquerade_claims(result.ips, *masquerade));
  return Wired{std::move(result), std::move(claims)};
}

Status check_routed(const Call& call, const World& world) {
  TRY(ipam_check(call, world));
  const Inside inside = TRY(check_inside(call, "veth"));
  net::Rtnl host = TRY(net::Rtnl::open());
  const net::LinkInfo link = TRY(check_host_end(call, host, inside));
  return check_host_routes(call, host, link);
}

Result<Claims> routed_claims(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  const auto masquerade = TRY(read_masquerade(config));
  return masquerade ? masquerade_claims(call.previous->ips, *masquerade) : Claims();
}

}  // namespace fairlead::cni
