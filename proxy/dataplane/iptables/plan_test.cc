// What is planned, and a packet's way through it.
#include "proxy/dataplane/iptables/plan.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <set>

#include "base/strings.h"
#include "proxy/dataplane/iptables/iptables.h"
#include "proxy/dataplane/iptables/names.h"
#include "proxy/dataplane/iptables/tables.h"
#include "proxy/dataplane/iptables/test_states.h"
#include "proxy/dataplane/iptables/tree.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

using namespace test;
using net::Family;

const std::string kHash = port_hash({"default", "web"}, "", model::Protocol::Tcp);

model::NodeState node_with_pods() {
  model::NodeState node;
  node.pods.sources = {prefix("10.244.0.0/16")};
  return node;
}

// "CHAIN RULE", one per line.
std::string text(const Chains& chains) {
  std::string out;
  for (const auto& [name, rules] : chains) {
    for (const Rule& rule : rules) out += base::cat(name, " ", to_string(rule), "\n");
  }
  for (std::size_t at = 0; (at = out.find(kHash, at)) != std::string::npos;) out.replace(at, kHash.size(), "H");
  return out;
}
ServicePlan plan(const model::ServiceState& state) { return plan_service(node_with_pods(), Family::V4, state); }

TEST(Names, AreThoseOfKubeProxy) {
  EXPECT_EQ(port_hash({"ns1", "svc1"}, "p80", model::Protocol::Tcp), "XPGD46QRK7WJZT7O");
  EXPECT_EQ(endpoint_chain({"ns1", "svc1"}, "p80", model::Protocol::Tcp, endpoint("10.180.0.1", 80)),
            "KUBE-SEP-SXIVWICOYRO3J4NJ");
}

TEST(Names, OnlyOursAreOurs) {
  for (const char* ours : {"KUBE-SERVICES", "KUBE-SVC-XPGD46QRK7WJZT7O", "KUBE-SEP-A", "KUBE-D16-10.96.0.0",
                           "KUBE-DP05-tcp-30720", "KUBE-DF112-ABCDEFGHIJKLMNOP", "KUBE-PROXY-CANARY"}) {
    EXPECT_TRUE(is_ours(ours)) << ours;
  }
  for (const char* theirs : {"KUBE-FIREWALL", "KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-DNS", "KUBE-D1-x",
                             "KUBE-POD-FW-X", "CNI-HOSTPORT-DNAT", "INPUT"}) {
    EXPECT_FALSE(is_ours(theirs)) << theirs;
  }
}

TEST(Plan, AClusterIpGoesStraightToItsEndpointsAndStrangersAreMasqueraded) {
  const auto state = service("web", {cluster_ip("10.96.0.1", 80, model::Masquerade::OffCluster)}, endpoints(3));
  const ServicePlan planned = plan(state);
  EXPECT_EQ(text(planned.nat),
            "KUBE-SVC-H ! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n"
            "KUBE-SVC-H -p tcp -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination "
            "10.0.0.1:8080\n"
            "KUBE-SVC-H -p tcp -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination "
            "10.0.0.2:8080\n"
            "KUBE-SVC-H -p tcp -j DNAT --to-destination 10.0.0.3:8080\n");
  EXPECT_EQ(text(planned.filter), "");
}

TEST(Plan, PodsAreToldByTheInterfaceTheyComeInOn) {
  model::NodeState node;
  node.pods.interface = "cali";
  node.pods.interface_is_prefix = true;
  const auto state = service("web", {cluster_ip("10.96.0.1", 80, model::Masquerade::OffCluster)}, endpoints(1));
  EXPECT_EQ(text(plan_service(node, Family::V4, state).nat),
            "KUBE-SVC-H -d 10.96.0.1/32 ! -i cali+ -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n"
            "KUBE-SVC-H -p tcp -j DNAT --to-destination 10.0.0.1:8080\n");
}

TEST(Plan, AnExternalAddressMasqueradesEverybody) {
  const ServicePlan planned = plan(service("web", {load_balancer("192.0.2.1", 80)}, endpoints(1)));
  EXPECT_EQ(text(planned.nat),
            "KUBE-EXT-H -j KUBE-MARK-MASQ\n"
            "KUBE-EXT-H -g KUBE-SVC-H\n"
            "KUBE-SVC-H -p tcp -j DNAT --to-destination 10.0.0.1:8080\n");
  EXPECT_EQ(planned.frontends[0].second.rest, "");
}

