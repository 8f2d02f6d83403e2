// The choice of an address, apart from where it is kept: round robin over a RangeSet, from the one after the last that
// was handed out, so that an address rests as long as possible before it comes again.
#pragma once

#include <optional>

#include "ipam/ranges.h"

namespace fairlead::ipam {

// The addresses that are taken.
class Held {
 public:
  virtual ~Held() = default;
  // The first of `from`..`to`, both included, that is not taken.
  virtual std::optional<Number> first_free(Number from, Number to) const = 0;
  virtual Number count(Number from, Number to) const = 0;
};

struct Pick {
  net::Ip address;
  const Range* range = nullptr;  // of the set
};

// Absent when every address is taken. A `last` outside of the set begins at the set's start.
std::optional<Pick> pick(const RangeSet& set, const Held& held, const std::optional<net::Ip>& last);

// How many addresses of the set, gateways apart, are taken.
Number held_in(const RangeSet& set, const Held& held);

}  // namespace fairlead::ipam
