// The dataplane over iptables in memory: adoption, faults, conflicts, somebody else's edits, flavours.
#include "proxy/dataplane/iptables/iptables.h"

#include <gtest/gtest.h>

#include "proxy/dataplane/iptables/fake_system.h"
#include "proxy/dataplane/iptables/names.h"
#include "proxy/dataplane/iptables/test_states.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

using namespace test;

constexpr net::Family kFamilies[] = {net::Family::V4, net::Family::V6};

struct Node {
  std::shared_ptr<FakeNetns> ns = std::make_shared<FakeNetns>();
  base::FakeClock* clock = nullptr;

  // A start of the agent.
  std::unique_ptr<Dataplane> start(const std::string& flavour = "auto") {
    auto owned = std::make_unique<base::FakeClock>();
    clock = owned.get();
    Options options;
    options.iptables_flavour = flavour;
    auto made = make(std::make_unique<FakeSystem>(ns), std::move(owned), options);
    EXPECT_TRUE(made) << made.error().message();
    return std::move(made).value();
  }
  std::string text(Flavour flavour = Flavour::Nft) const {
    return ns->text(flavour, net::Family::V4) + ns->text(flavour, net::Family::V6);
  }
  void flush() const {
    for (const net::Family family : kFamilies) ns->tables.erase({Flavour::Nft, family});
    ++ns->generation;
  }
  std::vector<std::string>& rules(const std::string& table, const std::string& chain) const {
    return ns->at(Flavour::Nft, net::Family::V4, table).chains[chain];
  }
};

model::NodeState some_node() {
  model::NodeState node;
  node.pods.sources = {prefix("10.244.0.0/16"), prefix("fd00:10:244::/64")};
  node.localhost_node_ports = true;
  node.service_cidrs = {prefix("10.96.0.0/12")};
  return node;
}

std::vector<model::ServiceState> some_services() {
  auto sticky = service("sticky", {cluster_ip("10.96.0.13", 80)}, endpoints(2));
  sticky.ports[0].affinity_seconds = 100;
  auto closed = service("closed", {restricted(load_balancer("192.0.2.1", 443))}, endpoints(1));
  closed.ports[0].allowed_sources = {prefix("203.0.113.0/24")};
  return {std::move(closed),
          service("dns", {cluster_ip("10.96.0.10", 53), node_port(30053)}, endpoints(3), model::Protocol::Udp),
          service("lb", {load_balancer("192.0.2.2", 80), local(node_port(30081))}, {endpoint("10.244.1.1", 80, true)}),
          service("none", {cluster_ip("10.96.0.11", 80), node_port(30080)}, {}),
          service("six", {cluster_ip("fd00::10", 80)}, {endpoint("fd01::1", 80, true), endpoint("fd01::2", 80)}),
          std::move(sticky)};
}

// What a fresh node holds after these services.
std::string fresh_text(const std::vector<model::ServiceState>& services) {
  Node node;
  const Report report = node.start()->replace(some_node(), services);
  EXPECT_TRUE(report.ok()) << report.failures[0].error.message();
  return node.text();
}

TEST(Iptables, TheSameStateTwiceWritesNothing) {
  Node node;
  auto dataplane = node.start();
  const Report first = dataplane->replace(some_node(), some_services());
  ASSERT_TRUE(first.ok()) << first.failures[0].error.message();
  EXPECT_GT(first.kernel_writes, 0U);
  EXPECT_EQ(dataplane->replace(some_node(), some_services()).kernel_writes, 0U);
  EXPECT_EQ(dataplane->apply({.upserted = some_services(), .deleted = {}}).kernel_writes, 0U);
  EXPECT_EQ(node.ns->restores, 2);  // one per family
}

TEST(Iptables, ARestartAdoptsAndWritesNothing) {
  Node node;
  ASSERT_TRUE(node.start()->replace(some_node(), some_services()).ok());
  EXPECT_EQ(node.start()->replace(some_node(), some_services()).kernel_writes, 0U);
  EXPECT_EQ(node.ns->restores, 2);
}

