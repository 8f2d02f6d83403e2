// What the firewall plugin puts into the tables, for those that make one transaction of several plugins.
#pragma once

#include "cni-plugin/call.h"
#include "cni-plugin/tables.h"

namespace fairlead::cni {

// Reads the plugin's keys and call.previous.
Result<Claims> firewall_claims(const Call& call);

}  // namespace fairlead::cni
