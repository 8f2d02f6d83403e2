// firewalld rejects what it knows nothing of. So pods are sources of one of its zones, which it is asked for over D-Bus
// (docs/adr/0022).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"

namespace fairlead::cni {

// Each bounded by two seconds. `required`: that it does not run is an Error.
Status add_sources(const std::vector<net::Ip>& pods, const std::string& zone, bool required);
Status check_sources(const std::vector<net::Ip>& pods, const std::string& zone, bool required);
// Out of whatever zone they are in. No error when firewalld does not run: then they are gone with it.
Status remove_sources(const std::vector<net::Ip>& pods);

}  // namespace fairlead::cni
