// yaml_text: a base::Value as YAML, as a person would write it.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace fairlead::demo {

std::string to_yaml(const std::vector<base::Value>& documents);

}  // namespace fairlead::demo
