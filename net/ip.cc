#include "net/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ostream>

#include "base/strings.h"

namespace fairlead::net {
namespace {

constexpr std::size_t kV4Offset = 12;

Error not_an_ip(std::string_view text) { return Error(base::cat("\"", text, "\" is not an IPv4 or IPv6 address")); }

std::string v4_text(const std::array<std::uint8_t, 16>& bytes) {
  const std::uint8_t* const at = bytes.data() + kV4Offset;
  return base::cat(at[0], ".", at[1], ".", at[2], ".", at[3]);
}

// RFC 5952 section 4: the first of the longest runs of two zero groups or more is "::". inet_ntop of musl shortens a
// single group too, and files are named by this text.
std::string v6_text(const std::array<std::uint8_t, 16>& bytes) {
  constexpr std::size_t kGroups = 8;
  const auto group = [&](std::size_t i) { return bytes[2 * i] * 256U + bytes[2 * i + 1]; };
  std::size_t run_at = kGroups;
  std::size_t run_size = 1;
  for (std::size_t begin = 0; begin < kGroups; ++begin) {
    std::size_t end = begin;
    while (end < kGroups && group(end) == 0) ++end;
    if (end - begin <= run_size) continue;
    run_at = begin;
    run_size = end - begin;
  }
  std::string out;
  for (std::size_t i = 0; i < kGroups;) {
    if (i == run_at) {
      out += "::";
      i += run_size;
      continue;
    }
    if (!out.empty() && out.back() != ':') out.push_back(':');
    std::array<char, 4> digits{};
    out.append(digits.data(), std::to_chars(digits.begin(), digits.end(), group(i++), 16).ptr);
  }
  return out;
}

// Decimal octets, any number of leading zeros; as Go's netutils.ParseIPSloppy.
std::string without_leading_zeros(std::string_view text) {
  std::string out;
  for (const std::string_view octet : base::split(text, '.')) {
    if (!out.empty()) out.push_back('.');
    const std::size_t first = octet.find_first_not_of('0');
    out.append(first == octet.npos ? octet.substr(0, std::min<std::size_t>(octet.size(), 1)) : octet.substr(first));
  }
  return out;
}

Result<InterfaceAddress> make_address(std::string_view text, bool sloppy) {
  const std::size_t slash = text.find('/');
  if (slash == text.npos) return Error(base::cat("\"", text, "\" is not a prefix (address/bits)"));
  const Ip ip = TRY(sloppy ? Ip::parse_sloppy(text.substr(0, slash)) : Ip::parse(text.substr(0, slash)));
  const unsigned bits = ip.is_v4() ? 32 : 128;
  const auto length = base::parse_number<unsigned>(text.substr(slash + 1));
  if (!length || *length > bits) return Error(base::cat("\"", text, "\" is not a prefix (0-", bits, " bits)"));
  return InterfaceAddress{ip, static_cast<std::uint8_t>(*length)};
}

}  // namespace

std::string_view to_string(Family family) { return family == Family::V4 ? "IPv4" : "IPv6"; }

Result<Ip> Ip::parse(std::string_view text) {
  const std::string copy(text);  // inet_pton wants a terminator
  in_addr v4{};
  if (::inet_pton(AF_INET, copy.c_str(), &v4) == 1) return from_v4_be(v4.s_addr);
  in6_addr v6{};
  if (copy.size() != std::strlen(copy.c_str()) || ::inet_pton(AF_INET6, copy.c_str(), &v6) != 1) return not_an_ip(text);
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &v6, bytes.size());
  return from_bytes(bytes);
}

Result<Ip> Ip::parse_sloppy(std::string_view text) {
  if (text.find(':') != text.npos) return parse(text);
  Result<Ip> parsed = parse(without_leading_zeros(text));
  if (!parsed) return not_an_ip(text);
  return parsed;
}

Ip Ip::v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  Ip ip;
  ip.bytes_ = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d};
  return ip;
}

