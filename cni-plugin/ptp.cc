// ptp: a veth between the container and the host, which holds the gateway's address on every one of them.
//
// The container has its address with the length of the subnet, but only the gateway is on the link; everybody else of
// the subnet is reached by it.
#include <linux/if_addr.h>
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

// The result's interfaces are host's end, container's end: other plugins rely on it.
constexpr std::uint32_t kContainerInterface = 1;

Status set_up_host(net::Rtnl& host, const net::LinkInfo& link, const std::vector<IpConfig>& ips) {
  std::vector<net::NetlinkMessage> messages;
  for (const IpConfig& ip : ips) {
    const std::uint8_t whole = net::Prefix::host(*ip.gateway).length;
    messages.push_back(net::add_address({.address = {*ip.gateway, whole}, .link = link.index, .flags = IFA_F_NODAD}));
    messages.push_back(net::replace_route(
        {.destination = net::Prefix::host(ip.address.address), .link = link.index, .scope = RT_SCOPE_HOST}));
  }
  for (const Status& outcome : TRY(host.socket().order(messages))) {
    // Two addresses may have one gateway.
    if (!outcome && outcome.error().errno_value() != EEXIST)
      return outcome.error().with_context(cat("set up ", link.name));
  }
  return {};
}

}  // namespace

Result<Wired> wire_ptp(const Call& call, const World& world, Place place) {
  const Fields config = TRY(Fields::of(call.config));
  const std::uint32_t mtu = TRY(read_mtu(config));
  const auto masquerade = TRY(read_masquerade(config));
  net::Rtnl host = TRY(net::Rtnl::open());
  const std::string host_name = TRY(create_veth(host, call.attachment, place.netns, {.mtu = mtu}));
  Inside inside = TRY(enter(std::move(place), call.attachment.ifname, {}));

  NetResult result = TRY(addresses_of(call, world, kContainerInterface));
  TRY(enable_forwarding(result.ips));
  const ContainerLink container = TRY(container_link(inside.link.index, result, Subnet::ViaGateway));
  TRY(configure(inside, container));
  const net::LinkInfo link = TRY(wait_until_up(host, host_name));
  TRY(set_up_host(host, link, result.ips));
  TRY(override_dns(config, result));
  result.interfaces = {{.name = host_name, .mac = net::to_string(link.mac), .mtu = link.mtu}, told(inside, call.netns)};
  Claims claims;
  if (masquerade) append(claims, masquerade_claims(result.ips, *masquerade));
  return Wired{std::move(result), std::move(claims)};
}

namespace {

Result<NetResult> add(const Call& call, const World& world) {
  return with_claims(call, wire_ptp(call, world, TRY(free_place(call))));
}

Result<Claims> claims_again(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  const auto masquerade = TRY(read_masquerade(config));
  return masquerade ? masquerade_claims(call.previous->ips, *masquerade) : Claims();
}

Status check(const Call& call, const World& world) {
  TRY(ipam_check(call, world));
  const Inside inside = TRY(check_inside(call, "veth"));
  net::Rtnl host = TRY(net::Rtnl::open());
  const net::LinkInfo link = TRY(check_host_end(call, host, inside));
  TRY(check_host_routes(call, host, link));
  return check_with_claims(call, claims_again(call));
}

}  // namespace

const Plugin kPtp{.name = "ptp",
                  .oldest_version = kVersions[0],
                  .about = "a veth to the host, which routes",
                  .has_ipam = true,
                  .add = add,
                  .del = unwire_alone,
                  .check = check,
                  .gc = sweep_wired};

}  // namespace fairlead::cni
