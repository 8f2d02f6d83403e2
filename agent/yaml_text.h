// yaml_text: a tree as a YAML document that kube/yaml.h (and any other reader) takes back as it was.
#pragma once

#include <string>

#include "base/json.h"

namespace fairlead::agent {

std::string to_yaml(const base::Value& value);  // an object; block style, members in their order

}  // namespace fairlead::agent
