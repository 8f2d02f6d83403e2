// Ip, Prefix: address values. An Ip is 16 bytes in network order; IPv4 is kept v4-mapped (::ffff:a.b.c.d), which is
// also the form of every key in bpf/maps.h, so one comparison and one map serve both families.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fairlead::net {

enum class Family : std::uint8_t { V4, V6 };
std::string_view to_string(Family family);  // "IPv4", "IPv6"

class Ip {
 public:
  constexpr Ip() = default;  // "::", used as "no address"

  // Strict inet_pton syntax. The error names the text and what is allowed.
  static Result<Ip> parse(std::string_view text);
  // As Kubernetes reads addresses in old objects: IPv4 octets may have leading zeros and are decimal
  // (172.30.0.041 is 172.30.0.41).
  static Result<Ip> parse_sloppy(std::string_view text);

  static Ip v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d);
  static Ip from_v4_be(std::uint32_t network_order);
  static Ip from_bytes(const std::array<std::uint8_t, 16>& bytes);  // IPv6, or v4-mapped

  bool is_v4() const;
  Family family() const { return is_v4() ? Family::V4 : Family::V6; }
  bool is_unspecified() const;  // "::" or 0.0.0.0
  bool is_loopback() const;     // 127/8 or ::1
  bool is_multicast() const;    // 224/4, 255.255.255.255 or ff00::/8
  std::uint32_t v4_be() const;  // REQUIRES is_v4(); network order
  const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
  std::string to_string() const;  // RFC 5952; as Go's net.IP, by which host-local names its files

  auto operator<=>(const Ip&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

struct Prefix {
  Ip address;               // host bits are zero
  std::uint8_t length = 0;  // bits: 0-32 for IPv4, 0-128 for IPv6

  static Result<Prefix> parse(std::string_view text);         // "10.0.0.0/8"; host bits are cleared
  static Result<Prefix> parse_sloppy(std::string_view text);  // leading zeros allowed, as Ip::parse_sloppy
  static Prefix of(const Ip& address, std::uint8_t length);   // host bits are cleared
  static Prefix host(const Ip& address);                      // /32 or /128
  bool contains(const Ip& ip) const;
  Family family() const { return address.family(); }
  std::string to_string() const;

  auto operator<=>(const Prefix&) const = default;
};

// An interface's address with the length of its subnet: 10.1.0.5/24.
struct InterfaceAddress {
  Ip address;
  std::uint8_t length = 0;

  static Result<InterfaceAddress> parse(std::string_view text);
  Prefix subnet() const { return Prefix::of(address, length); }
  Family family() const { return address.family(); }
  std::string to_string() const;

  auto operator<=>(const InterfaceAddress&) const = default;
};

// For tests and logs.
std::ostream& operator<<(std::ostream& out, const Ip& ip);
std::ostream& operator<<(std::ostream& out, const Prefix& prefix);
// "10.0.0.1:80", "[fd00::1]:80"
std::string host_port(const Ip& ip, std::uint16_t port);

}  // namespace fairlead::net

template <>
struct std::hash<fairlead::net::Ip> {
  std::size_t operator()(const fairlead::net::Ip& ip) const noexcept;
};
