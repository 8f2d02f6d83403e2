// yaml: a YAML stream -> one base::Value per document, with lines. yaml-cpp stays inside yaml.cc.
//
// Scalars follow the YAML 1.2 core schema (quoted ones are strings); anchors, aliases and merge keys ("<<") are
// resolved. Duplicate keys are errors, unless asked for otherwise. Depth and total size after alias expansion are
// bounded, so a small file cannot become a big tree. Cost is linear in the expanded size.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace fairlead::kube {

enum class DuplicateKeys : std::uint8_t { Refuse, LastWins };

// Empty documents are left out.
Result<std::vector<base::Value>> parse_yaml(std::string_view text, DuplicateKeys duplicates = DuplicateKeys::Refuse);

}  // namespace fairlead::kube
