#include "agent/time_text.h"

#include <array>
#include <cmath>
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

namespace {

struct Unit {
  std::string_view name;
  std::int64_t nanoseconds;
};
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                         {"us", 1'000},
                                         {"\u00b5s", 1'000},  // the micro sign
                                         {"\u03bcs", 1'000},  // the Greek letter
                                         {"ms", 1'000'000},
                                         {"s", kSecond},
                                         {"m", 60 * kSecond},
                                         {"h", 3600 * kSecond}}};

std::string_view take_digits(std::string_view& text) {
  std::size_t count = 0;
  while (count < text.size() && text[count] >= '0' && text[count] <= '9') ++count;
  const std::string_view digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

// "1.5h" off the front, in nanoseconds.
std::optional<std::int64_t> take_term(std::string_view& text) {
  const std::string_view whole = take_digits(text);
  const std::string_view fraction = take(text, '.') ? take_digits(text) : std::string_view();
  if (whole.empty() && fraction.empty()) return std::nullopt;
  const auto* unit = kUnits.begin();
  while (unit != kUnits.end() && !text.starts_with(unit->name)) ++unit;
  if (unit == kUnits.end()) return std::nullopt;
  text.remove_prefix(unit->name.size());
  std::int64_t total = 0;
  if (!whole.empty()) {
    const auto number = base::parse_number<std::int64_t>(whole);
    if (!number || __builtin_mul_overflow(*number, unit->nanoseconds, &total)) return std::nullopt;
  }
  double scale = static_cast<double>(unit->nanoseconds);
  double rest = 0;
  for (const char digit : fraction) rest += (digit - '0') * (scale /= 10);
  if (__builtin_add_overflow(total, std::int64_t{std::llround(rest)}, &total)) return std::nullopt;
  return total;
}

// 1500 in units of 1000 is "1.5".
std::string decimal(std::uint64_t number, std::uint64_t unit) {
  std::string out = base::cat(number / unit);
  std::uint64_t rest = number % unit;
  if (rest != 0) out.push_back('.');
  while (rest != 0) {
    unit /= 10;
    out.push_back(static_cast<char>('0' + rest / unit));
    rest %= unit;
  }
  return out;
}

}  // namespace

std::optional<base::Duration> parse_duration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return base::Duration{0};
  if (text.empty()) return std::nullopt;
  std::int64_t total = 0;
  while (!text.empty()) {
    const auto term = take_term(text);
    if (!term || __builtin_add_overflow(total, *term, &total)) return std::nullopt;
  }
  return base::Duration(negative ? -total : total);
}

std::string format_duration(base::Duration duration) {
  const std::int64_t count = duration.count();
  if (count == 0) return "0s";
  const std::string sign = count < 0 ? "-" : "";
  const std::uint64_t ns = count < 0 ? 0 - static_cast<std::uint64_t>(count) : static_cast<std::uint64_t>(count);
  constexpr std::uint64_t kMinute = 60 * std::uint64_t{kSecond};
  if (ns < 1'000) return base::cat(sign, ns, "ns");
  if (ns < 1'000'000) return base::cat(sign, decimal(ns, 1'000), "\u00b5s");
  if (ns < kSecond) return base::cat(sign, decimal(ns, 1'000'000), "ms");
  const std::string seconds = decimal(ns % kMinute, kSecond) + "s";
  if (ns < kMinute) return sign + seconds;
  if (ns < 60 * kMinute) return base::cat(sign, ns / kMinute, "m", seconds);
  return base::cat(sign, ns / (60 * kMinute), "h", ns / kMinute % 60, "m", seconds);
}

}  // namespace fairlead::agent
