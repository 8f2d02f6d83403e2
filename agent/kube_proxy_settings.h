// The table of kube-proxy's settings: field, flag, what is allowed, and whether it means anything here. Decoding,
// flags, writing and help all walk it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/kube_proxy_config.h"

namespace fairlead::agent {

struct Setting {
  using K = KubeProxyConfiguration;
  // std::monostate: accepted, and forgotten.
  using Slot = std::variant<std::monostate, std::string K::*, bool K::*, std::int32_t K::*, double K::*,
                            base::Duration K::*, std::vector<std::string> K::*, K::Gates K::*>;
  // Numbers, durations (in nanoseconds).
  struct Range {
    std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
    std::int64_t highest = std::numeric_limits<std::int64_t>::max();
  };
  using TextRule = bool (*)(std::string_view);
  using ListRule = bool (*)(const std::vector<std::string>&);

  std::string_view path;  // "conntrack.maxPerCore"
  std::string_view flag;  // "conntrack-max-per-core"; empty: only in a file
  Slot slot;
  std::variant<Range, TextRule, ListRule> rule = Range{};  // empty texts and lists are always right
  std::string_view use{};      // what is allowed, to follow "use "; empty: anything of the type
  bool zero_is_unset = false;  // in a file: 0, "" and 0s stand for the default
  std::string_view help{};
  std::string_view void_because{};  // it changes nothing here: why, or what to use instead
};

std::span<const Setting> kube_proxy_settings();  // sorted by path

// Why a feature gate cannot have that value, to follow its name; nothing when it can.
std::optional<std::string> wrong_gate(const std::string& name, bool on);

}  // namespace fairlead::agent
