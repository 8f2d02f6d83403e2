#include "cni-plugin/marks.h"

#include <cstdint>

#include "base/strings.h"

namespace fairlead::cni {
namespace {

constexpr std::size_t kAliasBytes = 255;  // linux v6.1 include/uapi/linux/if.h IFALIASZ, less its zero

std::uint64_t fnv(std::string_view text, std::uint64_t hash = 0xcbf29ce484222325U) {
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3U;
  return hash;
}

std::string hex(std::uint64_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out(16, '0');
  for (auto at = out.rbegin(); at != out.rend(); ++at, value >>= 4) *at = kDigits[value & 15];
  return out;
}

// No part can hold the zero that separates them.
std::string joined(const Attachment& attachment) {
  return base::cat(attachment.network, '\0', attachment.container_id, '\0', attachment.ifname);
}

}  // namespace

std::string digest(std::string_view text) { return hex(fnv(text)); }
std::string digest(const Attachment& attachment) { return digest(joined(attachment)); }

std::string link_alias(const Attachment& attachment) {
  std::string alias = base::cat("fairlead:", digest(attachment), ":", attachment.network, ":", attachment.container_id,
                                ":", attachment.ifname);
  alias.resize(std::min(alias.size(), kAliasBytes));
  return alias;
}

std::string host_link_name(const Attachment& attachment, unsigned attempt) {
  return base::cat("veth", std::string_view(hex(fnv(base::cat(attempt), fnv(joined(attachment))))).substr(0, 11));
}

}  // namespace fairlead::cni
