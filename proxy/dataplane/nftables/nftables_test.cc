// The dataplane over a kernel in memory: adoption, conflicts, somebody else's edits. Faults: refusal_test.cc.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "proxy/dataplane/nftables/elements.h"
#include "proxy/dataplane/nftables/fake_node_test.h"
#include "proxy/dataplane/nftables/layout.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

TEST(Nftables, WritesServicesAndBelievesWhatTheKernelHolds) {
  Node node;
  auto dataplane = node.start();
  const Report report = dataplane->replace({}, some_services());
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.kernel_writes, node.ns->writes);
  EXPECT_EQ(node.ns->commits, 1U);
  const std::string begins =
      "table ip fairlead\n"
      "strangers pods not told apart\n"
      "nodeports restricted 0.0.0.0/0\n"
      "nodeports 0.0.0.0/0\n"
      "refused_nodeports 0.0.0.0/0\n"
      "services 10.96.0.11 . tcp . 80 : reject\n"
      "services 10.96.0.12 . tcp . 80 : goto n5\n"
      "endpoints 10.96.0.12 . tcp . 80 . 0 : 10.0.0.1 . 8080\n";
  EXPECT_EQ(node.text().substr(0, begins.size()), begins);
  EXPECT_EQ(believed(*dataplane), node.text());
  EXPECT_NE(node.text().find("hairpin fd01::1\n"), std::string::npos);
}

TEST(Nftables, TheSameStateTwiceWritesNothing) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, some_services()).ok());
  EXPECT_EQ(dataplane->replace({}, some_services()).kernel_writes, 0U);
  EXPECT_EQ(dataplane->apply({.upserted = some_services(), .deleted = {}}).kernel_writes, 0U);
  EXPECT_EQ(node.ns->commits, 1U);
}

TEST(Nftables, ARestartAdoptsAndWritesNothing) {
  Node node;
  ASSERT_TRUE(node.start()->replace({}, some_services()).ok());
  auto again = node.start();
  EXPECT_EQ(again->replace({}, some_services()).kernel_writes, 0U);
  // Hairpin addresses are known again after adoption.
  const Report report = again->apply({.upserted = {}, .deleted = {{"default", "six"}}});
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(node.text().find("hairpin"), std::string::npos);
}

TEST(Nftables, ARestartWithManyEndpointsAsksForThemByKey) {
  Node node;
  ASSERT_TRUE(node.start()->replace({}, some_services()).ok());
  node.find_above = 0;
  EXPECT_EQ(node.start()->replace({}, some_services()).kernel_writes, 0U);
  // One is missing: then all are read.
  auto& endpoints = node.ns->tables[kV4].elements["endpoints"];
  endpoints.erase(std::prev(endpoints.end()));
  EXPECT_EQ(node.start()->replace({}, some_services()).kernel_writes, 1U);
  EXPECT_EQ(node.text(), fresh_text(some_services()));
}

TEST(Nftables, ARestartWithManyMembersOfStickyPoolsAsksForThemByKey) {
  auto sticky = some_services();
  for (auto& state : sticky) state.ports[0].affinity_seconds = 60;
  Node node;
  ASSERT_TRUE(node.start()->replace({}, sticky).ok());
  const std::string before = node.text();
  node.find_above = 0;
  EXPECT_EQ(node.start()->replace({}, sticky).kernel_writes, 0U);
  auto& members = node.ns->tables[kV4].elements["members"];
  members.erase(std::prev(members.end()));
  EXPECT_EQ(node.start()->replace({}, sticky).kernel_writes, 1U);
  EXPECT_EQ(node.text(), before);
}

TEST(Nftables, ACompleteStateOnTopOfOneReadsTheKernelOnlyWhenToldTo) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, some_services()).ok());
  const std::string before = node.text();
  node.ns->tables.clear();
  EXPECT_EQ(dataplane->replace({}, some_services()).kernel_writes, 0U);
  node.ns->edit(kV4);
  EXPECT_GT(dataplane->replace({}, some_services()).kernel_writes, 0U);
  EXPECT_EQ(node.text(), before);
}

