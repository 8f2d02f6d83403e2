// portmap's conditionsV4 and conditionsV6: what else a packet to a host port must be (docs/adr/0020). Written as
// arguments of iptables ("!", "-d", "192.0.2.0/24") or as an expression of nft ("ip", "daddr", "!=", "192.0.2.0/24").
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"
#include "net/nft/types.h"

namespace fairlead::cni {

struct Condition {
  enum class What : std::uint8_t { Source, Destination, Input, Mark, SourceType, DestinationType } what = What::Source;
  bool negated = false;
  net::Prefix prefix;                 // of Source and Destination
  std::string input;                  // of Input: the name, or how it begins
  bool any_ending = false;            // of Input
  std::uint32_t value = 0, mask = 0;  // of Mark; value of the types: RTN_LOCAL, ...
  auto operator<=>(const Condition&) const = default;
};
using Conditions = std::vector<Condition>;  // all of them; empty: always

// `words` are iptables' when the first one begins with "-" or is "!". An Error is a spec error that quotes the word;
// code 2 where it is sound but not supported.
Result<Conditions> parse_conditions(const std::vector<std::string>& words, net::Family family);

// In nft's words, for people and as its identity: the same text, the same packets.
std::string to_string(const Conditions& conditions);

// Goes on where all are met. Uses registers 0 to 3.
std::vector<net::nft::Expr> exprs_of(const Conditions& conditions, net::Family family);

}  // namespace fairlead::cni
