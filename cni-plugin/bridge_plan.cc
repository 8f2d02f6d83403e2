#include "cni-plugin/bridge_plan.h"

#include <algorithm>

#include "base/strings.h"
#include "cni-plugin/marks.h"

namespace fairlead::cni {
namespace {

// REQUIRES that the network has room for it.
net::Ip first_of(const net::Prefix& network) {
  auto bytes = network.address.bytes();
  for (auto at = bytes.rbegin(); at != bytes.rend() && ++*at == 0; ++at) {
  }
  return net::Ip::from_bytes(bytes);
}

bool overlap(const net::InterfaceAddress& a, const net::InterfaceAddress& b) {
  return a.subnet().contains(b.address) || b.subnet().contains(a.address);
}

bool holds(const std::vector<net::InterfaceAddress>& list, const net::InterfaceAddress& one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

void ensure_default_route(const IpConfig& ip, NetResult& result) {
  const auto family = ip.address.family();
  const bool there = std::any_of(result.routes.begin(), result.routes.end(), [&](const Route& route) {
    return route.destination.length == 0 && route.destination.family() == family;
  });
  if (there) return;
  Route route;
  route.destination = net::Prefix::of(family == net::Family::V4 ? net::Ip::v4(0, 0, 0, 0) : net::Ip(), 0);
  route.gateway = ip.gateway;
  result.routes.push_back(route);
}

}  // namespace

net::Mac bridge_mac(const std::string& boot_id, const std::string& bridge) {
  const std::string digits = digest(base::cat(boot_id, "/", bridge));
  net::Mac mac{};
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const auto value = [&](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    mac[i] = static_cast<std::uint8_t>(value(digits[i * 2]) << 4 | value(digits[i * 2 + 1]));
  }
  mac[0] = static_cast<std::uint8_t>((mac[0] & 0xfc) | 0x02);  // of one interface, locally administered
  return mac;
}

GatewayPlan plan_gateways(const BridgeConfig& config, NetResult& result) {
  GatewayPlan plan;
  if (!config.is_gateway) return plan;
  for (IpConfig& ip : result.ips) {
    if (!ip.gateway) ip.gateway = first_of(ip.address.subnet());
    const net::InterfaceAddress address{*ip.gateway, ip.address.length};
    if (!holds(plan.addresses, address)) plan.addresses.push_back(address);
    if (config.is_default_gateway) ensure_default_route(ip, result);
  }
  return plan;
}

Result<GatewayChange> gateway_change(const std::string& link, const std::vector<net::AddressInfo>& existing,
                                     const std::vector<net::InterfaceAddress>& wanted, bool force) {
  GatewayChange change;
  for (const net::InterfaceAddress& want : wanted) {
    const auto has = [&](const net::AddressInfo& one) { return one.address == want; };
    if (std::any_of(existing.begin(), existing.end(), has)) continue;
    for (const net::AddressInfo& one : existing) {
      if (one.address.family() != want.family() || holds(wanted, one.address)) continue;
      if (want.family() == net::Family::V6 && !overlap(one.address, want)) continue;
      if (!force) {
        return Error(base::cat(link, " has the address ", one.address.to_string(), ", and shall have ",
                               want.to_string(), " as gateway; forceAddress would replace it"));
      }
      if (!holds(change.remove, one.address)) change.remove.push_back(one.address);
    }
    change.add.push_back(want);
  }
  return change;
}

}  // namespace fairlead::cni
