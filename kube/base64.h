// base64 (RFC 4648 section 4): decoding, with padding; white space between groups is skipped, as YAML folds lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fairlead::kube {

// Nothing when it is not base64.
inline std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  unsigned bits = 0;
  unsigned count = 0;  // of bits held
  unsigned digits = 0;
  unsigned padding = 0;
  for (const char c : text) {
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const std::size_t digit = kAlphabet.find(c);
    if (digit == kAlphabet.npos || padding > 0) return std::nullopt;
    bits = (bits << 6) | static_cast<unsigned>(digit);
    count += 6;
    ++digits;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>((bits >> count) & 0xff));
    }
  }
  const bool whole = (digits + padding) % 4 == 0 && padding <= 2 && digits % 4 != 1;
  return whole ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace fairlead::kube
