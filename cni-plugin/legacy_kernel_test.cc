// The firewall plugin on hosts whose iptables is iptables-legacy, with its own tools beside it.
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/strings.h"
#include "cni-plugin/legacy_forward.h"
#include "cni-plugin/nft_network_test.h"
#include "net/xtables/kernel.h"

namespace fairlead::cni::testing {
namespace {

class CniLegacy : public Network {
 protected:
  // The xtables lock of the test's own: the machine's is nobody's business here.
  void SetUp() override {
    ::setenv("XTABLES_LOCKFILE", lock_.c_str(), 1);
    Network::SetUp();
  }
  void TearDown() override {
    ::unsetenv("XTABLES_LOCKFILE");
    ::unlink(lock_.c_str());
  }
  Call pod(const std::string& name, const std::string& more = "") {
    return call(name, base::cat(R"({"type": "firewall")", more, "}"));
  }
  void add(const Call& call) {
    on_host([&]() -> Status {
      TRY(kFirewall.add(call, {}));
      return {};
    });
  }
  std::string saved(const std::string& tool = "iptables-legacy-save -c -t filter") {
    return output_on_host(tool + " | grep -v '^#'");
  }
  std::string lock_ = base::cat("/tmp/fairlead-xtables-lock.", ::getpid());
};

TEST_F(CniLegacy, APodPassesAPolicyOfDrop) {
  run_on_host("iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP");
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  EXPECT_TRUE(silent_tcp(outside, "a", "192.0.2.2", 9000));
  EXPECT_TRUE(silent_tcp(outside, "a", "fd00:2::2", 9000));
  add(pod("a"));
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
  EXPECT_EQ(seen_tcp(outside, "a", "fd00:2::2", 9000), "fd00:1::5");
  EXPECT_TRUE(silent_tcp(outside, "b", "192.0.2.2", 9000));
  on_host([&] { return kFirewall.check(pod("a"), {}); });
  on_host([&] { return kFirewall.del(pod("a"), {}); });
  EXPECT_TRUE(silent_tcp(outside, "a", "192.0.2.2", 9000));
}

TEST_F(CniLegacy, WhatStandsInTheTableStaysWithItsCounters) {
  run_on_host(
      "iptables-legacy -P FORWARD DROP; iptables-legacy -N OTHER; iptables-legacy -N THIRD;"
      "iptables-legacy -A OTHER -s 10.9.0.0/16 -p tcp -m multiport --dports 80,443 -m comment --comment why -j THIRD;"
      "iptables-legacy -A OTHER -m conntrack --ctstate INVALID -j DROP; iptables-legacy -A OTHER;"
      "iptables-legacy -A FORWARD -i lo -j OTHER; iptables-legacy -A FORWARD -g THIRD -d 10.8.0.1;"
      "iptables-legacy -A INPUT -j OTHER -c 7 420; iptables-legacy -A OUTPUT -j LOG -m limit --limit 1/hour");
  const std::string before = saved();
  EXPECT_NE(before.find("[7:420] -A INPUT -j OTHER"), std::string::npos) << before;
  add(pod("a", R"(, "iptablesAdminChainName": "MINE")"));
  const std::string after = saved();
  std::string rest;
  for (const std::string_view line : base::split(after, '\n')) {
    if (line.find("CNI-FORWARD") == line.npos && line.find(":MINE") == line.npos && !line.empty())
      rest += base::cat(line, "\n");
  }
  EXPECT_EQ(rest, before);
  EXPECT_EQ(output_on_host("iptables-legacy -S FORWARD; iptables-legacy -S CNI-FORWARD"),
            "-P FORWARD DROP\n-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD\n"
            "-A FORWARD -i lo -j OTHER\n-A FORWARD -d 10.8.0.1/32 -g THIRD\n-N CNI-FORWARD\n"
            "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides: MINE\" -j MINE\n"
            "-A CNI-FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment \"pods of fairlead-cni\" -j ACCEPT\n");
  // The same again changes nothing, and iptables goes on with what it finds.
  add(pod("a", R"(, "iptablesAdminChainName": "MINE")"));
  EXPECT_EQ(saved(), after);
  run_on_host("iptables-legacy-save -c | iptables-legacy-restore -c; iptables-legacy -A MINE -d 192.0.2.7 -j DROP");
  on_host([&] { return kFirewall.check(pod("a", R"(, "iptablesAdminChainName": "MINE")"), {}); });
}

TEST_F(CniLegacy, TheOperatorsChainComesFirstAndACheckMissesWhatIsGone) {
  run_on_host("iptables-legacy -P FORWARD DROP; iptables-legacy -N CNI-ADMIN");
  run_on_host("iptables-legacy -A CNI-ADMIN -d 192.0.2.2 -j DROP");
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  add(pod("a"));
  EXPECT_TRUE(silent_tcp(outside, "a", "192.0.2.2", 9000));
  run_on_host("iptables-legacy -F CNI-ADMIN");
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
  run_on_host("iptables-legacy -D FORWARD 1");
  EXPECT_EQ(status_on_host([&] { return kFirewall.check(pod("a"), {}); }).error().message(),
            "iptables-legacy: a rule of CNI-FORWARD is missing");
  add(pod("a"));
  on_host([&] { return kFirewall.check(pod("a"), {}); });
}

TEST_F(CniLegacy, WithoutALegacyTableNoneIsMade) {
  add(pod("a"));
  EXPECT_EQ(output_on_host("cat /proc/thread-self/net/ip_tables_names /proc/thread-self/net/ip6_tables_names"), "");
}

// Both sides change the table at once: neither loses a rule.
TEST_F(CniLegacy, WritersBesideIptablesLoseNothing) {
  run_on_host("iptables-legacy -P FORWARD DROP");
  constexpr int kChains = 8;
  constexpr int kRules = 25;
  std::vector<std::thread> writers;
  std::atomic<int> failed = 0;
  for (int i = 0; i < kChains; ++i) {
    writers.emplace_back([&, i] {
      const Status done = status_on_host([&] {
        return net::xtables::change_table(Family::V4, "filter", [&](net::xtables::Table& table) {
          table.find_or_add(base::cat("CHAIN-", i));
          return true;
        });
      });
      if (!done) ++failed;
    });
  }
  for (int i = 0; i < kRules; ++i) run_on_host(base::cat("iptables-legacy -w 5 -A INPUT -s 10.9.0.", i, " -j ACCEPT"));
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(output_on_host("iptables-legacy -S | grep -c CHAIN-"), base::cat(kChains, "\n"));
  EXPECT_EQ(output_on_host("iptables-legacy -S INPUT | grep -c 10.9.0"), base::cat(kRules, "\n"));
}

TEST_F(CniLegacy, ATableOfTenThousandRulesIsNoObstacle) {
  run_on_host(
      "(echo '*filter'; for i in $(seq 1 10000); do echo \"-A INPUT -s 10.$((i / 250)).$((i % 250)).1 -j ACCEPT\"; "
      "done;"
      " echo COMMIT) | iptables-legacy-restore; iptables-legacy -P FORWARD DROP");
  add(pod("a"));
  EXPECT_EQ(output_on_host("iptables-legacy -S INPUT | grep -c ACCEPT"), "10001\n");
  on_host([&] { return kFirewall.check(pod("a"), {}); });
}

}  // namespace
}  // namespace fairlead::cni::testing