TEST(Plan, ALocalPolicyIsForClientsOutside) {
  const auto state =
      service("web", {local(node_port(30080))}, {endpoint("10.0.0.1", 80, true), endpoint("10.0.0.2", 80)});
  const std::string circuit =
      "KUBE-EXT-H -s 10.244.0.0/16 -g KUBE-SVC-H\n"
      "KUBE-EXT-H -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ\n"
      "KUBE-EXT-H -m addrtype --src-type LOCAL -g KUBE-SVC-H\n";
  EXPECT_EQ(text(plan(state).nat).substr(0, circuit.size() + 27), circuit + "KUBE-EXT-H -g KUBE-SVL-H\nKU");
  EXPECT_EQ(plan(state).local_endpoints, std::vector<net::Ip>{ip("10.0.0.1")});
  // Without an endpoint here, what was not translated by then is dropped in filter.
  const auto elsewhere = plan(service("web", {local(node_port(30080))}, {endpoint("10.0.0.2", 80)}));
  EXPECT_EQ(text(elsewhere.nat).substr(0, circuit.size() + 10), circuit + "KUBE-SVC-H");
  EXPECT_EQ(elsewhere.frontends[0].second.rest, "-j DROP");
}

TEST(Plan, ARestrictedFrontendTranslatesForTheAllowedAndDropsTheRest) {
  auto state = service("web", {restricted(load_balancer("192.0.2.1", 80))}, endpoints(1));
  state.ports[0].allowed_sources = {prefix("198.51.100.0/24"), prefix("fd00::/64")};
  const ServicePlan planned = plan(state);
  EXPECT_NE(text(planned.nat).find("KUBE-FW-H -s 198.51.100.0/24 -g KUBE-EXT-H\n"), std::string::npos);
  EXPECT_EQ(text(planned.nat).find("fd00"), std::string::npos);
  EXPECT_EQ(planned.frontends[0].second, (Dispatch{"KUBE-FW-" + kHash, "-j DROP", false, true}));
}

TEST(Plan, ARestrictedFrontendWithoutEndpointsRefusesOnlyTheAllowed) {
  auto state = service("web", {restricted(load_balancer("192.0.2.1", 80))}, {});
  state.ports[0].allowed_sources = {prefix("198.51.100.0/24")};
  const ServicePlan planned = plan(state);
  EXPECT_EQ(text(planned.filter),
            "KUBE-FW-H -s 198.51.100.0/24 -g KUBE-REJECT\n"
            "KUBE-FW-H -j DROP\n");
  EXPECT_EQ(planned.frontends[0].second, (Dispatch{"", "-g KUBE-FW-" + kHash, false, true}));
}

TEST(Plan, AffinityHasAListOfClientsPerEndpoint) {
  auto state = service("web", {cluster_ip("10.96.0.1", 80)}, endpoints(1));
  state.ports[0].affinity_seconds = 100;
  const std::string sep = endpoint_chain(state.key, "", model::Protocol::Tcp, endpoints(1)[0]);
  EXPECT_EQ(text(plan(state).nat),
            base::cat(sep, " -p tcp -m recent --set --name ", sep,
                      " --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.0.0.1:8080\n",
                      "KUBE-SVC-H -m recent --rcheck --seconds 100 --reap --name ", sep,
                      " --mask 255.255.255.255 --rsource -j ", sep, "\nKUBE-SVC-H -j ", sep, "\n"));
}

TEST(Plan, AClusterIpsOtherPortsAreRefusedAndUnknownAddressesDropped) {
  model::NodeState node = node_with_pods();
  node.service_cidrs = {prefix("10.96.0.0/12")};
  Frontends frontends;
  const auto state = service("web", {cluster_ip("10.96.0.1", 80), cluster_ip("10.96.0.1", 443)}, {});
  for (const auto& [key, dispatch] : plan(state).frontends) frontends.emplace(key, dispatch);
  EXPECT_EQ(text(plan_tree(TreeId::Services, node, Family::V4, frontends, {})),
            "KUBE-SERVICES -m conntrack --ctstate DNAT -j RETURN\n"
            "KUBE-SERVICES -d 10.96.0.1/32 -g KUBE-REJECT\n"
            "KUBE-SERVICES -d 10.96.0.0/12 -j DROP\n");
  EXPECT_EQ(plan_tree(TreeId::Translate, node, Family::V4, frontends, {}).at("KUBE-SERVICES").size(), 2U);
}

