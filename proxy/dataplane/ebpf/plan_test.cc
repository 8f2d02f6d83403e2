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
  EXPECT_EQ(keys(claims),
            (std::vector<std::string>{"node port 30080/TCP (IPv4)", "10.96.0.1, any other port", "10.96.0.1:80/TCP"}));
  EXPECT_EQ(claims[0].flags, static_cast<std::uint32_t>(bpf::FRONTEND_MASQUERADE));
  EXPECT_EQ(claims[1].flags, static_cast<std::uint32_t>(bpf::FRONTEND_ADDRESS));
  EXPECT_EQ(claims[2].flags, 0U);
  EXPECT_EQ(claims[0].pool, claims[2].pool);
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
  EXPECT_EQ(plan(service("web").cluster_ip("10.96.0.1", 80).external_ip("10.96.0.1", 80)).size(), 2U)
      << "and one for the other ports";
}

TEST(Plan, AUdpPoolEndsInWhatServesAndTakesNothingNew) {
  const auto dns = [] {
    return service("dns")
        .cluster_ip("10.96.0.10", 53)
        .endpoint("10.1.0.2", 53)
        .draining("10.1.0.1", 53)
        .draining("10.1.0.2", 53);
  };
  const std::vector<Claim> udp = plan(dns().udp());
  EXPECT_EQ(*udp[1].pool, (Pool{{to_addr16(net::Ip::v4(10, 1, 0, 2)), to_be16(53), 0},
                                {to_addr16(net::Ip::v4(10, 1, 0, 1)), to_be16(53), bpf::SLOT_KEPT}}));
  EXPECT_EQ(count_new(*udp[1].pool), 1U);
  EXPECT_EQ(plan(dns())[1].pool->size(), 1U) << "a connection of TCP needs no row to stay";
}

TEST(Plan, AllFrontendsOfAPortShareOneNameInTheAffinityMap) {
  const std::vector<Claim> claims = plan(service("web").cluster_ip("10.96.0.1", 80).node_port(30080).affinity(60));
  EXPECT_EQ(to_string(claims[0].affinity), "10.96.0.1:80/TCP");
  EXPECT_EQ(to_string(claims[2].affinity), "10.96.0.1:80/TCP");
  EXPECT_EQ(claims[0].affinity_seconds, 60U);
}

TEST(PlanText, ShowsTheRowsOfEveryMap) {
  model::NodeState node;
  node.pods.sources = {*net::Prefix::parse("10.1.0.0/16")};
  node.localhost_node_ports = true;
  node.service_cidrs = {*net::Prefix::parse("10.96.0.0/16"), *net::Prefix::parse("fd00:96::/112")};
  const model::ServiceState web = service("web")
                                      .cluster_ip("10.96.0.1", 80)
                                      .masquerade_off_cluster()
                                      .node_port(30080)
                                      .short_circuit()
                                      .external_ip("198.51.100.1", 80)
                                      .masquerade()
                                      .only_for({"192.0.2.0/24"})
                                      .affinity(10800)
                                      .endpoint("10.1.0.1", 8080, true)
                                      .endpoint("10.1.0.2", 8080);
  const model::ServiceState dns = service("dns").udp().cluster_ip("fd00:96::a", 53).draining("fd00:1::1", 53);
  const std::string text = plan_text(node, {web, dns});
  EXPECT_EQ(text,
            "networks 10.1.0.0/16: pods\n"
            "networks 10.96.0.0/16: services\n"
            "networks fd00:96::/112: services\n"
            "node_addresses in 0.0.0.0/0: node ports\n"
            "node_addresses in ::/0: node ports\n"
            "node_config: tells pods of IPv4, loopback node ports\n"
            "frontends node port 30080/TCP (IPv4): extent 1, drop when empty, short circuit to extent 2, affinity "
            "10800 s as 10.96.0.1:80/TCP\n"
            "frontends 10.96.0.1, any other port: none, refuses\n"
            "frontends 10.96.0.1:80/TCP: extent 2, masquerade off-cluster, affinity 10800 s as 10.96.0.1:80/TCP\n"
            "frontends 198.51.100.1:80/TCP: extent 2, masquerade, restricted, affinity 10800 s as 10.96.0.1:80/TCP\n"
            "frontends fd00:96::a, any other port: none, refuses\n"
            "frontends [fd00:96::a]:53/UDP: extent 3\n"
            "slots extent 1: 10.1.0.1:8080 (local)\n"
            "slots extent 2: 10.1.0.1:8080 (local) 10.1.0.2:8080\n"
            "slots extent 3: [fd00:1::1]:53 (kept)\n"
            "sources 198.51.100.1:80/TCP: 192.0.2.0/24\n");
  EXPECT_EQ(plan_text(node, {dns, web}), text) << "whatever the order";
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
