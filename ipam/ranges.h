// Range, RangeSet: the address pools of a host-local configuration, completed and checked as the reference plugin does
// (containernetworking plugins v1.1.1, plugins/ipam/host-local/backend/allocator/range.go).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"

namespace fairlead::ipam {

// An address as a number; IPv4 in its v4-mapped form, so that both families are one line of numbers.
using Number = unsigned __int128;
Number to_number(const net::Ip& ip);
net::Ip to_ip(Number number);

// What an operator wrote.
struct RangeSpec {
  std::string path;    // names it in errors: "ipam.ranges[0][1]"
  std::string subnet;  // "10.1.0.0/16"
  std::optional<net::Ip> start, end, gateway;
};

struct Range {
  net::Prefix subnet;
  net::Ip start, end;  // both may be handed out, but for the gateway
  net::Ip gateway;     // need not lie in the subnet
  bool contains(const net::Ip& ip) const;
  bool operator==(const Range&) const = default;
};
std::string to_string(const Range& range);  // "10.1.0.1-10.1.0.254"

// A pool: one address of it is handed out. Ranges of one family that do not overlap, at least one.
using RangeSet = std::vector<Range>;
std::string to_string(const RangeSet& set);  // "10.1.0.1-10.1.0.254,10.2.0.1-10.2.0.254"
const Range* range_of(const RangeSet& set, const net::Ip& ip);
// How many addresses it can hand out: without gateways.
Number usable(const RangeSet& set);

// Fills in what is absent: the gateway is the subnet's first address, start the same, end the last one (IPv4: the one
// before the broadcast address). Errors name the range's path, the value and what is allowed.
Result<Range> complete(const RangeSpec& spec);
// And checks what the ranges and sets owe each other. `path` names the empty set or list.
Result<std::vector<RangeSet>> complete(const std::vector<std::vector<RangeSpec>>& sets);

}  // namespace fairlead::ipam
