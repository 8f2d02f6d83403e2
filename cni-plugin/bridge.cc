// bridge: a veth between the container and a bridge of the host, which can be its gateway.
#include <linux/if_addr.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>

#include "cni-plugin/bridge_config.h"
#include "cni-plugin/bridge_plan.h"
#include "cni-plugin/bridge_vlan.h"
#include "cni-plugin/container_link.h"
#include "cni-plugin/delegate.h"
#include "cni-plugin/host_link.h"
#include "cni-plugin/host_settings.h"
#include "cni-plugin/interface_config.h"
#include "cni-plugin/link_check.h"
#include "cni-plugin/masquerade.h"
#include "cni-plugin/spoof.h"
#include "cni-plugin/wired.h"

namespace fairlead::cni {
namespace {

using base::cat;

// The result's interfaces are bridge, host's end, container's end: other plugins rely on it.
constexpr std::uint32_t kHostInterface = 1;
constexpr std::uint32_t kContainerInterface = 2;

Error not_made(const BridgeConfig& config, const Error& error) {
  const bool vlans = config.filters_vlans() && error.errno_value() == EOPNOTSUPP;
  return error.with_context(
      cat("create bridge ", config.bridge,
          vlans ? " with VLANs (vlan, vlanTrunk need a kernel with CONFIG_BRIDGE_VLAN_FILTERING)" : ""));
}

Status fits(const net::LinkInfo& bridge, const BridgeConfig& config) {
  if (bridge.kind != "bridge")
    return Error(cat(bridge.name, " exists but is no bridge: its kind is \"", bridge.kind, "\""));
  if (config.filters_vlans() && !net::parse_bridge(bridge.kind_data).vlan_filtering)
    return Error(cat("bridge ", bridge.name, " exists but does not filter VLANs, and vlan or vlanTrunk is set"));
  return {};
}

// Up, and as configured where that does not disturb who uses it already.
Result<net::LinkInfo> ensure_bridge(net::Rtnl& host, const BridgeConfig& config, const World& world) {
  auto found = TRY(host.find_link(config.bridge));
  if (!found) {
    const auto made = host.order(net::create_link({.name = config.bridge,
                                                   .kind = "bridge",
                                                   .data = net::bridge_data({.vlan_filtering = config.filters_vlans()}),
                                                   .mac = bridge_mac(world.boot_id, config.bridge),
                                                   .mtu = config.mtu,
                                                   .up = true}));
    if (!made && made.error().errno_value() != EEXIST) return not_made(config, made.error());
    found = TRY(host.link(config.bridge));
  }
  TRY(fits(*found, config));
  // Its addresses and routes are ours alone.
  if (found->accept_ra.value_or(0) != 0)
    (void)net::write_sysctl(cat("net/ipv6/conf/", config.bridge, "/accept_ra"), "0").has_value();
  net::LinkChange change;
  change.index = found->index;
  if ((found->flags & IFF_UP) == 0) change.up = true;
  if (config.promiscuous && (found->flags & IFF_PROMISC) == 0) change.promiscuous = true;
  if (change.up || change.promiscuous)
    TRY_CONTEXT(host.order({net::change_link(change)}), cat("set up bridge ", config.bridge));
  return *std::move(found);
}

// `holder` is the bridge, or its leg in a VLAN.
Status ensure_gateways(net::Rtnl& host, const net::LinkInfo& holder, const GatewayPlan& plan, bool force) {
  std::vector<net::AddressInfo> existing;
  for (const auto family : {net::Family::V4, net::Family::V6}) {
    const bool wanted = std::any_of(plan.addresses.begin(), plan.addresses.end(),
                                    [&](const net::InterfaceAddress& one) { return one.family() == family; });
    if (!wanted) continue;
    const auto found = TRY(host.list_addresses(family, holder.index));
    existing.insert(existing.end(), found.begin(), found.end());
  }
  const GatewayChange change = TRY(gateway_change(holder.name, existing, plan.addresses, force));
  if (change.remove.empty() && change.add.empty()) return {};
  std::vector<net::NetlinkMessage> messages;
  for (const auto& address : change.remove)
    messages.push_back(net::delete_address({.address = address, .link = holder.index}));
  for (const auto& address : change.add)
    messages.push_back(net::add_address({.address = address, .link = holder.index, .flags = IFA_F_NODAD}));
  // A bridge whose MAC nobody set has its lowest port's, which comes and goes with the containers, and the containers'
  // neighbour entries with it. Set to itself it stays.
  net::LinkChange fixed;
  fixed.index = holder.index;
  fixed.mac = holder.mac;
  messages.push_back(net::change_link(fixed));
  for (const Status& outcome : TRY(host.socket().order(messages))) {
    // Another ADD may have come first.
    const bool done =
        outcome || outcome.error().errno_value() == EEXIST || outcome.error().errno_value() == EADDRNOTAVAIL;
    if (!done) return outcome.error().with_context(cat("set the gateway's address on ", holder.name));
  }
  return {};
}

// The host knows its new neighbours before they say a word: an address that comes back with another MAC is not looked
// for at the old one.
Status introduce(net::Rtnl& host, std::uint32_t link, const net::Mac& mac, const std::vector<IpConfig>& ips) {
  std::vector<net::NetlinkMessage> messages;
  for (const IpConfig& ip : ips)
    messages.push_back(
        net::replace_neighbour({.address = ip.address.address, .link = link, .mac = mac, .permanent = false}));
  TRY_CONTEXT(host.order(messages), "neighbours");
  return {};
}

Status serve_as_gateway(net::Rtnl& host, const net::LinkInfo& bridge, const BridgeConfig& config,
                        const GatewayPlan& plan, const net::Mac& container, NetResult& result) {
  net::LinkInfo holder = bridge;
  if (config.vlan != 0) {
    holder = TRY(ensure_vlan_gateway(host, bridge, config));
    result.interfaces.push_back({.name = holder.name, .mac = net::to_string(holder.mac)});
  }
  TRY(ensure_gateways(host, holder, plan, config.force_address));
  TRY(introduce(host, holder.index, container, result.ips));
  return enable_forwarding(result.ips);
}

Claims claims_of(const BridgeConfig& config, const NetResult& result) {
  Claims claims;
  if (config.masquerade) append(claims, masquerade_claims(result.ips, *config.masquerade));
  const bool complete = result.interfaces.size() > kContainerInterface;
  if (!config.mac_spoof_check || !complete) return claims;
  const auto mac = net::parse_mac(result.interfaces[kContainerInterface].mac);
  if (mac) append(claims, spoof_claims(result.interfaces[kHostInterface].name, *mac));
  return claims;
}

}  // namespace

Result<Wired> wire_bridge(const Call& call, const World& world, Place place) {
  const BridgeConfig config = TRY(parse_bridge_config(call));
  net::Rtnl host = TRY(net::Rtnl::open());
  const net::LinkInfo bridge = TRY(ensure_bridge(host, config, world));
  const std::string host_name = TRY(
      create_veth(host, call.attachment, place.netns,
                  {.mtu = config.mtu,
                   .master = bridge.index,
                   .slave_data = net::bridge_port_data({.hairpin = config.hairpin, .isolated = config.port_isolation}),
                   .container_mac = config.mac,
                   .up = false}));
  Inside inside = TRY(
      enter(std::move(place), call.attachment.ifname, {.accept_dad = config.detect_duplicates, .ndisc_notify = true}));
  if (config.filters_vlans()) {
    const std::uint32_t port = TRY(host.link(host_name)).index;
    TRY_CONTEXT(host.order(port_vlan_messages(port, net::parse_bridge(bridge.kind_data), config)),
                cat("VLANs of ", host_name));
  }

  // Already now: what the kernel does behind our back about a link that comes up, and about IPv6 on it, takes the lock
  // that the rest needs, and is done while an address is looked for. The container's end first: a link that is up
  // without a carrier is work as well.
  if (!config.disable_container_interface) TRY(bring_up(inside));
  TRY_CONTEXT(host.order({net::change_link({.up = true, .name = host_name})}), cat("bring up ", host_name));

  NetResult result;
  if (has_ipam(call)) result = TRY(addresses_of(call, world, kContainerInterface));
  result.interfaces.resize(3);
  if (has_ipam(call)) {
    const GatewayPlan plan = plan_gateways(config, result);
    const ContainerLink link =
        TRY(container_link(inside.link.index, result, Subnet::OnLink, {config.detect_duplicates}));
    TRY(configure(inside, link));
    if (config.is_gateway) TRY(serve_as_gateway(host, bridge, config, plan, inside.link.mac, result));
  }
  const net::LinkInfo host_link =
      TRY(config.disable_container_interface ? host.link(host_name) : wait_until_up(host, host_name));
  if (config.detect_duplicates && !config.disable_container_interface) TRY(await_detection(inside));
  const Fields fields = TRY(Fields::of(call.config));
  TRY(override_dns(fields, result));
  // That of one we did not make may be that of a port it got.
  const bool has_own_mac = bridge.mac == bridge_mac(world.boot_id, config.bridge);
  const net::Mac bridge_mac_now = has_own_mac ? bridge.mac : TRY(host.link(config.bridge)).mac;
  result.interfaces[0] = {.name = bridge.name, .mac = net::to_string(bridge_mac_now)};
  result.interfaces[kHostInterface] = {.name = host_name, .mac = net::to_string(host_link.mac), .mtu = host_link.mtu};
  result.interfaces[kContainerInterface] = told(inside, call.netns);
  Claims claims = claims_of(config, result);
  return Wired{std::move(result), std::move(claims)};
}

Status check_bridge(const Call& call, const World& world) {
  const BridgeConfig config = TRY(parse_bridge_config(call));
  if (has_ipam(call)) TRY(ipam_check(call, world));
  const Inside inside = TRY(check_inside(call, "veth"));
  net::Rtnl host = TRY(net::Rtnl::open());
  const net::LinkInfo bridge = TRY(host.link(config.bridge));
  const Interface* recorded = host_interface(*call.previous, config.bridge);
  if (recorded == nullptr) return failure(code::kInvalidConfig, "prevResult: no interface ", config.bridge);
  TRY(check_link(bridge, *recorded, "bridge"));
  if (config.promiscuous && (bridge.flags & IFF_PROMISC) == 0)
    return Error(cat(config.bridge, " is not promiscuous, as promiscMode has it"));
  const net::LinkInfo port = TRY(check_host_end(call, host, inside));
  if (port.master != bridge.index) return Error(cat(port.name, " is no port of ", config.bridge));
  const net::BridgePort wanted{.hairpin = config.hairpin, .isolated = config.port_isolation};
  if (net::parse_bridge_port(port.slave_data) != wanted)
    return Error(cat(port.name, ": hairpin mode or isolation are not as configured"));
  return {};
}

Result<Claims> bridge_claims(const Call& call) {
  const BridgeConfig config = TRY(parse_bridge_config(call));
  return claims_of(config, *call.previous);
}

namespace {

Result<NetResult> add(const Call& call, const World& world) {
  return with_claims(call, wire_bridge(call, world, TRY(free_place(call))));
}

Status check(const Call& call, const World& world) {
  TRY(check_bridge(call, world));
  return check_with_claims(call, bridge_claims(call));
}

}  // namespace

const Plugin kBridge{.name = "bridge",
                     .oldest_version = kVersions[0],
                     .about = "a veth to a bridge of the host",
                     .has_ipam = true,
                     .add = add,
                     .del = unwire_alone,
                     .check = check,
                     .gc = sweep_wired};

}  // namespace fairlead::cni
