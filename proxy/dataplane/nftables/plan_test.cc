#include "proxy/dataplane/nftables/plan.h"

#include <gtest/gtest.h>

#include "proxy/dataplane/nftables/claims.h"
#include "proxy/dataplane/nftables/test_states.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using namespace test;

Wanted wanted(std::vector<model::Endpoint> endpoints) {
  return frontends_of(service("a", {cluster_ip("10.96.0.1", 80)}, std::move(endpoints))).at(0).second;
}

std::vector<std::string> targets(const Installed& installed) {
  std::vector<std::string> out;
  for (const Slot& slot : installed.slots[0]) out.push_back(slot.address.to_string());
  return out;
}

TEST(Codes, NameTheirChainAndBack) {
  const std::vector<std::pair<std::uint32_t, std::string>> all{
      {3, "n3"},
      {3 | kMasquerade, "n3_masq"},
      {12 | kNodePort | kMasquerade, "n12_masq_nodeport"},
      {1 | kOffCluster, "n1_offcluster"},
      {2 | kNodePort | kLocal, "n2_nodeport_local"},
      {2 | kNodePort | kShort, "n2_nodeport_short"},
      {10800 | kSticky | kShort, "t10800_short"},
      {7 | kPick, "c7"},
  };
  for (const auto& [code, chain] : all) {
    EXPECT_EQ(chain_of(code), chain);
    EXPECT_EQ(code_of_chain(chain), code);
  }
  for (const std::string alien : {"", "n", "n0", "c0", "n03", "n3_", "n3_short_local", "n3_masq_offcluster", "c3_short",
                                  "n16777216", "nat_output", "nodeports"}) {
    EXPECT_EQ(code_of_chain(alien), std::nullopt) << alien;
  }
  EXPECT_FALSE(balances(kReject));
  EXPECT_FALSE(balances(kDrop));
}

TEST(Plan, TextNamesEveryElement) {
  model::ServiceState dns =
      service("dns", {cluster_ip("10.96.0.10", 53), node_port(30053)},
              {endpoint("10.0.0.1", 5353, true), endpoint("10.0.0.2", 5353)}, model::Protocol::Udp);
  model::ServiceState six = service("six", {cluster_ip("fd00::10", 80)}, {});
  model::Frontend dropped = cluster_ip("10.96.0.11", 80);
  dropped.when_empty = model::WhenEmpty::Drop;
  model::NodeState node;
  node.pods.sources = {prefix("10.244.0.0/16")};
  node.node_port_addresses = {prefix("0.0.0.0/0"), prefix("fd00:172::/64")};
  node.service_cidrs = {prefix("10.96.0.0/12")};
  EXPECT_EQ(plan_text(node, {six, dns, service("none", {dropped}, {})}),
            "table ip\n"
            "strangers pods of 10.244.0.0/16\n"
            "strangers mark\n"
            "nodeports restricted 0.0.0.0/0\n"
            "nodeports 0.0.0.0/0\n"
            "refused_nodeports 0.0.0.0/0\n"
            "unallocated 10.96.0.0/12\n"
            "services 10.96.0.11 . tcp . 80 : drop\n"
            "services 10.96.0.10 . udp . 53 : goto n2\n"
            "endpoints 10.96.0.10 . udp . 53 . 0 : 10.0.0.1 . 5353 (local)\n"
            "endpoints 10.96.0.10 . udp . 53 . 1 : 10.0.0.2 . 5353\n"
            "nodeports udp . 30053 : goto n2_masq_nodeport\n"
            "endpoints udp . 30053 . 0 : 10.0.0.1 . 5353 (local)\n"
            "endpoints udp . 30053 . 1 : 10.0.0.2 . 5353\n"
            "hairpin 10.0.0.1\n"
            "cluster_ips 10.96.0.10\n"
            "cluster_ips 10.96.0.11\n"
            "table ip6\n"
            "strangers pods not told apart\n"
            "nodeports restricted fd00:172::/64\n"
            "nodeports fd00:172::/64\n"
            "refused_nodeports fd00:172::/64\n"
            "services fd00::10 . tcp . 80 : reject\n"
            "cluster_ips fd00::10\n");
}

TEST(Plan, AFrontendNamedTwiceByOneServiceCountsOnce) {
  auto twice = service("a", {cluster_ip("10.96.0.1", 80), cluster_ip("10.96.0.1", 80)}, endpoints(1));
  EXPECT_EQ(frontends_of(twice).size(), 1U);
}

