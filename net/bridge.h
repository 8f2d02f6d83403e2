// bridge: a bridge's own settings, those of its ports, and their VLANs, as rtnetlink attributes and messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/netlink_message.h"

namespace fairlead::net {

// IFLA_INFO_DATA of a bridge, linux v6.1 net/bridge/br_netlink.c br_policy.
struct BridgeSettings {
  bool vlan_filtering = false;
  std::uint16_t default_pvid = 1;  // what every port gets untagged where VLANs are filtered; only read
  bool operator==(const BridgeSettings&) const = default;
};
std::string bridge_data(const BridgeSettings& settings);
BridgeSettings parse_bridge(std::string_view kind_data);

// IFLA_INFO_SLAVE_DATA of a port, br_port_policy.
struct BridgePort {
  bool hairpin = false;
  bool isolated = false;
  bool operator==(const BridgePort&) const = default;
};
std::string bridge_port_data(const BridgePort& port);
BridgePort parse_bridge_port(std::string_view slave_data);

struct VlanRange {
  std::uint16_t first = 0, last = 0;  // 1 to 4094, both inclusive
  bool operator==(const VlanRange&) const = default;
};
// The port carries `untagged` without a tag, both ways (0: none), and `tagged` with theirs.
NetlinkMessage add_port_vlans(std::uint32_t port, std::uint16_t untagged, const std::vector<VlanRange>& tagged);
NetlinkMessage delete_port_vlan(std::uint32_t port, std::uint16_t vlan);

}  // namespace fairlead::net