TEST(Nftables, ARestartWritesOnlyTheDifference) {
  Node node;
  ASSERT_TRUE(node.start()->replace({}, some_services()).ok());
  auto services = some_services();
  services[3].ports[0].cluster_endpoints[2].port = 9090;
  services.erase(services.begin() + 1);
  // One slot, the two frontends of "none" and its ClusterIP.
  EXPECT_EQ(node.start()->replace({}, services).kernel_writes, 5U);
  EXPECT_EQ(node.start()->replace({}, services).kernel_writes, 0U);
}

TEST(Nftables, OneEndpointCostsAHandfulOfWrites) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, {service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(100))}).ok());
  auto changed = endpoints(100);
  changed[50] = endpoint("10.9.9.9", 8080);
  EXPECT_EQ(dataplane->apply({{service("a", {cluster_ip("10.96.0.1", 80)}, changed)}, {}}).kernel_writes, 2U);
  changed.erase(changed.begin());
  // A slot goes, the last one moves into its place, the code changes; chain, rule and verdict of a new count.
  EXPECT_EQ(dataplane->apply({{service("a", {cluster_ip("10.96.0.1", 80)}, changed)}, {}}).kernel_writes, 5U + 3U);
  EXPECT_EQ(dataplane->apply({{service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(100))}, {}}).ok(), true);
}

TEST(Nftables, EndpointsAppearAndVanishInOneTransaction) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, {service("a", {cluster_ip("10.96.0.1", 80)}, {})}).ok());
  EXPECT_TRUE(dataplane->apply({{service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(2))}, {}}).ok());
  EXPECT_EQ(node.text(), fresh_text({service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(2))}));
  EXPECT_TRUE(dataplane->apply({{service("a", {cluster_ip("10.96.0.1", 80)}, {})}, {}}).ok());
  EXPECT_EQ(node.text(), fresh_text({service("a", {cluster_ip("10.96.0.1", 80)}, {})}));
  EXPECT_EQ(node.ns->commits, 3U);
}

TEST(Nftables, ALargeSyncIsSeveralTransactionsEachCompleteInItself) {
  Node node;
  std::vector<model::ServiceState> services;
  for (int i = 1; i <= 50; ++i) {
    services.push_back(
        service("s" + std::to_string(i), {cluster_ip("10.96.0." + std::to_string(i), 80)}, endpoints(10)));
  }
  EXPECT_TRUE(node.start(100)->replace({}, services).ok());
  EXPECT_GT(node.ns->commits, 4U);
  EXPECT_EQ(node.text(), fresh_text(services));
}

TEST(Nftables, OfTwoServicesWithOneAddressTheSecondIsReportedAndTakesOverLater) {
  Node node;
  auto dataplane = node.start();
  const auto a = service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(1));
  const auto b = service("b", {cluster_ip("10.96.0.1", 80)}, endpoints(2));
  ASSERT_TRUE(dataplane->replace({}, {b}).ok());
  const Report report = dataplane->apply({{a}, {}});
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].service, b.key);
  EXPECT_EQ(report.failures[0].error.message(), "10.96.0.1 . tcp . 80 of default/b belongs to default/a already");
  EXPECT_EQ(node.text(), fresh_text({a}));
  EXPECT_TRUE(dataplane->apply({{}, {a.key}}).ok());
  EXPECT_EQ(node.text(), fresh_text({b}));
}

TEST(Nftables, AFlushedRulesetIsRestoredOnNotification) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, some_services()).ok());
  EXPECT_EQ(dataplane->handle_notification().kernel_writes, 0U);
  const std::string before = node.text();
  node.ns->flush_ruleset();
  EXPECT_GT(dataplane->handle_notification().kernel_writes, 0U);
  EXPECT_EQ(node.text(), before);
  EXPECT_EQ(dataplane->handle_notification().kernel_writes, 0U);
}

