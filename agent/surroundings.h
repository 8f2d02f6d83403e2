// surroundings: what the command line's defaults depend on, as this process finds it.
#pragma once

#include "agent/options.h"

namespace fairlead::agent {

Surroundings surroundings();

}  // namespace fairlead::agent
