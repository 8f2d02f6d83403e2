// Attributes put behind a message in a buffer with room for them: what a batch of a hundred thousand elements is made
// with. Internal to net/nft.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace fairlead::net::nft {

inline nlattr* put_attribute(nlmsghdr* header, std::uint16_t type, std::size_t size) {
  auto* attribute = reinterpret_cast<nlattr*>(reinterpret_cast<char*>(header) + NLMSG_ALIGN(header->nlmsg_len));
  attribute->nla_type = type;
  attribute->nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + size);
  header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + NLA_ALIGN(attribute->nla_len);
  return attribute;
}

inline void put_bytes(nlmsghdr* header, std::uint16_t type, std::size_t size, const void* bytes) {
  char* at = reinterpret_cast<char*>(put_attribute(header, type, size)) + NLA_HDRLEN;
  std::memcpy(at, bytes, size);
  std::memset(at + size, 0, NLA_ALIGN(size) - size);
}
inline void put_text(nlmsghdr* header, std::uint16_t type, const std::string& text) {
  put_bytes(header, type, text.size() + 1, text.c_str());
}

inline nlattr* start_nest(nlmsghdr* header, std::uint16_t type) {
  return put_attribute(header, static_cast<std::uint16_t>(type | NLA_F_NESTED), 0);
}
inline void end_nest(const nlmsghdr* header, nlattr* nest) {
  const char* end = reinterpret_cast<const char*>(header) + header->nlmsg_len;
  nest->nla_len = static_cast<std::uint16_t>(end - reinterpret_cast<const char*>(nest));
}

}  // namespace fairlead::net::nft