TEST(Iptables, ChangesLeadToWhatAFreshStartWouldWrite) {
  Node node;
  auto dataplane = node.start();
  auto services = some_services();
  ASSERT_TRUE(dataplane->replace(some_node(), {services[0], services[3]}).ok());
  ASSERT_TRUE(dataplane->apply({.upserted = services, .deleted = {}}).ok());
  EXPECT_EQ(node.text(), fresh_text(services));
  services[1].ports[0].cluster_endpoints.clear();
  services[3].ports[0].cluster_endpoints = endpoints(4);
  ASSERT_TRUE(dataplane->apply({.upserted = {services[1], services[3]}, .deleted = {services[5].key}}).ok());
  services.pop_back();
  EXPECT_EQ(node.text(), fresh_text(services));
}

TEST(Iptables, AnEndpointChangeWritesThatServicesChainAlone) {
  Node node;
  auto dataplane = node.start();
  std::vector<model::ServiceState> services;
  for (int i = 0; i < 200; ++i) {
    services.push_back(service(base::cat("s", i), {cluster_ip(base::cat("10.96.1.", i), 80)}, endpoints(2)));
  }
  ASSERT_TRUE(dataplane->replace(some_node(), services).ok());
  services[7].ports[0].cluster_endpoints = endpoints(3);
  const Report report = dataplane->apply({.upserted = {services[7]}, .deleted = {}});
  EXPECT_EQ(report.kernel_writes, 4U);  // the chain and its three rules
  EXPECT_EQ(report.rules[1].table, RuleCount::Table::Nat);
  EXPECT_EQ(report.rules[1].written, 3U);
  EXPECT_EQ(report.rules[0].written, 0U);
  // One service more: its chain, and the leaf of the tree it is in, but no other.
  const Report added =
      dataplane->apply({.upserted = {service("new", {cluster_ip("10.96.1.250", 80)}, endpoints(1))}, .deleted = {}});
  EXPECT_LT(added.kernel_writes, 60U);
}

TEST(Iptables, AFlushRightAfterOurOwnWriteIsNoticedWhateverWeWriteNext) {
  for (const bool counts_commits : {true, false}) {
    Node node;
    node.ns->counts_commits = counts_commits;
    auto dataplane = node.start();
    auto services = some_services();
    ASSERT_TRUE(dataplane->replace(some_node(), services).ok());
    (void)dataplane->handle_notification();
    services[3].ports[0].cluster_endpoints = endpoints(4);
    node.ns->after_restore = [&] { node.flush(); };
    ASSERT_TRUE(dataplane->apply({.upserted = {services[3]}, .deleted = {}}).ok());
    services[3].ports[0].cluster_endpoints = endpoints(5);
    ASSERT_TRUE(dataplane->apply({.upserted = {services[3]}, .deleted = {}}).ok());
    EXPECT_NE(node.text(), fresh_text(services));
    ASSERT_TRUE(dataplane->handle_notification().ok());
    EXPECT_EQ(node.text(), fresh_text(services)) << counts_commits;
  }
}

TEST(Iptables, AFlushRightAfterOurOwnWriteIsNoticedAtTheNextTick) {
  for (const bool counts_commits : {true, false}) {
    Node node;
    node.ns->counts_commits = counts_commits;
    auto dataplane = node.start();
    ASSERT_TRUE(dataplane->replace(some_node(), some_services()).ok());
    (void)dataplane->handle_notification();
    const std::string before = node.text();
    node.flush();
    node.ns->after_restore = [&] { node.flush(); };
    ASSERT_TRUE(dataplane->handle_notification().ok());  // repairs, and is undone at once
    EXPECT_NE(node.text(), before);
    ASSERT_TRUE(dataplane->handle_notification().ok());
    EXPECT_EQ(node.text(), before) << counts_commits;
    EXPECT_EQ(dataplane->handle_notification().kernel_writes, 0U);
  }
}

