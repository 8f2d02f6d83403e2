// sessionAffinity ClientIP on a real kernel.
#include <chrono>

#include "proxy/dataplane/nftables/kernel_fixture_test.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kDeadline = std::chrono::seconds(60);

class NftablesAffinity : public NftablesKernel {
 protected:
  // ClusterIP and NodePort of one service port.
  static model::ServiceState sticky(Family family, const std::vector<std::string>& pods, std::uint32_t seconds) {
    auto state =
        service("sticky", {cluster_ip(service_ip(family).to_string(), 80), node_port(30080)}, at(pods, family));
    state.ports[0].affinity_seconds = seconds;
    return state;
  }
  static std::string server_of(const std::string& answer) { return answer.substr(0, answer.find(' ')); }
  static std::string server(const std::string& from, Family family) {
    return server_of(ask(from, service_ip(family), 80));
  }
  static bool remembered(Family family) {
    return nft({"list", "map", family == Family::V4 ? "ip" : "ip6", "fairlead", "sticky"}).find("expires") !=
           std::string::npos;
  }
  static bool forgotten_in_time(Family family) {
    for (const auto start = Clock::now(); Clock::now() - start < kDeadline;) {
      if (!remembered(family)) return true;
    }
    return false;
  }
  static std::vector<std::string> all_but(const std::string& gone) {
    std::vector<std::string> rest;
    for (const std::string pod : {"pod1b", "pod1c", "pod2a", "pod2b", "pod2c"}) {
      if (pod != gone) rest.push_back(pod);
    }
    return rest;
  }
};

TEST_F(NftablesAffinity, AClientStaysWithItsEndpointThroughEveryFrontendOfThePort) {
  for (Family family : kBothFamilies) {
    replace({sticky(family, all_but(""), 10800)});
    for (const std::string from : {"pod1a", "node1"}) {
      const std::string first = server(from, family);
      EXPECT_EQ(first.substr(0, 3), "pod");
      for (const auto& attempt : connect(from, {.to = {service_ip(family), 80, Transport::Tcp}, .count = 20})) {
        EXPECT_EQ(attempt.answer, first) << attempt.error;
      }
      for (const auto& attempt : connect(from, {.to = {ip_of("node1", family), 30080, Transport::Tcp}, .count = 20})) {
        EXPECT_EQ(attempt.answer, first) << attempt.error;
      }
    }
  }
}

TEST_F(NftablesAffinity, NewClientsAreBalanced) {
  replace({sticky(Family::V4, all_but(""), 10800)});
  std::map<std::string, int> counts;
  for (int i = 0; i < 40; ++i) {
    ++counts[server("pod1a", Family::V4)];
    nft({"flush", "map", "ip", "fairlead", "sticky"});  // as if it were somebody else
  }
  // Five servers, forty clients: that one of them is chosen by none has a probability of 5 * 0.8^40, 0.07 percent.
  EXPECT_EQ(counts.size(), 5U);
}

TEST_F(NftablesAffinity, WithoutNewConnectionsAClientIsForgotten) {
  for (Family family : kBothFamilies) {
    replace({sticky(family, all_but(""), 1)});
    std::set<std::string> seen;
    for (const auto start = Clock::now(); seen.size() < 2 && Clock::now() - start < kDeadline;) {
      seen.insert(server("pod1a", family));
      ASSERT_TRUE(forgotten_in_time(family));
    }
    EXPECT_EQ(seen.size(), 2U);
  }
}

TEST_F(NftablesAffinity, EveryNewConnectionRestartsTheTime) {
  constexpr auto kTime = std::chrono::seconds(3);
  replace({sticky(Family::V4, all_but(""), static_cast<std::uint32_t>(kTime.count()))});
  std::string first = server("pod1a", Family::V4);
  auto start = Clock::now();
  auto last = start;
  for (const auto begin = start; Clock::now() - start < 3 * kTime && Clock::now() - begin < kDeadline;) {
    const std::string now = server("pod1a", Family::V4);
    if (Clock::now() - last < kTime) {
      ASSERT_EQ(now, first);
    } else {  // this machine was too slow: begin again
      first = now;
      start = Clock::now();
    }
    last = Clock::now();
  }
  EXPECT_GE(Clock::now() - start, 3 * kTime);
}

