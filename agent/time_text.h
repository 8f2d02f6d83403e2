// Times as people and the Kubernetes API write them: RFC 3339 with fractions, durations like 15m or 3m12s.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace fairlead::agent {

std::string format_rfc3339(base::WallTime time);                      // "2026-05-01T12:00:00.123456789Z"
std::optional<base::WallTime> parse_rfc3339(std::string_view text);   // any offset; nothing when malformed
std::optional<base::Duration> parse_duration(std::string_view text);  // "15m", "1h30m", "250ms"; as Go writes them

}  // namespace fairlead::agent
