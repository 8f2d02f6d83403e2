#include "cni-plugin/routed.h"

#include <linux/rtnetlink.h>

#include "cni-plugin/container_link.h"
#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/host_settings.h"
#include "cni-plugin/interface_config.h"
#include "cni-plugin/link_check.h"

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

Result<NetResult> add(const Call& call, const World& world) {
  const Fields config = TRY(Fields::of(call.config));
  const VethWish wish{
      .mtu = TRY(read_mtu(config)), .host_mac = kHostMac, .container_mac = TRY(requested_mac(call, config))};
  net::Netns netns = TRY(open_netns(call.netns));
  net::Rtnl host = TRY(net::Rtnl::open());
  const std::string host_name = TRY(create_veth(host, call.attachment, netns, wish));
  Inside inside = TRY(enter(std::move(netns), call.attachment.ifname, {}));

  NetResult result = TRY(addresses_of(call, world, kContainerInterface));
  const ContainerLink link = routed_container_link(inside.link.index, result, kHostMac);
  TRY(enable_forwarding(result.ips));
  TRY(configure(inside, link));
  const net::LinkInfo host_link = TRY(wait_until_up(host, host_name));
  TRY_CONTEXT(host.order(host_messages(host_link.index, inside.link.mac, result.ips)), cat("set up ", host_name));

  // What it has now, which IPAM cannot have known.
  result.routes.clear();
  for (const net::RouteInfo& route : link.routes) {
    if (route.gateway) result.routes.push_back({.destination = route.destination, .gateway = route.gateway});
  }
  for (IpConfig& ip : result.ips) {
    ip.address.length = net::Prefix::host(ip.address.address).length;
    ip.gateway.reset();
  }
  TRY(override_dns(config, result));
  result.interfaces = {{.name = host_name, .mac = net::to_string(kHostMac), .mtu = host_link.mtu},
                       told(inside, call.netns)};
  return result;
}

Status del(const Call& call, const World& world) {
  TRY(remove_interface(call));
  return has_ipam(call) ? ipam_del(call, world) : Status();
}

Status check(const Call& call, const World& world) {
  TRY(ipam_check(call, world));
  const Inside inside = TRY(check_inside(call, "veth"));
  net::Rtnl host = TRY(net::Rtnl::open());
  const net::LinkInfo link = TRY(check_host_end(call, host, inside));
  return check_host_routes(call, host, link);
}

}  // namespace

const Plugin kRouted{.name = "routed",
                     .oldest_version = kVersions[0],
                     .about = "a veth to the host, which routes to each address",
                     .add = add,
                     .del = del,
                     .check = check};

}  // namespace fairlead::cni
