#include "proxy/dataplane/ebpf/plan.h"

#include <gtest/gtest.h>

#include "proxy/dataplane/ebpf/extents.h"
#include "proxy/dataplane/ebpf/test_services.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;

std::vector<std::string> keys(const std::vector<Claim>& claims) {
  std::vector<std::string> out;
  for (const Claim& claim : claims) out.push_back(to_string(claim.key));
  return out;
}

TEST(Plan, EachFrontendIsARowAndFrontendsOfOnePoolShareIt) {
  const std::vector<Claim> claims =
      plan(service("web").cluster_ip("10.96.0.1", 80).node_port(30080).masquerade().endpoint("10.1.0.1", 8080, true));
  EXPECT_EQ(keys(claims), (std::vector<std::string>{"node port 30080/TCP (IPv4)", "10.96.0.1:80/TCP"}));
  EXPECT_EQ(claims[0].flags, static_cast<std::uint32_t>(bpf::FRONTEND_MASQUERADE));
  EXPECT_EQ(claims[1].flags, 0U);
  EXPECT_EQ(claims[0].pool, claims[1].pool);
  EXPECT_EQ(*claims[0].pool, (Pool{{to_addr16(net::Ip::v4(10, 1, 0, 1)), to_be16(8080), bpf::SLOT_LOCAL}}));
}

TEST(Plan, NodePortsOfTwoFamiliesDoNotMeet) {
  EXPECT_EQ(keys(plan(service("six").v6().udp().node_port(30080))),
            std::vector<std::string>{"node port 30080/UDP (IPv6)"});
}

TEST(Plan, TheLocalPoolHasTheLocalEndpointsAlone) {
  const std::vector<Claim> claims = plan(service("web")
                                             .external_ip("198.51.100.1", 80)
                                             .local_pool()
                                             .drop_when_empty()
                                             .endpoint("10.1.0.1", 8080)
                                             .endpoint("10.1.0.2", 8080, true));
  ASSERT_EQ(claims.size(), 1U);
  EXPECT_EQ(claims[0].flags, static_cast<std::uint32_t>(bpf::FRONTEND_DROP_WHEN_EMPTY));
  EXPECT_EQ(claims[0].pool->size(), 1U);
}

TEST(Plan, OneAddressNamedTwiceIsOneRow) {
  EXPECT_EQ(plan(service("web").cluster_ip("10.96.0.1", 80).external_ip("10.96.0.1", 80)).size(), 1U);
}

TEST(Extents, TheSmallestRunThatFitsIsTaken) {
  Extents extents(20);
  ASSERT_TRUE(extents.take(4, 2));  // leaves 0-3
  ASSERT_TRUE(extents.take(9, 1));  // leaves 6-8 and 10-19
  EXPECT_EQ(extents.allocate(3), 6U);
  EXPECT_EQ(extents.allocate(3), 0U);
  EXPECT_EQ(extents.allocate(11), std::nullopt);
  EXPECT_EQ(extents.allocate(10), 10U);
}

TEST(Extents, WhatIsTakenCannotBeTakenAgain) {
  Extents extents(10);
  EXPECT_TRUE(extents.take(2, 3));
  EXPECT_FALSE(extents.take(4, 1));
  EXPECT_FALSE(extents.take(0, 3));
  EXPECT_FALSE(extents.take(9, 2));
  EXPECT_TRUE(extents.take(5, 5));
}

TEST(Extents, ReleasedRunsWaitAndThenCoalesce) {
  Extents extents(9);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(extents.allocate(3).has_value());
  for (const std::uint32_t base : {0U, 6U, 3U}) extents.release(base, 3);
  EXPECT_EQ(extents.waiting(), 9U);
  EXPECT_EQ(extents.allocate(1), std::nullopt);
  extents.settle();
  EXPECT_EQ(extents.allocate(9), 0U);
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
