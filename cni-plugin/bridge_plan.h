// What of the bridge plugin can be decided without the kernel.
#pragma once

#include <string>
#include <vector>

#include "cni-plugin/bridge_config.h"
#include "cni-plugin/net_result.h"

namespace fairlead::cni {

// What a bridge is born with, so that it does not take its ports': the same for the whole boot, locally administered.
net::Mac bridge_mac(const std::string& boot_id, const std::string& bridge);

// Addresses that the bridge shall have.
struct GatewayPlan {
  std::vector<net::InterfaceAddress> addresses{};
  bool operator==(const GatewayPlan&) const = default;
};
// Completes what IPAM gave: a gateway that was not given is the first address of the subnet; a default gateway has a
// default route of each family.
GatewayPlan plan_gateways(const BridgeConfig& config, NetResult& result);

struct GatewayChange {
  std::vector<net::InterfaceAddress> remove{}, add{};
  bool operator==(const GatewayChange&) const = default;
};
// From what `link` has to what it shall have. An Error where another address is in the way, unless `force`: any of
// IPv4, an overlapping one of IPv6.
Result<GatewayChange> gateway_change(const std::string& link, const std::vector<net::AddressInfo>& existing,
                                     const std::vector<net::InterfaceAddress>& wanted, bool force);

}  // namespace fairlead::cni
