// Requests at a steady rate, each one counted, until the time is over or stdin is closed.
#pragma once

#include <functional>

#include "tests/datapath/probe_spec.h"

namespace fairlead::testbed::probe {

LoadReport run_load(const LoadSpec& spec, const std::function<void(const LoadReport&)>& report);

}  // namespace fairlead::testbed::probe
