#include "agent/service_facts.h"

#include <gtest/gtest.h>

namespace fairlead::agent {

std::ostream& operator<<(std::ostream& out, const ServiceFacts& facts) {
  return out << facts.health_check_node_port << " local " << facts.local_endpoints << " internal "
             << facts.without_local.internal[0] << '/' << facts.without_local.internal[1] << " external "
             << facts.without_local.external[0] << '/' << facts.without_local.external[1];
}

namespace {

using net::Family;
using proxy::model::Frontend;
using proxy::model::FrontendKind;
using proxy::model::Pool;
using proxy::model::PortState;
using proxy::model::WhenEmpty;

const Key kWeb{"default", "web"};
const Key kOther{"default", "other"};

PortState port(Family family, FrontendKind kind, WhenEmpty when_empty) {
  PortState out;
  out.family = family;
  out.frontends = {{.kind = kind, .address = {}, .port = 80, .pool = Pool::Local, .when_empty = when_empty}};
  return out;
}

ServiceState state(const Key& key, std::uint16_t health_port = 0, std::uint32_t local = 0) {
  ServiceState out;
  out.key = key;
  out.health_check_node_port = health_port;
  out.counts.local = local;
  return out;
}

TEST(ServiceFacts, APortWithoutLocalEndpointsCountsByPolicyAndFamily) {
  ServiceState service = state(kWeb);
  service.ports = {port(Family::V4, FrontendKind::ClusterIp, WhenEmpty::Drop),
                   port(Family::V4, FrontendKind::NodePort, WhenEmpty::Drop),
                   port(Family::V6, FrontendKind::LoadBalancerIp, WhenEmpty::Drop)};
  EXPECT_EQ(facts_of(service).without_local, (WithoutLocal{.internal = {1, 0}, .external = {1, 1}}));
}

TEST(ServiceFacts, APortWithoutAnyEndpointIsNoPortWithoutLocalOnes) {
  ServiceState service = state(kWeb);
  service.ports = {port(Family::V4, FrontendKind::NodePort, WhenEmpty::Reject)};
  EXPECT_EQ(facts_of(service), ServiceFacts());
}

TEST(ServiceFacts, APortWithALocalEndpointDoesNotCount) {
  ServiceState service = state(kWeb);
  service.ports = {port(Family::V4, FrontendKind::NodePort, WhenEmpty::Drop)};
  service.ports[0].local_endpoints = {{.address = net::Ip::v4(10, 0, 0, 1), .port = 80, .local = true}};
  EXPECT_EQ(facts_of(service), ServiceFacts());
}

TEST(ServiceFacts, AServiceWithoutAHealthCheckPortHasNothingToSay) {
  EXPECT_EQ(facts_of(state(kWeb, 0, 7)), ServiceFacts());
  EXPECT_EQ(facts_of(state(kWeb, 30100, 7)), (ServiceFacts{.health_check_node_port = 30100, .local_endpoints = 7}));
}

class FactBookTest : public testing::Test {
 protected:
  base::FakeClock clock;
  Ledger ledger{clock};
  FactBook book;
  std::uint64_t generation = 0;

