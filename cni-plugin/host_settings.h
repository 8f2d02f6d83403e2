// What an attachment needs of the host as a whole.
#pragma once

#include <vector>

#include "base/result.h"
#include "cni-plugin/net_result.h"

namespace fairlead::cni {

// Forwarding of the families that `ips` are of. Written only where it is off: /proc/sys may be read-only.
Status enable_forwarding(const std::vector<IpConfig>& ips);

}  // namespace fairlead::cni
