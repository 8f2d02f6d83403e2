// How the host sends to an address: one RTM_GETROUTE.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "net/ip.h"

namespace fairlead::cni {

struct HostRoute {
  std::uint32_t link = 0;
  bool local = false;  // an address of the host itself
};
// ENETUNREACH and the like when there is none.
Result<HostRoute> host_route(const net::Ip& to);

}  // namespace fairlead::cni
