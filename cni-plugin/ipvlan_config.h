// The configuration of the ipvlan plugin as a plain value; seen by its tests, since few kernels of build machines have
// ipvlan.
#pragma once

#include <string>

#include "cni-plugin/call.h"

namespace fairlead::cni {

struct IpvlanConfig {
  std::string master{};    // empty: the default route's
  std::uint16_t mode = 0;  // IPVLAN_MODE_L2
  std::uint32_t mtu = 0;
  bool in_container = false;
  bool operator==(const IpvlanConfig&) const = default;
};
Result<IpvlanConfig> parse_ipvlan_config(const Call& call);
std::string ipvlan_data(const IpvlanConfig& config);  // IFLA_INFO_DATA

}  // namespace fairlead::cni