TEST(Plan, NodePortsAnswerWhereTheNodeSaysAndLast) {
  model::NodeState node = node_with_pods();
  node.node_port_addresses = {prefix("172.18.0.0/16"), prefix("::/0")};
  EXPECT_EQ(text(plan_tree(TreeId::Translate, node, Family::V4, {}, {})),
            "KUBE-SERVICES -d 127.0.0.0/8 -j RETURN\n"
            "KUBE-SERVICES -d 172.18.0.0/16 -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n");
  node.localhost_node_ports = true;
  EXPECT_EQ(text(plan_tree(TreeId::Translate, node, Family::V6, {}, {})),
            "KUBE-SERVICES -d ::1/128 -j RETURN\n"
            "KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n");
  EXPECT_EQ(text(plan_tree(TreeId::Translate, node, Family::V4, {}, {})).substr(0, 75),
            "KUBE-SERVICES -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS");
}

TEST(Plan, OnlyEndpointsOfThisNodeCanReachThemselves) {
  EXPECT_EQ(text(plan_tree(TreeId::Hairpin, {}, Family::V4, {}, {{ip("10.0.0.1"), 2}})),
            "KUBE-HAIRPIN -s 10.0.0.1/32 -d 10.0.0.1/32 -j KUBE-MARK-MASQ\n");
}

TEST(Plan, InvalidPacketsAreForwardedWhereTheKernelIsToldToBeLiberal) {
  const std::string drop = "KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n";
  EXPECT_NE(text(plan_static({}, Family::V4, Table::Filter)).find(drop), std::string::npos);
  EXPECT_EQ(text(plan_static({.tcp_be_liberal = true}, Family::V4, Table::Filter)).find(drop), std::string::npos);
}

TEST(Plan, TheTextIsTheSameWhateverTheOrderOfServices) {
  const auto a = service("a", {cluster_ip("10.96.0.1", 80)}, endpoints(2));
  const auto b = service("b", {node_port(30080)}, endpoints(2));
  EXPECT_EQ(plan_text({}, {a, b}), plan_text({}, {b, a}));
}

// A packet's way.
struct Walk {
  std::string target;
  unsigned met = 0;
};
Walk walk(const Tree& tree, const net::Ip& to, model::Protocol protocol, std::uint16_t port) {
  Walk out;
  const std::function<bool(const Rules&)> run = [&](const Rules& rules) {
    for (const Rule& rule : rules) {
      ++out.met;
      if (rule.destination && !rule.destination->contains(to)) continue;
      if (rule.protocol && *rule.protocol != protocol) continue;
      if (rule.ports && (port < rule.ports->low || port > rule.ports->high)) continue;
      const std::string name = rule.target.substr(3);
      const auto next = tree.chains.find(name);
      if (next == tree.chains.end()) {
        out.target = name;
        return true;
      }
      if (run(next->second)) return true;
      if (rule.target[1] == 'g') return false;
    }
    return false;
  };
  run(tree.root);
  return out;
}

std::vector<TreeEntry> random_entries(Family family, unsigned count, std::mt19937& random) {
  std::map<std::tuple<net::Ip, std::optional<model::Protocol>, std::uint16_t>, TreeEntry> out;
  while (out.size() < count) {
    auto bytes = (family == Family::V4 ? ip("10.96.0.0") : ip("fd00:10:96::")).bytes();
    // Some addresses have many ports.
    const auto host_bits = static_cast<unsigned>(random() % 4 == 0 ? random() % 4 : random() % (1U << 20));
    for (unsigned i = 0; i < 3; ++i) bytes[15 - i] = static_cast<std::uint8_t>(bytes[15 - i] | (host_bits >> (8 * i)));
    TreeEntry entry{.address = net::Ip::from_bytes(bytes), .protocol = {}, .target = ""};
    if (random() % 8 != 0) {
      entry.protocol = random() % 2 == 0 ? model::Protocol::Tcp : model::Protocol::Udp;
      entry.port = static_cast<std::uint16_t>(random() % 65536);
    }
    entry.target = base::cat("-j T", out.size());
    out.try_emplace({entry.address, entry.protocol, entry.port}, entry);
  }
  std::vector<TreeEntry> entries;
  for (auto& [key, entry] : out) entries.push_back(entry);
  return entries;
}

