// layout: bpf/maps.h seen from C++: comparison, and conversion from net::Ip. Nothing here defines a layout.
#pragma once

#include <cstring>
#include <string>

#include "bpf/maps.h"
#include "net/ip.h"

namespace fairlead::bpf {

inline bool operator==(const addr16& a, const addr16& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator<(const addr16& a, const addr16& b) { return std::memcmp(&a, &b, sizeof a) < 0; }
inline bool operator==(const frontend_key& a, const frontend_key& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator<(const frontend_key& a, const frontend_key& b) { return std::memcmp(&a, &b, sizeof a) < 0; }
inline bool operator==(const extent& a, const extent& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator==(const frontend& a, const frontend& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator==(const source_key& a, const source_key& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator<(const network_key& a, const network_key& b) { return std::memcmp(&a, &b, sizeof a) < 0; }
inline bool operator==(const network_key& a, const network_key& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator==(const slot& a, const slot& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator==(const node_config& a, const node_config& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator==(const build& a, const build& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace fairlead::bpf

namespace fairlead::proxy::dataplane::ebpf {

inline bpf::addr16 to_addr16(const net::Ip& ip) {
  bpf::addr16 out{};
  static_assert(sizeof out == sizeof ip.bytes());
  std::memcpy(&out, ip.bytes().data(), sizeof out);
  return out;
}

inline net::Ip to_ip(const bpf::addr16& addr) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &addr, bytes.size());
  return net::Ip::from_bytes(bytes);
}

inline std::uint16_t swap16(std::uint16_t value) { return __builtin_bswap16(value); }
inline std::uint16_t to_be16(std::uint16_t host) {
  return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? swap16(host) : host;
}
inline std::uint16_t from_be16(std::uint16_t wire) { return to_be16(wire); }

// Bits of a range of addresses in the one form.
inline std::uint32_t mapped_length(const net::Prefix& prefix) {
  return prefix.length + (prefix.family() == net::Family::V4 ? 96U : 0U);
}
inline net::Prefix to_prefix(const bpf::addr16& addr, std::uint32_t length) {
  const net::Ip ip = to_ip(addr);
  return {ip, static_cast<std::uint8_t>(ip.is_v4() && length >= 96 ? length - 96 : length)};
}

std::string to_string(
    const bpf::frontend_key& key);  // "10.0.0.1:80/TCP", "node port 30080/UDP (IPv6)", "10.0.0.1, any other port"

}  // namespace fairlead::proxy::dataplane::ebpf
