#include "proxy/conntrack/view.h"

#include <gtest/gtest.h>

#include "proxy/conntrack/test_flows.h"

namespace fairlead::proxy::conntrack {
namespace {

using namespace test;
using model::ServiceState;
using Frontends = std::map<Place, Wanted>;

const Place kPlace{net::Family::V4, Protocol::Udp, ip("10.96.0.1"), 53};
const model::Key kDns{"default", "dns"};
const Wanted kGone{.gone = true, .serving = {}};

Wanted to(const std::vector<std::string>& addresses) {
  Wanted out;
  for (const std::string& address : addresses) out.serving.push_back({ip(address), 53});
  return out;
}

ServiceState dns(const std::vector<std::string>& serving, const std::string& name = "dns") {
  std::vector<model::Endpoint> endpoints;
  for (const std::string& address : serving) endpoints.push_back(endpoint(address, 53));
  return service(name, {port(Protocol::Udp, {frontend("10.96.0.1", 53)}, endpoints),
                        port(Protocol::Tcp, {frontend("10.96.0.1", 53)}, endpoints)});
}

class ViewTest : public testing::Test {
 protected:
  Frontends replace(const std::vector<ServiceState>& services, const std::set<model::Key>& failed = {}) {
    return view.replace({}, services, failed).frontends;
  }
  Frontends put(const ServiceState& state, const std::set<model::Key>& failed = {}) {
    return view.apply({.upserted = {state}, .deleted = {}}, failed).frontends;
  }
  Frontends remove(const model::Key& key, const std::set<model::Key>& failed = {}) {
    return view.apply({.upserted = {}, .deleted = {key}}, failed).frontends;
  }
  View view{false};
};

TEST_F(ViewTest, TheCompleteStateIsReviewedWhole) {
  EXPECT_EQ(replace({dns({"10.244.0.1"})}), (Frontends{{kPlace, to({"10.244.0.1"})}}));
  EXPECT_EQ(replace({dns({"10.244.0.1"})}), (Frontends{{kPlace, to({"10.244.0.1"})}})) << "each time";
}

TEST_F(ViewTest, AChangeIsReviewedWhereItChangesSomething) {
  replace({dns({"10.244.0.1"}), service("other", {port(Protocol::Udp, {frontend("10.96.0.2", 53)}, {})})});
  EXPECT_EQ(put(dns({"10.244.0.2"})), (Frontends{{kPlace, to({"10.244.0.2"})}}));
  EXPECT_EQ(put(dns({"10.244.0.2"})), Frontends());
  EXPECT_EQ(put(dns({})), (Frontends{{kPlace, to({})}}));
  EXPECT_EQ(put(dns({"10.244.0.1"})), (Frontends{{kPlace, to({"10.244.0.1"})}}));
}

TEST_F(ViewTest, ChangesOfOtherProtocolsAreNot) {
  const auto web = [](const std::string& address) {
    return service("web", {port(Protocol::Tcp, {frontend("10.96.0.9", 80)}, {endpoint(address, 80)})});
  };
  EXPECT_EQ(replace({web("10.244.0.1")}), Frontends());
  EXPECT_EQ(put(web("10.244.0.2")), Frontends());
  EXPECT_EQ(remove({"default", "web"}), Frontends());
}

TEST_F(ViewTest, OfTcpTooWhenHalfOpenConnectionsCount) {
  View all(true);
  EXPECT_EQ(all.replace({}, {dns({})}, {}).frontends.size(), 2U);
}

TEST_F(ViewTest, AFrontendThatAppearsIsReviewed) {
  replace({});
  EXPECT_EQ(put(dns({"10.244.0.1"})), (Frontends{{kPlace, to({"10.244.0.1"})}}));
}

TEST_F(ViewTest, WhatIsGoneIsReviewedOnce) {
  replace({dns({"10.244.0.1"})});
  EXPECT_EQ(remove(kDns), (Frontends{{kPlace, kGone}}));
  EXPECT_EQ(remove(kDns), Frontends());
  put(dns({}));
  EXPECT_EQ(replace({}), (Frontends{{kPlace, kGone}})) << "also when it is missing in the complete state";
  EXPECT_EQ(replace({}), Frontends());
}

TEST_F(ViewTest, AFrontendThatAServiceGivesUpIsGone) {
  auto exposed = dns({"10.244.0.1"});
  exposed.ports[0].frontends.push_back(node_port(30053));
  replace({exposed});
  EXPECT_EQ(put(dns({"10.244.0.1"})), (Frontends{{{net::Family::V4, Protocol::Udp, net::Ip(), 30053}, kGone}}));
}

TEST_F(ViewTest, TheFirstOfTwoClaimantsCountsAndTheOtherFollows) {
  replace({dns({"10.244.0.1"}, "a"), dns({"10.244.0.2"}, "b")});
  EXPECT_EQ(put(dns({"10.244.0.3"}, "b")), Frontends()) << "it has nothing to say";
  EXPECT_EQ(remove({"default", "a"}), (Frontends{{kPlace, to({"10.244.0.3"})}}));
  EXPECT_EQ(put(dns({"10.244.0.4"}, "a")), (Frontends{{kPlace, to({"10.244.0.4"})}}));
}

TEST_F(ViewTest, WhatFailedIsReviewedAgainWithTheNextAttempt) {
  replace({dns({"10.244.0.1"})}, {kDns});
  EXPECT_EQ(put(dns({"10.244.0.1"}), {kDns}), (Frontends{{kPlace, to({"10.244.0.1"})}}));
  EXPECT_EQ(put(dns({"10.244.0.1"})), (Frontends{{kPlace, to({"10.244.0.1"})}}));
  EXPECT_EQ(put(dns({"10.244.0.1"})), Frontends());
  // A delete that failed as well; nobody claims the frontend any more.
  EXPECT_EQ(remove(kDns, {kDns}), (Frontends{{kPlace, kGone}}));
}

TEST_F(ViewTest, EverythingIsWhatAllServicesHave) {
  EXPECT_EQ(view.everything().frontends, Frontends());
  replace({dns({"10.244.0.1"})});
  put(dns({"10.244.0.2"}));
  EXPECT_EQ(view.everything().frontends, (Frontends{{kPlace, to({"10.244.0.2"})}}));
}

TEST_F(ViewTest, TheNodesAddressesAreThoseOfTheLastCompleteState) {
  model::NodeState node;
  node.node_port_addresses = {*net::Prefix::parse("172.18.0.0/16")};
  node.localhost_node_ports = true;
  const NodePortAddresses expected{node.node_port_addresses, true};
  EXPECT_EQ(view.replace(node, {}, {}).node_ports, expected);
  EXPECT_EQ(view.apply({.upserted = {dns({})}, .deleted = {}}, {}).node_ports, expected);
}

TEST(MergeOfReviews, TheLaterWordOnAFrontendWins) {
  const Place other{net::Family::V4, Protocol::Udp, ip("10.96.0.2"), 53};
  Review earlier{.frontends = {{kPlace, kGone}, {other, to({})}}, .node_ports = {}};
  merge(earlier, Review{.frontends = {{kPlace, to({"10.244.0.1"})}}, .node_ports = {{}, true}});
  EXPECT_EQ(earlier, (Review{.frontends = {{kPlace, to({"10.244.0.1"})}, {other, to({})}}, .node_ports = {{}, true}}));
}

}  // namespace
}  // namespace fairlead::proxy::conntrack