TEST_F(NftablesAffinity, AnEndpointThatLeavesLosesItsClientsAndNobodyElseDoes) {
  for (Family family : kBothFamilies) {
    replace({sticky(family, all_but(""), 10800)});
    std::map<std::string, std::string> before;
    for (const std::string from : {"pod1a", "node1", "pod1b"}) before[from] = server(from, family);
    const std::string gone = before["pod1a"];
    ASSERT_TRUE(dataplane_->apply({{sticky(family, all_but(gone), 10800)}, {}}).ok());
    std::map<std::string, std::string> after;
    for (const auto& [from, was] : before) {
      after[from] = server(from, family);
      EXPECT_EQ(after[from].substr(0, 3), "pod");
      EXPECT_NE(after[from], gone);
      if (was != gone) {
        EXPECT_EQ(after[from], was);
      }
    }
    // It comes back: those who have somebody else now stay there.
    ASSERT_TRUE(dataplane_->apply({{sticky(family, all_but(""), 10800)}, {}}).ok());
    for (const auto& [from, now] : after) EXPECT_EQ(server(from, family), now);
  }
}

TEST_F(NftablesAffinity, OnlyMembersOfThePoolAClientIsServedFromCount) {
  for (Family family : kBothFamilies) {
    auto state = sticky(family, all_but(""), 10800);
    state.ports[0].local_endpoints = at({"pod1b"}, family);
    state.ports[0].frontends[1].pool = model::Pool::Local;
    state.ports[0].frontends[1].masquerade = model::Masquerade::Never;
    replace({state});
    const net::Ip node = ip_of("node1", family);
    const auto through_node_port = [&] { return server_of(ask("pod1a", node, 30080)); };
    server("pod1a", family);
    EXPECT_EQ(through_node_port(), "pod1b");
    EXPECT_EQ(server("pod1a", family), "pod1b");  // which is in the other pool too
    EXPECT_EQ(through_node_port(), "pod1b");
  }
}

TEST_F(NftablesAffinity, ItsTimeCanBeChanged) {
  replace({sticky(Family::V4, all_but(""), 10800)});
  const std::string first = server("pod1a", Family::V4);
  ASSERT_TRUE(dataplane_->apply({{sticky(Family::V4, all_but(""), 1)}, {}}).ok());
  EXPECT_EQ(server("pod1a", Family::V4), first);
  EXPECT_TRUE(forgotten_in_time(Family::V4));
  ASSERT_TRUE(dataplane_->apply({{sticky(Family::V4, all_but(""), 0)}, {}}).ok());
  EXPECT_EQ(server("pod1a", Family::V4).substr(0, 3), "pod");
  EXPECT_FALSE(remembered(Family::V4));
}

TEST_F(NftablesAffinity, ARestartAdoptsGroupsAndClientsStay) {
  for (Family family : kBothFamilies) {
    const std::vector<model::ServiceState> services{sticky(family, all_but(""), 10800)};
    replace(services);
    const std::string first = server("pod1a", family);
    const std::string before = dump_text(*dataplane_);
    start();
    EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U);
    EXPECT_EQ(dump_text(*dataplane_), before);
    EXPECT_EQ(server("pod1a", family), first);
    EXPECT_FALSE(notified(0));  // what packets write is no change of the table
    model::NodeState node;
    node.pods.sources = {prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")};
    EXPECT_GT(dataplane_->replace(node, services).kernel_writes, 0U);
    EXPECT_EQ(server("pod1a", family), first);
    nft({"list", "ruleset"});  // and it does not die of it
  }
}

TEST_F(NftablesAffinity, GroupsThatSomebodyElseBreaksAreRepaired) {
  const std::vector<model::ServiceState> services{sticky(Family::V4, all_but(""), 10800)};
  replace(services);
  const std::string first = server("pod1a", Family::V4);
  const std::string before = dump_text(*dataplane_);
  for (const std::string map : {"sessions", "shares", "choices", "members"}) {
    nft({"flush", "map", "ip", "fairlead", map});
    ASSERT_TRUE(notified(5000)) << map;
    EXPECT_GT(dataplane_->handle_notification().kernel_writes, 0U) << map;
    EXPECT_EQ(dump_text(*dataplane_), before) << map;
    EXPECT_EQ(server("pod1a", Family::V4), first) << map;
  }
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