TEST(Tree, FindsWhatAListWouldFindAndMeetsFewRules) {
  std::mt19937 random(7);
  for (const Family family : {Family::V4, Family::V6}) {
    for (const unsigned count : {1U, 8U, 9U, 100U, 5000U}) {
      const auto entries = random_entries(family, count, random);
      const Tree tree = build_tree("KUBE-D", TreeKey::Address, family, entries);
      std::map<std::pair<net::Ip, int>, std::string> list;
      for (const TreeEntry& entry : entries) {
        list[{entry.address, entry.protocol ? static_cast<int>(*entry.protocol) << 16 | entry.port : 0}] = entry.target;
      }
      for (const TreeEntry& entry : entries) {
        for (const int shift : {0, 1}) {
          const auto port = static_cast<std::uint16_t>(entry.port + shift);
          const auto protocol = entry.protocol.value_or(model::Protocol::Tcp);
          auto want = list.find({entry.address, static_cast<int>(protocol) << 16 | port});
          if (want == list.end()) want = list.find({entry.address, 0});
          const Walk found = walk(tree, entry.address, protocol, port);
          ASSERT_EQ(found.target, want == list.end() ? "" : want->second.substr(3));
          EXPECT_LE(found.met, 80U);
        }
      }
    }
  }
}

TEST(Tree, TenThousandServicesAreAboutTwentyRulesAway) {
  std::mt19937 random(3);
  std::vector<TreeEntry> entries;
  for (unsigned i = 0; i < 10000; ++i) {
    const auto host_bits = static_cast<unsigned>((i << 6) | (random() & 63U));
    entries.push_back(
        {.address = net::Ip::v4(10, static_cast<std::uint8_t>(96 + (host_bits >> 16)),
                                static_cast<std::uint8_t>(host_bits >> 8), static_cast<std::uint8_t>(host_bits)),
         .protocol = model::Protocol::Tcp,
         .port = 80,
         .target = "-j T"});
  }
  const Tree tree = build_tree("KUBE-D", TreeKey::Address, Family::V4, entries);
  unsigned total = 0;
  unsigned most = 0;
  for (const TreeEntry& entry : entries) {
    const Walk found = walk(tree, entry.address, *entry.protocol, entry.port);
    total += found.met;
    most = std::max(most, found.met);
  }
  EXPECT_LT(total / entries.size(), 22U);
  EXPECT_LE(most, 36U);
}

TEST(Tree, OneEntryMoreTouchesOnePath) {
  std::mt19937 random(5);
  auto entries = random_entries(Family::V4, 3000, random);
  const Chains before = build_tree("KUBE-D", TreeKey::Address, Family::V4, entries).chains;
  entries.push_back({.address = ip("10.96.77.77"), .protocol = model::Protocol::Sctp, .port = 1, .target = "-j T"});
  const Chains after = build_tree("KUBE-D", TreeKey::Address, Family::V4, entries).chains;
  unsigned changed = 0;
  for (const auto& [name, rules] : after) {
    const auto it = before.find(name);
    changed += it == before.end() || it->second != rules;
  }
  EXPECT_LE(changed, 6U);
}

TEST(Tree, NamesFitAndDescendTowardsTheRoot) {
  std::mt19937 random(9);
  for (const Family family : {Family::V4, Family::V6}) {
    const Tree tree = build_tree("KUBE-DE", TreeKey::Address, family, random_entries(family, 3000, random));
    for (const auto& [name, rules] : tree.chains) {
      EXPECT_LE(name.size(), 28U);
      EXPECT_TRUE(is_tree_chain(name)) << name;
      for (const Rule& rule : rules) {
        const std::string target = rule.target.substr(3);
        EXPECT_TRUE(target > name || !tree.chains.contains(target)) << name << " leads to " << target;
      }
    }
  }
}