TEST(Iptables, AFlushBySomebodyElseIsNoticedAndRepaired) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace(some_node(), some_services()).ok());
  const std::string before = node.text();
  EXPECT_EQ(dataplane->handle_notification().kernel_writes, 0U);
  EXPECT_EQ(node.ns->saves, 2 + 4);  // the first one's, and those of the choice of a flavour
  node.flush();
  const Report report = dataplane->handle_notification();
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(node.text(), before);
}

TEST(Iptables, WhatSomebodyElseBreaksIsPutRightAndTheirsStays) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace(some_node(), some_services()).ok());
  const std::string before = node.text();
  node.rules("nat", "KUBE-MARK-MASQ").clear();
  node.rules("filter", "FORWARD").clear();
  node.rules("nat", "KUBE-SVC-OLDOLDOLDOLDOLDO").push_back("-j RETURN");
  node.rules("nat", "PREROUTING").push_back(node.rules("nat", "PREROUTING")[0]);
  ++node.ns->generation;
  ASSERT_TRUE(dataplane->handle_notification().ok());
  EXPECT_EQ(node.text(), before);
  node.rules("nat", "OTHER").push_back("-s 1.2.3.4/32 -j ACCEPT");
  node.rules("nat", "PREROUTING").insert(node.rules("nat", "PREROUTING").begin(), "-j OTHER");
  ++node.ns->generation;
  EXPECT_EQ(dataplane->handle_notification().kernel_writes, 0U);
}

TEST(Iptables, ConstantChangesOfOthersDoNotKeepUsReading) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace(some_node(), some_services()).ok());
  node.ns->on_save = [&] { node.clock->advance(std::chrono::milliseconds(100)); };
  const int saves = node.ns->saves;
  const auto tick = [&] {
    ++node.ns->generation;
    dataplane->handle_notification();
    return node.ns->saves - saves;
  };
  EXPECT_EQ(tick(), 2);  // took 200 ms: a second of rest
  EXPECT_EQ(tick(), 2);
  node.clock->advance(std::chrono::milliseconds(900));
  EXPECT_EQ(tick(), 2);
  node.clock->advance(std::chrono::milliseconds(200));
  EXPECT_EQ(tick(), 4);
}

TEST(Iptables, ARestoreMayFailAfterAnyCommitWithoutHarm) {
  for (int n = 0; n < 10; ++n) {
    Node node;
    auto dataplane = node.start();
    node.ns->fail_commit = n;
    for (int attempt = 0; attempt < 2; ++attempt) dataplane->replace(some_node(), some_services());
    const auto changed = service("web", {cluster_ip("10.96.0.77", 80), node_port(30099)}, endpoints(2));
    dataplane->apply({.upserted = {changed}, .deleted = {{"default", "dns"}}});
    auto want = some_services();
    want.erase(want.begin() + 1);
    want.push_back(changed);
    EXPECT_EQ(node.text(), fresh_text(want)) << n;
  }
}

TEST(Iptables, OfALargeStateEveryPartHoldsTogether) {
  std::vector<model::ServiceState> services;
  for (int i = 0; i < 1200; ++i) {
    services.push_back(
        service(base::cat("s", i), {cluster_ip(base::cat("10.96.", i / 200, ".", i % 200), 80)}, endpoints(1)));
  }
  const std::string want = fresh_text(services);
  EXPECT_NE(want.find("KUBE-D"), std::string::npos);
  for (int n = 0; n < 5; ++n) {
    Node node;
    auto dataplane = node.start();
    node.ns->fail_commit = n;
    EXPECT_TRUE(dataplane->replace(some_node(), services).ok()) << n;  // what is missing is written at once
    EXPECT_EQ(node.text(), want) << n;
  }
}

