// dump: reads the kernel of the calling thread's network namespace, whether or not an agent runs.
#pragma once

#include <string>

#include "base/result.h"
#include "ctl/options.h"

namespace fairlead::ctl {

// An Error when there is no table.
Result<std::string> dump_nftables(const Options& options);

}  // namespace fairlead::ctl
