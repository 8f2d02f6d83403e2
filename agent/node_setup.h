// node_setup: kube-proxy's node settings applied to this node, and logged. What they are: node_settings.h.
#pragma once

#include <cstdint>

#include "agent/options.h"
#include "base/result.h"

namespace fairlead::agent {

enum class Conntrack : std::uint8_t { Done, NotLoaded };
// Nothing unless the options say so. NotLoaded: some settings are not in the kernel; a dataplane that uses conntrack
// has it loaded, so try again once it is open.
Result<Conntrack> tune_conntrack(const Options& options);

void set_oom_score(const Options& options);  // a failure is a warning

}  // namespace fairlead::agent
