// The configuration of the bridge plugin as a plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cni-plugin/call.h"
#include "net/bridge.h"
#include "net/rtnl.h"

namespace fairlead::cni {

struct BridgeConfig {
  std::string bridge = "cni0";
  bool is_gateway = false;
  bool is_default_gateway = false;  // implies is_gateway
  bool force_address = false;
  std::optional<std::vector<net::Prefix>> masquerade{};  // with what is exempt
  std::uint32_t mtu = 0;
  bool hairpin = false;
  bool promiscuous = false;
  std::uint16_t vlan = 0;               // untagged; 0: none
  std::vector<net::VlanRange> trunk{};  // tagged, in order, without overlap
  bool preserve_default_vlan = true;
  bool mac_spoof_check = false;
  bool detect_duplicates = false;
  bool disable_container_interface = false;
  bool port_isolation = false;
  std::optional<net::Mac> mac{};  // the container's

  bool filters_vlans() const { return vlan != 0 || !trunk.empty(); }
  bool operator==(const BridgeConfig&) const = default;
};

Result<BridgeConfig> parse_bridge_config(const Call& call);

}  // namespace fairlead::cni