TEST(Nftables, AFlushedRulesetIsRestoredByTheNextChangeToo) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, some_services()).ok());
  node.ns->flush_ruleset();
  auto web = some_services()[3];
  web.ports[0].cluster_endpoints.pop_back();
  EXPECT_TRUE(dataplane->apply({{web}, {}}).ok());
  auto services = some_services();
  services[3] = web;
  EXPECT_EQ(node.text(), fresh_text(services));
}

TEST(Nftables, EditedElementsAreRepairedOneByOne) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, some_services()).ok());
  const std::string before = node.text();
  auto& elements = node.ns->tables[kV4].elements;
  elements["endpoints"].erase(elements["endpoints"].begin());
  elements["services"].erase(elements["services"].begin());
  nft::Element alien = address_element(SetId::Hairpin, ip("192.0.2.1"));
  alien.key[7] = 9;
  elements["hairpin"].insert(alien);
  elements["hairpin"].insert(address_element(SetId::Hairpin, ip("192.0.2.7")));
  node.ns->edit(kV4);
  const Report report = dataplane->handle_notification();
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.kernel_writes, 4U);
  EXPECT_EQ(node.text(), before);
  EXPECT_TRUE(elements["hairpin"].empty());
}

TEST(Nftables, ChangesOfOtherTablesAreNobodysBusiness) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, some_services()).ok());
  node.ns->tables.erase(kV4);
  node.ns->edit({net::Family::V4, "docker"});
  EXPECT_EQ(dataplane->handle_notification().kernel_writes, 0U);
  node.ns->unread.lost = true;  // then anything may have happened
  EXPECT_GT(dataplane->handle_notification().kernel_writes, 0U);
}

TEST(Nftables, ATableThatIsNotAsWrittenIsReplacedInOneTransaction) {
  const std::vector<std::function<void(nft::FakeTable&)>> edits{
      [](nft::FakeTable& t) { t.objects.comment = "fairlead layout 0, mark 16384"; },
      [](nft::FakeTable& t) { t.objects.rules.pop_back(); },
      [](nft::FakeTable& t) {
        t.objects.rules.push_back({"nat_output", ""});
      },
      [](nft::FakeTable& t) { std::swap(t.objects.rules[4], t.objects.rules[5]); },
      [](nft::FakeTable& t) {
        for (nft::Chain& chain : t.objects.chains) {
          if (chain.name == "nat_output") chain.base->priority = 7;
        }
      },
      [](nft::FakeTable& t) {
        t.objects.chains.push_back({"theirs", {}});
      },
      [](nft::FakeTable& t) { t.objects.sets.pop_back(); },
      [](nft::FakeTable& t) { t.verdicts["dispatch"].begin()->second.go_to = "reject"; },
      [](nft::FakeTable& t) { t.verdicts["refuse"].clear(); },
  };
  for (std::size_t i = 0; i < edits.size(); ++i) {
    Node node;
    ASSERT_TRUE(node.start()->replace({}, some_services()).ok());
    const std::uint64_t commits = node.ns->commits;
    edits[i](node.ns->tables[kV4]);
    EXPECT_TRUE(node.start(1)->replace({}, some_services()).ok()) << i;
    EXPECT_EQ(node.ns->commits, commits + 1) << i;
    EXPECT_EQ(node.start()->replace({}, some_services()).kernel_writes, 0U) << i;
  }
}

model::NodeState some_node() {
  model::NodeState node;
  node.pods.sources = {prefix("10.244.0.0/16")};
  node.node_port_addresses = {prefix("172.18.0.0/24"), prefix("172.18.1.0/24"), prefix("::/0")};
  node.service_cidrs = {prefix("10.96.0.0/12")};
  return node;
}