TEST(Iptables, ASaveThatFailsIsReportedAndNothingIsWritten) {
  Node node;
  auto dataplane = node.start();
  node.ns->fail_saves = 1;
  const Report report = dataplane->replace(some_node(), some_services());
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(node.ns->restores, 0);
  EXPECT_TRUE(dataplane->replace(some_node(), some_services()).ok());
  EXPECT_EQ(node.text(), fresh_text(some_services()));
}

TEST(Iptables, AServiceThatIsRefusedIsSetApartAndTheRestIsWritten) {
  Node node;
  auto dataplane = node.start();
  node.ns->refused = ":53 ";  // nobody's
  auto services = some_services();
  services[1].ports[0].cluster_endpoints = {endpoint("10.9.9.9", 5353)};
  node.ns->refused = "10.9.9.9:5353";
  const Report report = dataplane->replace(some_node(), services);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].service.to_string(), "default/dns");
  auto rest = services;
  rest.erase(rest.begin() + 1);
  EXPECT_EQ(node.text(), fresh_text(rest));
  node.ns->refused.clear();
  EXPECT_TRUE(dataplane->apply({.upserted = {services[1]}, .deleted = {}}).ok());
  EXPECT_EQ(node.text(), fresh_text(services));
}

TEST(Iptables, OfTwoServicesWithOneFrontendTheFirstHasItAndTheOtherTakesOver) {
  Node node;
  auto dataplane = node.start();
  const auto a = service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(1));
  const auto b = service("b", {cluster_ip("10.96.0.1", 80)}, endpoints(2));
  const Report both = dataplane->replace(some_node(), {b, a});
  ASSERT_EQ(both.failures.size(), 1U);
  EXPECT_EQ(both.failures[0].service.name, "b");
  EXPECT_EQ(both.failures[0].error.message(), "10.96.0.1:80/TCP of default/b belongs to default/a already");
  const auto leads_to = [&](const model::ServiceState& state) {
    const auto& rules = node.rules("nat", "KUBE-SERVICES");
    return rules[0].find(port_hash(state.key, "", model::Protocol::Tcp)) != std::string::npos;
  };
  EXPECT_TRUE(leads_to(a));
  EXPECT_TRUE(dataplane->apply({.upserted = {}, .deleted = {a.key}}).ok());
  EXPECT_TRUE(leads_to(b));
  EXPECT_EQ(dataplane->apply({.upserted = {a}, .deleted = {}}).failures.size(), 1U);
  EXPECT_TRUE(leads_to(a));
}

TEST(Iptables, RemoveLeavesOnlyWhatIsKubeletsAndOthers) {
  Node node;
  node.rules("mangle", "KUBE-IPTABLES-HINT");
  node.rules("nat", "OTHER").push_back("-j ACCEPT");
  node.rules("filter", "KUBE-FIREWALL").push_back(to_string(localnet_guard()));
  node.rules("filter", "INPUT").push_back("-j KUBE-FIREWALL");
  const std::string before = node.ns->text(Flavour::Nft, net::Family::V4);
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace(some_node(), some_services()).ok());
  EXPECT_TRUE(has_traces_on(*std::make_unique<FakeSystem>(node.ns)));
  ASSERT_TRUE(dataplane->remove().has_value());
  EXPECT_FALSE(has_traces_on(*std::make_unique<FakeSystem>(node.ns)));
  node.rules("filter", "OUTPUT").clear();  // kubelet's jump, which we made where it was missing
  EXPECT_EQ(node.ns->text(Flavour::Nft, net::Family::V4), before);
  EXPECT_TRUE(dataplane->remove().has_value());
}

