// tables: the agent's JSON as text for people. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace fairlead::ctl {

enum class Colour : std::uint8_t { Off, On };

std::string status_text(const base::Value& status, Colour colour);
std::string services_table(const base::Value& services, Colour colour);

// "45s", "3m12s", "5h4m", "3d2h"
std::string age_text(std::int64_t seconds);

}  // namespace fairlead::ctl
