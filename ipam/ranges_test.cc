#include "ipam/ranges.h"

#include <gtest/gtest.h>

namespace fairlead::ipam {
namespace {

net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }

std::string completed(const RangeSpec& spec) {
  const auto range = complete(spec);
  return range ? to_string(*range) + " gw " + range->gateway.to_string() : range.error().message();
}

std::string error_of(const std::vector<std::vector<RangeSpec>>& sets) {
  const auto result = complete(sets);
  return result ? "accepted" : result.error().message();
}

TEST(Ranges, WhatIsAbsentIsTheReferencesDefault) {
  EXPECT_EQ(completed({"r", "10.1.0.0/24", {}, {}, {}}), "10.1.0.1-10.1.0.254 gw 10.1.0.1");
  EXPECT_EQ(completed({"r", "10.1.0.0/30", {}, {}, {}}), "10.1.0.1-10.1.0.2 gw 10.1.0.1");
  EXPECT_EQ(completed({"r", "fd00::/64", {}, {}, {}}), "fd00::1-fd00::ffff:ffff:ffff:ffff gw fd00::1");
  EXPECT_EQ(completed({"r", "fd00::/126", {}, {}, {}}), "fd00::1-fd00::3 gw fd00::1");
}

TEST(Ranges, BoundsMayBeAnyAddressOfTheSubnetAndTheGatewayAnyOfItsFamily) {
  EXPECT_EQ(completed({"r", "10.1.0.0/24", ip("10.1.0.0"), ip("10.1.0.255"), ip("10.9.0.1")}),
            "10.1.0.0-10.1.0.255 gw 10.9.0.1");
  EXPECT_EQ(completed({"r", "10.1.0.0/24", ip("10.1.0.7"), ip("10.1.0.7"), {}}), "10.1.0.7-10.1.0.7 gw 10.1.0.1");
}

TEST(Ranges, ErrorsNameTheFieldTheValueAndWhatIsAllowed) {
  EXPECT_EQ(completed({"ipam", "10.1.0.5/24", {}, {}, {}}),
            "ipam.subnet: 10.1.0.5/24 has host bits set; the network is 10.1.0.0/24");
  EXPECT_EQ(completed({"ipam", "10.1.0.0/31", {}, {}, {}}),
            "ipam.subnet: 10.1.0.0/31 is too small to allocate from; at most /30");
  EXPECT_EQ(completed({"ipam", "fd00::/127", {}, {}, {}}),
            "ipam.subnet: fd00::/127 is too small to allocate from; at most /126");
  EXPECT_EQ(completed({"ipam", "10.1.0.0", {}, {}, {}}), "ipam.subnet: \"10.1.0.0\" is not a prefix (address/bits)");
  EXPECT_EQ(completed({"ipam.ranges[0][1]", "10.1.0.0/24", ip("10.2.0.1"), {}, {}}),
            "ipam.ranges[0][1].rangeStart: 10.2.0.1 lies outside of the subnet 10.1.0.0/24");
  EXPECT_EQ(completed({"ipam", "10.1.0.0/24", {}, ip("fd00::1"), {}}),
            "ipam.rangeEnd: fd00::1 lies outside of the subnet 10.1.0.0/24");
  EXPECT_EQ(completed({"ipam", "10.1.0.0/24", ip("10.1.0.9"), ip("10.1.0.3"), {}}),
            "ipam.rangeStart: 10.1.0.9 comes after rangeEnd 10.1.0.3");
  EXPECT_EQ(completed({"ipam", "10.1.0.0/24", {}, {}, ip("fd00::1")}),
            "ipam.gateway: fd00::1 is no IPv4 address, as the subnet 10.1.0.0/24 needs");
}

TEST(Ranges, SetsHaveOneFamilyEachAndNothingOverlaps) {
  const RangeSpec a{"ipam.ranges[0][0]", "10.1.0.0/24", {}, {}, {}};
  const RangeSpec a_half{"ipam.ranges[1][0]", "10.1.0.0/25", {}, {}, {}};
  const RangeSpec b{"ipam.ranges[0][1]", "10.2.0.0/24", {}, {}, {}};
  const RangeSpec six{"ipam.ranges[0][1]", "fd00::/64", {}, {}, {}};
  EXPECT_EQ(error_of({{a, b}, {six}}), "accepted");
  EXPECT_EQ(
      error_of({{a, six}}),
      "ipam.ranges[0][1].subnet: fd00::/64 is of another family than 10.1.0.0/24; the ranges of one set share one "
      "family");
  EXPECT_EQ(error_of({{a}, {a_half}}),
            "ipam.ranges[1][0]: 10.1.0.1-10.1.0.126 overlaps 10.1.0.1-10.1.0.254 of ipam.ranges[0][0]");
  EXPECT_EQ(error_of({{a, a_half}}), error_of({{a}, {a_half}}));
  EXPECT_EQ(error_of({{a}, {}}), "range set 1 is empty; it needs one range at least");
  // Parts of one subnet that do not meet are two ranges.
  EXPECT_EQ(error_of({{RangeSpec{"x", "10.1.0.0/24", {}, ip("10.1.0.9"), {}}},
                      {RangeSpec{"y", "10.1.0.0/24", ip("10.1.0.10"), {}, {}}}}),
            "accepted");
}

TEST(Ranges, NoIPv4AddressIsOfAnIPv6Range) {
  const Range range = *complete({"r", "::/64", {}, {}, {}});
  EXPECT_FALSE(range.contains(ip("10.1.0.1")));
  EXPECT_TRUE(range.contains(ip("::2")));
}

TEST(Ranges, CountWhatCanBeHandedOut) {
  const auto usable_of = [](const RangeSpec& spec) { return usable({*complete(spec)}); };
  EXPECT_TRUE(usable_of({"r", "10.1.0.0/16", {}, {}, {}}) == 65533);
  EXPECT_TRUE(usable_of({"r", "10.1.0.0/24", {}, {}, ip("10.9.0.1")}) == 254);
  EXPECT_TRUE(usable_of({"r", "10.1.0.0/24", ip("10.1.0.1"), ip("10.1.0.1"), {}}) == 0);
  EXPECT_TRUE(usable_of({"r", "::/0", ip("::"), {}, {}}) == ~Number{0});
}

TEST(Ranges, AddressesAreNumbersAndBack) {
  for (const std::string text : {"0.0.0.0", "10.1.255.255", "255.255.255.255", "::", "fd00::1", "::1:2",
                                 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
    EXPECT_EQ(to_ip(to_number(ip(text))), ip(text));
  }
  EXPECT_EQ(to_ip(to_number(ip("10.1.0.255")) + 1), ip("10.1.1.0"));
}

}  // namespace
}  // namespace fairlead::ipam
