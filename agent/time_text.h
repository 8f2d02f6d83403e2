// Times as people and the Kubernetes API write them: RFC 3339 with fractions, durations like 15m or 3m12s.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace fairlead::agent {

std::string format_rfc3339(base::WallTime time);                     // "2026-05-01T12:00:00.123456789Z"
std::optional<base::WallTime> parse_rfc3339(std::string_view text);  // any offset; nothing when malformed

// Durations as Go's time package writes and reads them: "15m", "1h30m", "1.5s", "-250ms", "0"; nothing when malformed
// or beyond 292 years.
std::optional<base::Duration> parse_duration(std::string_view text);
std::string format_duration(base::Duration duration);  // "24h0m0s", "1.5s", "250ms", "0s"

}  // namespace fairlead::agent