TEST(Arrange, ARemovedEndpointIsReplacedByTheLastOne) {
  const Installed before = arrange({}, wanted(endpoints(5)));
  auto fewer = endpoints(5);
  fewer.erase(fewer.begin() + 1);
  const Installed after = arrange(before.slots, wanted(fewer));
  EXPECT_EQ(targets(after), (std::vector<std::string>{"10.0.0.1", "10.0.0.5", "10.0.0.3", "10.0.0.4"}));
  const FrontendDelta delta = difference(before, after);
  EXPECT_EQ(delta.deleted.size(), 2U);
  EXPECT_EQ(delta.added.size(), 1U);
  EXPECT_EQ(delta.code.deleted, 5U);
  EXPECT_EQ(delta.code.added, 4U);
}

TEST(Arrange, ANewEndpointGoesToTheEnd) {
  const Installed before = arrange({}, wanted({endpoint("10.0.0.5", 80), endpoint("10.0.0.6", 80)}));
  const Installed after =
      arrange(before.slots, wanted({endpoint("10.0.0.1", 80), endpoint("10.0.0.5", 80), endpoint("10.0.0.6", 80)}));
  EXPECT_EQ(targets(after), (std::vector<std::string>{"10.0.0.5", "10.0.0.6", "10.0.0.1"}));
}

TEST(Arrange, OneOfAThousandCostsThesameAsOneOfTen) {
  for (int n : {10, 1000}) {
    const Installed before = arrange({}, wanted(endpoints(n)));
    auto changed = endpoints(n);
    changed[3] = endpoint("10.9.9.9", 8080);
    const FrontendDelta delta = difference(before, arrange(before.slots, wanted(changed)));
    EXPECT_EQ(delta.deleted.size() + delta.added.size(), 2U) << n;
    EXPECT_FALSE(delta.code.added) << n;
  }
}

TEST(Arrange, HolesStraysAndDoublesFromAnEditedKernelAreRepaired) {
  const Slot one{ip("10.0.0.1"), 8080};
  const Slot two{ip("10.0.0.2"), 8080};
  const Slot alien{ip("192.0.2.1"), 1};
  Installed have;
  have.code = 3;
  have.slots[0] = {two, {}, two, alien, one};
  const Installed after = arrange(have.slots, wanted(endpoints(2)));
  EXPECT_EQ(after.slots[0], (std::vector<Slot>{two, one}));
  EXPECT_EQ(difference(have, after).deleted.size(), 3U);
}

// Claims.

Wanted nothing(const FrontendKey&) { return {}; }

TEST(Claims, TheSmallestServiceKeyOwnsAContestedFrontend) {
  const auto a = service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(1));
  const auto b = service("b", {cluster_ip("10.96.0.1", 80)}, endpoints(2));
  const FrontendKey key = frontends_of(a).at(0).first;
  for (const auto& order : {std::vector{a, b}, std::vector{b, a}}) {
    Claims claims;
    FrontendEdits edits;
    for (const auto& state : order) claims.upsert(state, {}, edits, nothing);
    EXPECT_EQ(*claims.owner(key), a.key);
    EXPECT_EQ(edits.at(key), frontends_of(a).at(0).second);
    EXPECT_EQ(claims.conflicts(), (std::vector<Conflict>{{.loser = b.key, .owner = a.key, .frontend = key}}));
    EXPECT_EQ(claims.conflicts_of(a.key), claims.conflicts());
    claims.erase(a.key, edits);
    EXPECT_EQ(*claims.owner(key), b.key);
    EXPECT_EQ(edits.at(key), frontends_of(b).at(0).second);
    EXPECT_TRUE(claims.conflicts().empty());
    claims.erase(b.key, edits);
    EXPECT_EQ(claims.owner(key), nullptr);
    EXPECT_EQ(edits.at(key), std::nullopt);
  }
}

TEST(Claims, AnOwnerThatLosesItsFrontendGetsItBackWithTheEndpointsItHad) {
  const auto a = service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(1));
  const auto b = service("b", {cluster_ip("10.96.0.1", 80)}, endpoints(2));
  const auto [key, before] = frontends_of(b).at(0);
  Claims claims;
  FrontendEdits edits;
  claims.upsert(b, {}, edits, nothing);
  edits.clear();  // written
  claims.upsert(a, {}, edits, [&, want = before](const FrontendKey&) { return want; });
  claims.erase(a.key, edits);
  EXPECT_EQ(edits.at(key), before);
}

TEST(Claims, AServiceWithoutFrontendsReleasesWhatItHad) {
  const auto a = service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(1));
  Claims claims;
  FrontendEdits edits;
  claims.upsert(a, {}, edits, nothing);
  claims.upsert(service("a", {cluster_ip("10.96.0.2", 80)}, {}), {}, edits, nothing);
  EXPECT_EQ(edits.size(), 2U);
  EXPECT_EQ(edits.at(frontends_of(a).at(0).first), std::nullopt);
  model::ServiceState empty;
  empty.key = a.key;
  claims.upsert(empty, {}, edits, nothing);
  EXPECT_EQ(std::count_if(edits.begin(), edits.end(), [](const auto& e) { return e.second.has_value(); }), 0);
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