TEST(Tables, WhatWasWrittenIsReadBackAsTheSame) {
  TableState state(Table::Nat);
  state.set("KUBE-MARK-MASQ", plan_static({}, Family::V4, Table::Nat).at("KUBE-MARK-MASQ"));
  const auto saved = parse_save(state.text());
  ASSERT_TRUE(saved);
  EXPECT_EQ(saved->at(Table::Nat).chains.at("KUBE-MARK-MASQ"), digest_of("-j MARK --set-xmark 0x4000/0x4000\n"));
}

TEST(Tables, ShortTransactionsHoldWholeChainsAndLeadToWhatIsThere) {
  Frontends frontends;
  TableState one(Table::Nat);
  TableState several(Table::Nat, true);
  const auto set = [&](const Chains& chains) {
    for (const auto& [name, rules] : chains) {
      one.set(name, rules);
      several.set(name, rules);
    }
  };
  for (int i = 0; i < 500; ++i) {
    const auto address = net::Ip::v4(10, 96, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i));
    const auto planned =
        plan_service({}, Family::V4, service(base::cat("s", i), {cluster_ip(address.to_string(), 80)}, endpoints(10)));
    set(planned.nat);
    frontends.insert(planned.frontends.begin(), planned.frontends.end());
  }
  for (const TreeId tree : {TreeId::Translate, TreeId::TranslateNodePorts}) {
    set(plan_tree(tree, {}, Family::V4, frontends, {}));
  }
  const std::string text = several.text();
  std::set<std::string> declared;
  std::string chain;
  int commits = 0;
  for (const std::string_view line : base::split(text, '\n')) {
    if (line == "COMMIT") {
      ++commits;
      chain.clear();
    } else if (line.substr(0, 1) == ":") {
      chain = line.substr(1, line.find(' ') - 1);
      declared.insert(chain);
    } else if (line.substr(0, 3) == "-A ") {
      EXPECT_EQ(line.substr(3, line.find(' ', 3) - 3), chain);
      const std::string target(line.substr(line.rfind(" -") + 4));
      EXPECT_TRUE(target.substr(0, 5) != "KUBE-" || declared.contains(target)) << line;
    }
  }
  EXPECT_GE(commits, 6);
  std::string joined = text;
  for (std::size_t at = 0; (at = joined.find("COMMIT\n*nat\n")) != std::string::npos;) joined.erase(at, 12);
  EXPECT_EQ(joined, one.text());
}

TEST(Tables, OtherTablesAndCommentsArePassedOver) {
  const auto saved = parse_save(
      "# Warning: iptables-legacy tables present\n*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n"
      "*filter\n:INPUT DROP [1:2]\n:THEIRS - [0:0]\n-A INPUT -j THEIRS\n-A THEIRS -j DROP\nCOMMIT\n");
  ASSERT_TRUE(saved);
  EXPECT_EQ(saved->size(), 1U);
  EXPECT_EQ(saved->at(Table::Filter).foreign_rules, 2U);
  EXPECT_TRUE(saved->at(Table::Filter).chains.empty());
}

TEST(Tables, GarbageIsNamedByItsLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"-A INPUT -j DROP\n", "iptables-save: line 1: \"-A INPUT -j DROP\" is in no table"},
      {"*nat\n*filter\n", "iptables-save: line 2: a table begins in another one"},
      {"*nat\n:KUBE-SVC-X\n", "iptables-save: line 2: a chain without a policy"},
      {"*nat\nhello\n", "iptables-save: line 2: \"hello\" is neither table, chain nor rule"},
      {"*nat\n", "iptables-save: line 1: the last table has no COMMIT"},
  };
  for (const auto& [text, error] : cases) {
    const auto saved = parse_save(text);
    ASSERT_FALSE(saved) << text;
    EXPECT_EQ(saved.error().message(), error);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (auto n = random() % 60; n > 0; --n) text.push_back("*:-A \nCOMITnat[0"[random() % 16]);
    (void)parse_save(text).has_value();  // ends, and touches nothing it must not (asan)
  }
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::iptables