TEST(Iptables, WhatKubeProxyLeftIsTakenOverInOneStep) {
  Node node;
  node.rules("nat", "KUBE-SVC-AAAAAAAAAAAAAAAA").push_back("-j KUBE-SEP-BBBBBBBBBBBBBBBB");
  node.rules("nat", "KUBE-SEP-BBBBBBBBBBBBBBBB").push_back("-j DNAT --to-destination 1.2.3.4:80");
  node.rules("nat", "KUBE-SERVICES").push_back("-d 10.96.0.99/32 -j KUBE-SVC-AAAAAAAAAAAAAAAA");
  node.rules("nat", "PREROUTING").push_back("-j KUBE-SERVICES");
  ASSERT_TRUE(node.start()->replace(some_node(), some_services()).ok());
  EXPECT_EQ(node.ns->text(Flavour::Nft, net::Family::V4) + node.ns->text(Flavour::Nft, net::Family::V6),
            fresh_text(some_services()));
}

TEST(Iptables, LoopbackNodePortsNeedRouteLocalnetAndTheGuardOnce) {
  Node node;
  const std::string guard = to_string(localnet_guard());
  EXPECT_EQ(
      guard,
      "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" -m conntrack ! "
      "--ctstate RELATED,ESTABLISHED,DNAT -j DROP");
  node.rules("filter", "KUBE-FIREWALL").push_back("-j ACCEPT");
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace(some_node(), {}).ok());
  EXPECT_EQ(node.ns->sysctls["net/ipv4/conf/all/route_localnet"], "1");
  EXPECT_EQ(node.rules("filter", "KUBE-FIREWALL"), (std::vector<std::string>{"-j ACCEPT", guard}));
  EXPECT_EQ(dataplane->replace(some_node(), {}).kernel_writes, 0U);
}

TEST(Iptables, ARefusedSysctlIsReportedAndTheRestWritten) {
  Node node;
  auto dataplane = node.start();
  node.ns->refused = "route_localnet";
  const Report report = dataplane->replace(some_node(), some_services());
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].object, "NodePorts on 127.0.0.1");
  EXPECT_EQ(node.text(), fresh_text(some_services()));
}

TEST(Iptables, KubeletsHintDecidesTheFlavour) {
  for (const Flavour flavour : kFlavours) {
    Node node;
    node.ns->at(flavour, net::Family::V4, "mangle").chains["KUBE-KUBELET-CANARY"];
    FakeSystem system(node.ns);
    const auto choice = choose_flavour(system, "auto");
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->flavour, flavour);
    EXPECT_EQ(choice->reason, "kubelet's chains are there");
  }
}

TEST(Iptables, WithoutAHintOthersRulesDecideTheFlavourAndThenNft) {
  Node node;
  FakeSystem system(node.ns);
  EXPECT_EQ(choose_flavour(system, "auto")->flavour, Flavour::Nft);
  node.ns->at(Flavour::Legacy, net::Family::V4, "filter").chains["INPUT"].push_back("-j ACCEPT");
  EXPECT_EQ(choose_flavour(system, "auto")->flavour, Flavour::Legacy);
  EXPECT_EQ(choose_flavour(system, "nft")->flavour, Flavour::Nft);
  EXPECT_EQ(choose_flavour(system, "best").error().message(),
            "no iptables flavour \"best\": allowed are auto, nft, legacy");
  node.ns->tables.clear();
  node.ns->broken_flavour = "nft";
  EXPECT_EQ(choose_flavour(system, "auto")->flavour, Flavour::Legacy);
}

TEST(Iptables, AfterAChangeOfFlavourTheOldRulesGo) {
  Node node;
  ASSERT_TRUE(node.start("legacy")->replace(some_node(), some_services()).ok());
  EXPECT_NE(node.text(Flavour::Legacy).find("KUBE-SVC-"), std::string::npos);
  ASSERT_TRUE(node.start("nft")->replace(some_node(), some_services()).ok());
  EXPECT_EQ(node.text(Flavour::Legacy).find("KUBE-SVC-"), std::string::npos);
  EXPECT_EQ(node.text(), fresh_text(some_services()));
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::iptables
