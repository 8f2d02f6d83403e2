// What the portmap plugin puts into the tables, and what it does besides, for those that make one transaction of
// several plugins.
#pragma once

#include <vector>

#include "cni-plugin/call.h"
#include "cni-plugin/tables.h"

namespace fairlead::cni {

// Reads the plugin's keys, runtimeConfig.portMappings and call.previous. No element without port mappings.
Result<Claims> port_claims(const Call& call);

// After `claims` are in force: opens localhost for them, ends flows that go elsewhere.
Status open_ports(const Claims& claims);
// After `taken` are gone: ends the flows to them.
Status close_ports(const std::vector<Claim>& taken);

}  // namespace fairlead::cni
