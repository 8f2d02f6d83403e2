#include "agent/time_text.h"

#include <array>
#include <cstdio>
#include <ctime>
#include <utility>

#include "base/strings.h"

namespace fairlead::agent {

std::string format_rfc3339(base::WallTime time) {
  using namespace std::chrono;
  const auto whole = floor<seconds>(time);
  const auto fraction = duration_cast<nanoseconds>(time - whole).count();
  const time_t stamp = system_clock::to_time_t(whole);
  tm parts{};
  gmtime_r(&stamp, &parts);
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%09lldZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<long long>(fraction));
  return text.data();
}

namespace {

// Reads exactly `digits` digits off the front.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  const auto value = base::parse_number<unsigned>(text.substr(0, digits));
  if (!value) return std::nullopt;
  text.remove_prefix(digits);
  return static_cast<int>(*value);
}

bool take(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::chrono::nanoseconds> take_fraction(std::string_view& text) {
  std::chrono::nanoseconds value{0};
  if (!take(text, '.')) return value;
  std::int64_t unit = 100'000'000;
  std::size_t used = 0;
  for (; used < text.size() && text[used] >= '0' && text[used] <= '9'; ++used, unit /= 10) {
    value += std::chrono::nanoseconds((text[used] - '0') * unit);
  }
  if (used == 0) return std::nullopt;
  text.remove_prefix(used);
  return value;
}

std::optional<std::chrono::minutes> take_offset(std::string_view& text) {
  if (take(text, 'Z')) return std::chrono::minutes(0);
  const int sign = text.empty() ? 0 : text.front() == '+' ? 1 : text.front() == '-' ? -1 : 0;
  if (sign == 0) return std::nullopt;
  text.remove_prefix(1);
  const auto hours = take_number(text, 2);
  if (!hours || !take(text, ':')) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes) return std::nullopt;
  return std::chrono::minutes(sign * (*hours * 60 + *minutes));
}

}  // namespace

std::optional<base::WallTime> parse_rfc3339(std::string_view text) {
  tm parts{};
  const auto year = take_number(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || *month < 1 || *month > 12 || !take(text, '-')) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day || *day < 1 || *day > 31 || !take(text, 'T')) return std::nullopt;
  const auto hour = take_number(text, 2);
  if (!hour || *hour > 23 || !take(text, ':')) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!minute || *minute > 59 || !take(text, ':')) return std::nullopt;
  const auto second = take_number(text, 2);
  if (!second || *second > 60) return std::nullopt;
  const auto fraction = take_fraction(text);
  const auto offset = fraction ? take_offset(text) : std::nullopt;
  if (!offset || !text.empty()) return std::nullopt;
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  return std::chrono::system_clock::from_time_t(timegm(&parts)) - *offset + *fraction;
}

std::optional<base::Duration> parse_duration(std::string_view text) {
  using namespace std::chrono_literals;
  static constexpr std::array<std::pair<std::string_view, base::Duration>, 4> kUnits = {
      {{"ms", 1ms}, {"h", 1h}, {"m", 1min}, {"s", 1s}}};
  if (text.empty()) return std::nullopt;
  base::Duration total{0};
  while (!text.empty()) {
    std::size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
    const auto number = base::parse_number<std::uint32_t>(text.substr(0, digits));
    if (!number || *number > 1'000'000) return std::nullopt;
    text.remove_prefix(digits);
    const auto* unit = kUnits.begin();
    while (unit != kUnits.end() && !text.starts_with(unit->first)) ++unit;
    if (unit == kUnits.end()) return std::nullopt;
    text.remove_prefix(unit->first.size());
    total += *number * unit->second;
  }
  return total;
}

}  // namespace fairlead::agent
