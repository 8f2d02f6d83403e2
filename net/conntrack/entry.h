// Entry: one connection of the kernel's connection tracking (nf_conntrack), as far as its users look at it.
#pragma once

#include <compare>
#include <cstdint>
#include <iosfwd>
#include <string>

#include "net/ip.h"

namespace fairlead::net::conntrack {

inline constexpr std::uint8_t kTcp = 6;  // IPPROTO_*: their header cannot be had together with the kernel's
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kSctp = 132;
// The first packet was seen and nothing came back (linux/netfilter/nf_conntrack_tcp.h, nf_conntrack_sctp.h).
inline constexpr std::uint8_t kTcpSynSent = 1;
inline constexpr std::uint8_t kSctpCookieWait = 2;
// Bits of Entry::status (IPS_*, linux/netfilter/nf_conntrack_common.h).
inline constexpr std::uint32_t kSeenReply = 1U << 1;
inline constexpr std::uint32_t kAssured = 1U << 2;
inline constexpr std::uint32_t kConfirmed = 1U << 3;

// One direction. Ports are 0 where the protocol has none.
struct Tuple {
  Ip source;
  Ip destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint16_t zone = 0;  // where the zone applies to this direction alone; else see Entry
  auto operator<=>(const Tuple&) const = default;
};

struct Entry {
  std::uint8_t protocol = 0;
  Tuple original{};  // as the first packet was sent
  Tuple reply{};     // as answers come: its source is whom the first packet went to in the end
  std::uint16_t zone = 0;
  std::uint8_t state = 0;  // of TCP and SCTP
  std::uint32_t status = 0;
  std::uint32_t mark = 0;
  std::uint32_t id = 0;  // the kernel's; 0: not known. Tells an entry from a later one of the same tuple
  bool operator==(const Entry&) const = default;

  Family family() const { return original.source.family(); }
};
std::string to_string(const Entry& entry);  // "17 10.0.0.1:1000 > 10.96.0.1:53, 10.244.0.5:53 > 10.0.0.1:1000"
std::ostream& operator<<(std::ostream& out, const Entry& entry);

}  // namespace fairlead::net::conntrack