Ip Ip::from_v4_be(std::uint32_t network_order) {
  Ip ip = v4(0, 0, 0, 0);
  std::memcpy(ip.bytes_.data() + kV4Offset, &network_order, sizeof network_order);
  return ip;
}

Ip Ip::from_bytes(const std::array<std::uint8_t, 16>& bytes) {
  Ip ip;
  ip.bytes_ = bytes;
  return ip;
}

bool Ip::is_v4() const {
  constexpr std::uint8_t kMapped[kV4Offset] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(bytes_.data(), kMapped, sizeof kMapped) == 0;
}

bool Ip::is_unspecified() const { return is_v4() ? v4_be() == 0 : *this == Ip(); }

bool Ip::is_loopback() const {
  if (is_v4()) return bytes_[kV4Offset] == 127;
  Ip one;
  one.bytes_[15] = 1;
  return *this == one;
}

bool Ip::is_multicast() const {
  if (!is_v4()) return bytes_[0] == 0xff;
  return (bytes_[kV4Offset] & 0xf0) == 0xe0 || v4_be() == 0xffffffff;
}

std::uint32_t Ip::v4_be() const {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes_.data() + kV4Offset, sizeof value);
  return value;
}

std::string Ip::to_string() const { return is_v4() ? v4_text(bytes_) : v6_text(bytes_); }

Result<Prefix> Prefix::parse(std::string_view text) { return TRY(make_address(text, false)).subnet(); }
Result<Prefix> Prefix::parse_sloppy(std::string_view text) { return TRY(make_address(text, true)).subnet(); }

Prefix Prefix::of(const Ip& address, std::uint8_t length) {
  std::array<std::uint8_t, 16> bytes = address.bytes();
  const unsigned keep = length + (address.is_v4() ? 96U : 0U);
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned have = keep > i * 8 ? std::min(8U, keep - i * 8) : 0;
    bytes[i] = static_cast<std::uint8_t>(bytes[i] & static_cast<std::uint8_t>(0xff00U >> have));
  }
  return Prefix{Ip::from_bytes(bytes), length};
}

Prefix Prefix::host(const Ip& address) { return of(address, address.is_v4() ? 32 : 128); }

bool Prefix::contains(const Ip& ip) const {
  if (ip.family() != family()) return false;
  const unsigned bits = length + (address.is_v4() ? 96U : 0U);
  const unsigned whole = bits / 8;
  if (!std::equal(address.bytes().begin(), address.bytes().begin() + whole, ip.bytes().begin())) return false;
  if (bits % 8 == 0) return true;
  const unsigned shift = 8 - bits % 8;
  return (address.bytes()[whole] >> shift) == (ip.bytes()[whole] >> shift);
}

std::string Prefix::to_string() const { return base::cat(address.to_string(), "/", unsigned{length}); }

Result<InterfaceAddress> InterfaceAddress::parse(std::string_view text) { return make_address(text, false); }

std::string InterfaceAddress::to_string() const { return base::cat(address.to_string(), "/", unsigned{length}); }

std::ostream& operator<<(std::ostream& out, const Ip& ip) { return out << ip.to_string(); }
std::ostream& operator<<(std::ostream& out, const Prefix& prefix) { return out << prefix.to_string(); }

std::string host_port(const Ip& ip, std::uint16_t port) {
  return ip.is_v4() ? base::cat(ip.to_string(), ":", port) : base::cat("[", ip.to_string(), "]:", port);
}

}  // namespace fairlead::net

std::size_t std::hash<fairlead::net::Ip>::operator()(const fairlead::net::Ip& ip) const noexcept {
  std::uint64_t halves[2];
  std::memcpy(halves, ip.bytes().data(), sizeof halves);
  // Addresses come in runs that differ in their last bytes, which a little-endian machine has on top.
  std::uint64_t mixed = halves[0] * 0x9e3779b97f4a7c15ULL ^ halves[1];
  mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ULL;
  return static_cast<std::size_t>(mixed ^ mixed >> 32);
}