TEST(Nftables, AnotherNodeStateIsOneTransactionAndReadsBack) {
  Node node;
  auto dataplane = node.start(1);
  ASSERT_TRUE(dataplane->replace({}, services_of_all_kinds()).ok());
  const std::string before = dump_text(*dataplane);
  const std::uint64_t commits = node.ns->commits;
  EXPECT_TRUE(dataplane->replace(some_node(), services_of_all_kinds()).ok());
  EXPECT_EQ(node.ns->commits, commits + 1);
  EXPECT_NE(dump_text(*dataplane), before);
  EXPECT_EQ(dataplane->replace(some_node(), services_of_all_kinds()).kernel_writes, 0U);
  EXPECT_EQ(node.start()->replace(some_node(), services_of_all_kinds()).kernel_writes, 0U);
  EXPECT_TRUE(node.start(1)->replace({}, services_of_all_kinds()).ok());
  EXPECT_EQ(node.ns->commits, commits + 2);
  auto again = node.start();
  EXPECT_EQ(again->replace({}, services_of_all_kinds()).kernel_writes, 0U);
  EXPECT_EQ(dump_text(*again), before);
}

TEST(Nftables, EveryKindOfElementIsAdoptedRepairedAndRemoved) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace(some_node(), services_of_all_kinds()).ok());
  EXPECT_EQ(node.start()->replace(some_node(), services_of_all_kinds()).kernel_writes, 0U);
  auto& table = node.ns->tables[kV4];
  const auto before = table.elements;
  for (SetId set : kElementSets) {
    EXPECT_FALSE(table.elements[name_of(set)].empty()) << name_of(set);
    table.elements[name_of(set)].clear();
    node.ns->edit(kV4);
    EXPECT_TRUE(dataplane->handle_notification().ok());
    EXPECT_EQ(table.elements, before) << name_of(set);
  }
  EXPECT_TRUE(dataplane->apply({{}, {{"default", "all"}, {"default", "sticky"}}}).ok());
  for (SetId set : kElementSets) EXPECT_TRUE(table.elements[name_of(set)].empty()) << name_of(set);
}

// Clients stay by the number of their endpoint.
TEST(Nftables, AMemberKeepsItsNumberWhileOthersComeAndGo) {
  Node node;
  auto dataplane = node.start();
  auto state = service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(20));
  state.ports[0].affinity_seconds = 60;
  ASSERT_TRUE(dataplane->replace({}, {state}).ok());
  const auto members = [&] {
    std::map<std::string, std::string> by_target;
    for (const nft::Element& e : node.ns->tables[kV4].elements["members"]) {
      by_target.emplace(e.data_view(), e.key_view());
    }
    return by_target;
  };
  const auto before = members();
  EXPECT_EQ(before.size(), 20U);
  auto fewer = state;
  auto& left = fewer.ports[0].cluster_endpoints;
  left.erase(left.begin() + 3, left.begin() + 9);
  left.push_back(endpoint("10.1.0.1", 8080));
  EXPECT_TRUE(dataplane->apply({{fewer}, {}}).ok());
  const auto after = members();
  EXPECT_EQ(after.size(), 15U);
  std::size_t kept = 0;
  for (const auto& [target, number] : after) kept += before.contains(target) && before.at(target) == number;
  EXPECT_EQ(kept, 14U);
  // One endpoint more or less is a choice, a member and the share, and the chain that picks among so many.
  EXPECT_LE(dataplane->apply({{state}, {}}).kernel_writes, 40U);
}

TEST(Nftables, TwoPortsWhoseNamesFallTogetherKeepTheirGroupsOverARestart) {
  // As many as make two of them fall together by their hash alone.
  std::vector<model::ServiceState> services;
  for (int i = 0; i < 1500; ++i) {
    auto state =
        service("s" + std::to_string(i),
                {cluster_ip("10.97." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1), 80)}, endpoints(1));
    state.ports[0].affinity_seconds = 60;
    services.push_back(std::move(state));
  }
  Node node;
  ASSERT_TRUE(node.start()->replace({}, services).ok());
  EXPECT_EQ(node.ns->tables[kV4].elements["shares"].size(), services.size());
  std::reverse(services.begin(), services.end());
  EXPECT_EQ(node.start()->replace({}, services).kernel_writes, 0U);
}