  void send_all(std::vector<ServiceState> services, NodeState node = {}) {
    Work work;
    work.origin.generation = ++generation;
    work.all = Everything{.node = std::move(node), .services = std::move(services)};
    send(work);
  }
  void send_change(const Key& key, std::optional<ServiceState> service) {
    Work work;
    work.origin.generation = ++generation;
    work.changed.emplace(key, std::move(service));
    send(work);
  }
  void send(const Work& work) {
    ledger.sent(work);
    book.sent(work);
  }
  FactBook::Applied done(Outcome::Kind kind, std::uint64_t applied, std::vector<Key> tried = {},
                         std::vector<proxy::dataplane::Failure> failures = {}) {
    Outcome outcome;
    outcome.kind = kind;
    outcome.origin.generation = applied;
    outcome.tried = std::move(tried);
    outcome.failures = std::move(failures);
    ledger.done(outcome);
    return book.done(ledger);
  }
  std::uint16_t port_of(const Key& key) const { return book.applied(key).health_check_node_port; }
};

TEST_F(FactBookTest, NothingIsSaidBeforeTheKernelHasIt) {
  send_all({state(kWeb, 30100, 1)});
  EXPECT_EQ(port_of(kWeb), 0);
  EXPECT_EQ(done(Outcome::Kind::Replace, 1).services, std::vector<Key>{kWeb});
  EXPECT_EQ(port_of(kWeb), 30100);
}

TEST_F(FactBookTest, AFailedCallChangesNothingUntilOneSucceeds) {
  send_all({state(kWeb, 30100, 1)});
  EXPECT_FALSE(done(Outcome::Kind::Replace, 0, {}, {{{}, Error("no buffer space")}}).any());
  EXPECT_EQ(port_of(kWeb), 0);
  done(Outcome::Kind::Replace, 1);
  EXPECT_EQ(port_of(kWeb), 30100);
}

TEST_F(FactBookTest, AServiceThatFailsOnItsOwnKeepsItsOldFactsUntilItWorks) {
  send_all({state(kWeb, 30100, 1), state(kOther, 30200, 1)});
  done(Outcome::Kind::Replace, 1);
  send_change(kWeb, state(kWeb, 30101, 1));
  EXPECT_FALSE(done(Outcome::Kind::Apply, 2, {kWeb}, {{kWeb, Error("map is full")}}).any());
  EXPECT_EQ(port_of(kWeb), 30100);
  EXPECT_EQ(done(Outcome::Kind::Retry, 0, {kWeb}).services, std::vector<Key>{kWeb});
  EXPECT_EQ(port_of(kWeb), 30101);
}

TEST_F(FactBookTest, AChangeStillOnItsWayWaits) {
  send_all({state(kWeb, 30100, 1)});
  send_change(kWeb, state(kWeb, 30100, 5));
  done(Outcome::Kind::Replace, 1);
  EXPECT_EQ(port_of(kWeb), 0) << "the newest facts count, and they are not in the kernel";
  done(Outcome::Kind::Apply, 2, {kWeb});
  EXPECT_EQ(book.applied(kWeb).local_endpoints, 5U);
}

TEST_F(FactBookTest, AServiceThatIsGoneHasNoFacts) {
  send_all({state(kWeb, 30100, 1), state(kOther, 30200, 1)});
  done(Outcome::Kind::Replace, 1);
  send_change(kWeb, std::nullopt);
  EXPECT_EQ(done(Outcome::Kind::Apply, 2, {kWeb}).services, std::vector<Key>{kWeb});
  send_all({});
  EXPECT_EQ(done(Outcome::Kind::Replace, 3).services, std::vector<Key>{kOther});
  EXPECT_TRUE(book.applied().empty());
}

TEST_F(FactBookTest, ARepairOfTheSameStateIsNoChange) {
  send_all({state(kWeb, 30100, 1)});
  done(Outcome::Kind::Replace, 1);
  send_all({state(kWeb, 30100, 1)});
  EXPECT_FALSE(done(Outcome::Kind::Replace, 2).any());
}

TEST_F(FactBookTest, TheSumOfPortsWithoutLocalEndpointsFollows) {
  ServiceState without = state(kWeb);
  without.ports = {port(Family::V4, FrontendKind::NodePort, WhenEmpty::Drop)};
  ServiceState other = without;
  other.key = kOther;
  send_all({without, other});
  done(Outcome::Kind::Replace, 1);
  EXPECT_EQ(book.without_local(), (WithoutLocal{.internal = {0, 0}, .external = {2, 0}}));
  send_change(kWeb, state(kWeb));
  done(Outcome::Kind::Apply, 2, {kWeb});
  EXPECT_EQ(book.without_local(), (WithoutLocal{.internal = {0, 0}, .external = {1, 0}}));
}

TEST_F(FactBookTest, NodePortAddressesChangeWithTheCompleteState) {
  send_all({});
  EXPECT_TRUE(done(Outcome::Kind::Replace, 1).addresses);
  NodeState node;
  node.node_port_addresses = {*net::Prefix::parse("192.0.2.0/24"), *net::Prefix::parse("::/0")};
  send_all({}, node);
  EXPECT_TRUE(done(Outcome::Kind::Replace, 2).addresses);
  EXPECT_EQ(book.node_port_addresses(), node.node_port_addresses);
  send_all({}, node);
  EXPECT_FALSE(done(Outcome::Kind::Replace, 3).addresses);
}

}  // namespace
}  // namespace fairlead::agent
