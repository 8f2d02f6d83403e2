#include "proxy/conntrack/review.h"

#include <gtest/gtest.h>

#include "proxy/conntrack/test_flows.h"
#include "proxy/conntrack/view.h"

namespace fairlead::proxy::conntrack {
namespace {

using namespace test;

const std::vector<net::Ip> kLocal = {ip("172.18.0.1"), ip("127.0.0.1"), ip("192.168.7.1"), ip("fd00:172::1")};
constexpr Protocol kProtocols[] = {Protocol::Udp, Protocol::Tcp, Protocol::Sctp};

// Everything the services need looked at, as after a start.
Review review_of(const std::vector<model::ServiceState>& services, const model::NodeState& node = {},
                 bool half_open = true) {
  return View(half_open).replace(node, services, {});
}
bool stale(const Review& review, const Entry& entry) { return Judge(review, kLocal).stale(entry); }

// One service on all three protocols, at 10.96.0.1:53 and node port 30053. 10.244.0.1 is ready, 10.244.0.2 terminates
// and still serves, 10.244.0.3 does not serve.
Review dns() {
  std::vector<model::PortState> ports;
  for (const Protocol protocol : kProtocols) {
    ports.push_back(port(protocol, {frontend("10.96.0.1", 53), node_port(30053)},
                         {endpoint("10.244.0.1", 5353), endpoint("10.244.0.2", 5353)}));
  }
  return review_of({service("dns", ports)});
}

TEST(Stale, OnlyUdpFlowsToEndpointsThatDoNotServeAre) {
  const Review review = dns();
  for (const Protocol protocol : kProtocols) {
    for (const std::string to : {"10.244.0.1", "10.244.0.2", "10.244.0.3"}) {
      const bool expected = protocol == Protocol::Udp && to == "10.244.0.3";
      EXPECT_EQ(stale(review, flow(protocol, "10.96.0.1", 53, to, 5353)), expected) << to_string(protocol) << to;
      EXPECT_EQ(stale(review, flow(protocol, "172.18.0.1", 30053, to, 5353)), expected) << to_string(protocol) << to;
      EXPECT_FALSE(stale(review, flow(protocol, "10.96.0.1", 54, to, 5353))) << "a port that is no frontend";
    }
  }
}

TEST(Stale, AFlowToTheOldTargetPortOfAnEndpointIs) {
  EXPECT_TRUE(stale(dns(), flow(Protocol::Udp, "10.96.0.1", 53, "10.244.0.1", 5300)));
  EXPECT_TRUE(stale(dns(), flow(Protocol::Udp, "172.18.0.1", 30053, "10.244.0.1", 5300)));
}

TEST(Stale, AFlowThatWasNeverTranslatedIs) {
  EXPECT_TRUE(stale(dns(), unanswered(flow(Protocol::Udp, "10.96.0.1", 53, "10.96.0.1", 53))));
  EXPECT_TRUE(stale(dns(), unanswered(flow(Protocol::Udp, "172.18.0.1", 30053, "172.18.0.1", 30053))));
}

TEST(Stale, EveryFlowToAServiceWithoutServingEndpointsIs) {
  const Review review =
      review_of({service("dns", {port(Protocol::Udp, {frontend("10.96.0.1", 53), node_port(30053)}, {})})});
  EXPECT_TRUE(stale(review, flow(Protocol::Udp, "10.96.0.1", 53, "10.244.0.1", 5353)));
  EXPECT_TRUE(stale(review, flow(Protocol::Udp, "172.18.0.1", 30053, "10.244.0.1", 5353)));
}

TEST(Stale, WhenAFrontendIsGoneOnlyWhatWasTranslatedIs) {
  View view(false);
  const auto dns_port =
      port(Protocol::Udp, {frontend("203.0.113.5", 53), node_port(30053)}, {endpoint("10.244.0.1", 53)});
  (void)view.replace({}, {service("dns", {dns_port})}, {});
  const Review review = view.apply({.upserted = {}, .deleted = {{"default", "dns"}}}, {});
  EXPECT_TRUE(stale(review, flow(Protocol::Udp, "203.0.113.5", 53, "10.244.0.1", 53)));
  EXPECT_TRUE(stale(review, flow(Protocol::Udp, "172.18.0.1", 30053, "10.244.0.1", 53)));
  EXPECT_FALSE(stale(review, flow(Protocol::Udp, "203.0.113.5", 53, "203.0.113.5", 53))) << "leaves the node by now";
  EXPECT_FALSE(stale(review, flow(Protocol::Udp, "172.18.0.1", 30053, "172.18.0.1", 30053))) << "a process of the node";
}

TEST(Stale, NodePortsAreThoseOfThisNode) {
  for (const std::string elsewhere : {"172.18.0.2", "8.8.8.8"}) {
    EXPECT_FALSE(stale(dns(), flow(Protocol::Udp, elsewhere, 30053, elsewhere, 30053)));
    EXPECT_FALSE(stale(dns(), flow(Protocol::Udp, elsewhere, 30053, "10.9.9.9", 53))) << "somebody else translated it";
  }
}

TEST(Stale, NodePortsAreThoseOfTheAddressesThatAnswerThem) {
  model::NodeState node;
  node.node_port_addresses = {*net::Prefix::parse("172.18.0.0/16"), *net::Prefix::parse("::/0")};
  const Review review = review_of({service("dns", {port(Protocol::Udp, {node_port(30053)}, {})})}, node);
  EXPECT_TRUE(stale(review, flow(Protocol::Udp, "172.18.0.1", 30053, "10.244.0.1", 53)));
  EXPECT_FALSE(stale(review, flow(Protocol::Udp, "192.168.7.1", 30053, "10.244.0.1", 53)));
}

TEST(Stale, OnLoopbackANodePortIsOneOnlyWhereItIsTranslated) {
  model::NodeState node;
  const std::vector<model::ServiceState> services{service("dns", {port(Protocol::Udp, {node_port(30053)}, {})})};
  const Entry to_process = flow(Protocol::Udp, "127.0.0.1", 30053, "127.0.0.1", 30053);
  const Entry to_endpoint = flow(Protocol::Udp, "127.0.0.1", 30053, "10.244.0.1", 53);
  EXPECT_FALSE(stale(review_of(services, node), to_endpoint)) << "not ours: nothing of ours answers there";
  node.localhost_node_ports = true;
  EXPECT_TRUE(stale(review_of(services, node), to_endpoint));
  EXPECT_FALSE(stale(review_of(services, node), to_process));
}

TEST(Stale, HalfOpenConnectionsToEndpointsThatDoNotServeAreWhereTheyAreReviewed) {
  const std::vector<model::ServiceState> services{
      service("web", {port(Protocol::Tcp, {frontend("10.96.0.1", 80)}, {endpoint("10.244.0.1", 80)}),
                      port(Protocol::Sctp, {frontend("10.96.0.1", 80)}, {endpoint("10.244.0.1", 80)})})};
  for (const Protocol protocol : {Protocol::Tcp, Protocol::Sctp}) {
    const Entry dead = unanswered(flow(protocol, "10.96.0.1", 80, "10.244.0.3", 80));
    EXPECT_TRUE(stale(review_of(services), dead));
    EXPECT_FALSE(stale(review_of(services, {}, false), dead)) << "off by default";
    EXPECT_FALSE(stale(review_of(services), unanswered(flow(protocol, "10.96.0.1", 80, "10.244.0.1", 80))));
    EXPECT_FALSE(stale(review_of(services), flow(protocol, "10.96.0.1", 80, "10.244.0.3", 80))) << "established";
    Entry answered = dead;
    answered.status |= net::conntrack::kSeenReply;
    EXPECT_FALSE(stale(review_of(services), answered)) << "on its way to be established";
  }
}

TEST(Stale, FamiliesDoNotMix) {
  auto v6 = port(Protocol::Udp, {frontend("fd00:96::1", 53), node_port(30053)}, {endpoint("fd00:244::1", 53)});
  v6.family = net::Family::V6;
  const Review review = review_of({service("dns", {v6})});
  EXPECT_TRUE(stale(review, flow(Protocol::Udp, "fd00:96::1", 53, "fd00:244::2", 53)));
  EXPECT_TRUE(stale(review, flow(Protocol::Udp, "fd00:172::1", 30053, "fd00:244::2", 53)));
  EXPECT_FALSE(stale(review, flow(Protocol::Udp, "fd00:172::1", 30053, "fd00:244::1", 53)));
  EXPECT_FALSE(stale(review, flow(Protocol::Udp, "172.18.0.1", 30053, "10.244.0.2", 53))) << "no node port of IPv4";
}

TEST(Stale, OtherProtocolsAreNeverLookedAt) {
  Entry ping = flow(Protocol::Udp, "10.96.0.1", 53, "10.244.0.3", 5353);
  ping.protocol = 1;
  EXPECT_FALSE(stale(dns(), ping));
}

}  // namespace
}  // namespace fairlead::proxy::conntrack