TEST(Nftables, RemoveLeavesNothingAndMindsNothing) {
  Node node;
  auto dataplane = node.start();
  EXPECT_TRUE(dataplane->remove());
  ASSERT_TRUE(dataplane->replace({}, some_services()).ok());
  EXPECT_TRUE(dataplane->remove());
  EXPECT_TRUE(node.ns->tables.empty());
  EXPECT_FALSE(dataplane->apply({some_services(), {}}).ok());
}

TEST(Nftables, ANodeWithoutIpv6TakesTheRest) {
  Node node;
  auto dataplane = make(std::make_unique<nft::FakeKernel>(node.ns), Options(), {net::Family::V4});
  EXPECT_TRUE(dataplane->replace({}, some_services()).ok());
  EXPECT_FALSE(node.ns->tables.contains(kV6));
  EXPECT_EQ(dataplane->replace({}, some_services()).kernel_writes, 0U);
}

model::ServiceState random_service(std::mt19937& random) {
  const auto roll = [&](unsigned sides) { return static_cast<int>(random() % sides); };
  std::vector<model::Frontend> frontends;
  const int base = roll(4);
  for (int i = 0; i <= roll(2); ++i) frontends.push_back(cluster_ip("10.96.0." + std::to_string(base + i), 80));
  if (roll(2) == 0) frontends.push_back(node_port(static_cast<std::uint16_t>(30000 + roll(4)), roll(2) == 0));
  if (roll(4) == 0) frontends[0].when_empty = model::WhenEmpty::Drop;
  for (model::Frontend& frontend : frontends) {
    frontend.restricted = roll(4) == 0;
    if (roll(4) == 0) frontend.masquerade = model::Masquerade::OffCluster;
    if (roll(3) > 0) continue;
    frontend.pool = model::Pool::Local;
    frontend.short_circuit = roll(2) == 0;
    frontend.masquerade = model::Masquerade::Never;
  }
  std::vector<model::Endpoint> some;
  const int share = roll(4);
  for (int i = 1; i < 12; ++i) {
    if (roll(4) < share) some.push_back(endpoint("10.0.0." + std::to_string(i), 8080, i % 3 == 0));
  }
  auto state = service("s" + std::to_string(roll(6)), frontends, some,
                       roll(5) == 0 ? model::Protocol::Udp : model::Protocol::Tcp);
  model::PortState& port = state.ports[0];
  std::copy_if(port.cluster_endpoints.begin(), port.cluster_endpoints.end(), std::back_inserter(port.local_endpoints),
               [](const model::Endpoint& e) { return e.local; });
  if (roll(3) == 0) port.affinity_seconds = static_cast<std::uint32_t>(1 + roll(3));
  for (const std::string range : {"10.0.0.0/8", "192.0.2.0/24", "203.0.113.0/24"}) {
    if (roll(2) == 0) port.allowed_sources.push_back(prefix(range));
  }
  return state;
}

TEST(Nftables, AnyHistoryEndsWhereAFreshStartWould) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    Node node;
    auto dataplane = node.start(5);
    ASSERT_TRUE(dataplane->replace({}, {}).ok());
    std::map<model::Key, model::ServiceState> services;
    for (int step = 0; step < 40; ++step) {
      model::Changes changes;
      const auto state = random_service(random);
      if (random() % 4 == 0) {
        services.erase(state.key);
        changes.deleted.push_back(state.key);
      } else {
        services[state.key] = state;
        changes.upserted.push_back(state);
      }
      if (random() % 10 == 0) node.ns->flush_ruleset();
      if (random() % 2 == 0) (void)dataplane->handle_notification();
      (void)dataplane->apply(changes);
      (void)dataplane->handle_notification();
      ASSERT_EQ(believed(*dataplane), node.text()) << seed << " " << step;
    }
    std::vector<model::ServiceState> all;
    all.reserve(services.size());
    for (const auto& [key, state] : services) all.push_back(state);
    EXPECT_EQ(node.start()->replace({}, all).kernel_writes, 0U) << seed;
  }
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
