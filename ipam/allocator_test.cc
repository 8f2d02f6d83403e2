#include "ipam/allocator.h"

#include <gtest/gtest.h>

#include <set>

namespace fairlead::ipam {
namespace {

net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }

class HeldSet final : public Held {
 public:
  std::set<Number> numbers;
  std::optional<Number> first_free(Number from, Number to) const override {
    for (;; ++from) {
      if (numbers.count(from) == 0) return from;
      if (from == to) return std::nullopt;
    }
  }
  Number count(Number from, Number to) const override {
    return static_cast<std::size_t>(std::distance(numbers.lower_bound(from), numbers.upper_bound(to)));
  }
};

RangeSet set_of(const std::vector<RangeSpec>& specs) {
  return complete(std::vector<std::vector<RangeSpec>>{specs})->front();
}

// Picks and takes until nothing is left.
std::vector<std::string> drain(const RangeSet& set, std::optional<net::Ip> last, HeldSet held = {}) {
  std::vector<std::string> picked;
  while (const auto next = pick(set, held, last)) {
    picked.push_back(next->address.to_string());
    held.numbers.insert(to_number(next->address));
    last = next->address;
  }
  return picked;
}

using Texts = std::vector<std::string>;

TEST(Allocator, BeginsAtTheStartAndLeavesTheGatewayOut) {
  EXPECT_EQ(drain(set_of({{"r", "10.1.0.0/29", {}, {}, {}}}), {}),
            (Texts{"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"}));
  EXPECT_EQ(drain(set_of({{"r", "10.1.0.0/29", {}, {}, ip("10.1.0.6")}}), {}),
            (Texts{"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"}));
}

TEST(Allocator, GoesOnAfterTheLastAndAroundSoThatAnAddressRestsLongest) {
  const RangeSet set = set_of({{"r", "10.1.0.0/29", {}, {}, ip("10.1.0.4")}});
  EXPECT_EQ(drain(set, ip("10.1.0.3")), (Texts{"10.1.0.5", "10.1.0.6", "10.1.0.1", "10.1.0.2", "10.1.0.3"}));
  EXPECT_EQ(drain(set, ip("10.1.0.6")), (Texts{"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.5", "10.1.0.6"}));
}

TEST(Allocator, ALastOutsideOfTheSetBeginsAtTheStart) {
  EXPECT_EQ(drain(set_of({{"r", "10.1.0.0/30", {}, {}, {}}}), ip("10.9.0.1")), (Texts{"10.1.0.2"}));
  EXPECT_EQ(drain(set_of({{"r", "10.1.0.0/30", {}, {}, {}}}), ip("fd00::1")), (Texts{"10.1.0.2"}));
}

TEST(Allocator, TheRangesOfASetFollowOneAnother) {
  const RangeSet set = set_of({{"a", "10.1.0.0/30", {}, {}, {}},
                               {"b", "10.2.0.0/30", {}, {}, {}},
                               {"c", "10.3.0.0/24", ip("10.3.0.1"), ip("10.3.0.1"), {}}});  // a gateway and no more
  EXPECT_EQ(drain(set, {}), (Texts{"10.1.0.2", "10.2.0.2"}));
  EXPECT_EQ(drain(set, ip("10.1.0.2")), (Texts{"10.2.0.2", "10.1.0.2"}));
  EXPECT_EQ(drain(set, ip("10.2.0.1")), (Texts{"10.2.0.2", "10.1.0.2"}));
}

TEST(Allocator, AGatewayIsOnlyOfItsOwnRange) {
  const RangeSet set =
      set_of({{"a", "10.1.0.0/24", ip("10.1.0.2"), ip("10.1.0.2"), ip("10.2.0.2")}, {"b", "10.2.0.0/30", {}, {}, {}}});
  EXPECT_EQ(drain(set, {}), (Texts{"10.1.0.2", "10.2.0.2"}));
}

TEST(Allocator, NothingIsLeftWhenAllAreHeld) {
  const RangeSet set = set_of({{"r", "10.1.0.0/30", {}, {}, {}}});
  HeldSet held;
  held.numbers.insert(to_number(ip("10.1.0.2")));
  for (const std::optional<net::Ip>& last :
       {std::optional<net::Ip>(), std::optional(ip("10.1.0.1")), std::optional(ip("10.1.0.2"))}) {
    EXPECT_FALSE(pick(set, held, last));
  }
  EXPECT_TRUE(held_in(set, held) == 1);
  held.numbers.insert(to_number(ip("10.1.0.1")));
  EXPECT_TRUE(held_in(set, held) == 1) << "a held gateway does not count";
}

TEST(Allocator, ALargeNetworkIsNoWork) {
  const RangeSet set = set_of({{"r", "fd00::/64", {}, {}, {}}});
  EXPECT_EQ(pick(set, HeldSet(), {})->address.to_string(), "fd00::2");
  EXPECT_EQ(pick(set, HeldSet(), ip("fd00::ffff:ffff:ffff:ffff"))->address.to_string(), "fd00::2");
}

}  // namespace
}  // namespace fairlead::ipam
