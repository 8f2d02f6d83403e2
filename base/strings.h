// Small text helpers without a formatting library: cat() joins values, split() and trim() take text apart.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace fairlead::base {

inline void append(std::string& out, std::string_view text) { out.append(text); }
inline void append(std::string& out, char c) { out.push_back(c); }
template <typename T>
requires std::is_same_v<T, bool>  // a plain bool parameter would also take every pointer
void append(std::string& out, T value) { out.append(value ? "true" : "false"); }
template <typename T>
requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char>) void append(std::string& out,
                                                                                                      T value) {
  char buffer[32];
  auto [end, ec] = std::to_chars(buffer, buffer + sizeof buffer, value);
  out.append(buffer, ec == std::errc() ? static_cast<std::size_t>(end - buffer) : 0);
}

// cat("port ", 80, ": ", name)
template <typename... Parts>
std::string cat(const Parts&... parts) {
  std::string out;
  (append(out, parts), ...);
  return out;
}

std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
std::string hex(std::string_view bytes);  // two lower-case digits each
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// The whole of `text` as a decimal number, or nothing.
template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace fairlead::base
