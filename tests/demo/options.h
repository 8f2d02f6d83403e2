// options: the command line of fairlead-demo.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::demo {

struct Options {
  bool api = false;   // the agents follow the test API server instead of a directory
  bool keep = false;  // leave everything standing at the end
  bool remove = false;
  bool help = false;
  std::string dataplane = "auto";
};

extern const char* const kUsage;
Result<Options> parse_options(const std::vector<std::string>& arguments);

}  // namespace fairlead::demo
