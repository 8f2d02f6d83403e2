// kube-proxy's traces in a real kernel, made with the tools it uses itself, in a namespace of the test's own.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "agent/leftovers.h"
#include "base/strings.h"
#include "base/subprocess.h"

namespace fairlead::agent {
namespace {

using base::run_checked;

// In a thread with a network namespace of its own, which goes with it.
void in_new_namespace(const std::function<void()>& test) {
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
    test();
  }).join();
}

bool has_program(const char* name) { return std::filesystem::exists(base::cat("/usr/sbin/", name)); }

#define NEEDS(program) \
  if (!has_program(program)) GTEST_SKIP() << program << " is not installed: its traces are not made"

std::string run(const std::vector<std::string>& argv, std::string_view input = {}) {
  const auto out = run_checked(argv, input);
  EXPECT_TRUE(out) << out.error().message();
  return out ? *out : "";
}

// As kube-proxy in iptables mode leaves them, with kubelet's beside them.
constexpr std::string_view kRules = R"(*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*filter
:KUBE-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-PROXY-CANARY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-XPGD46QRK7WJZT7O - [0:0]
:KUBE-SEP-SXIVWICOYRO3J4NJ - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-SERVICES -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O
-A KUBE-SVC-XPGD46QRK7WJZT7O -m statistic --mode random --probability 0.5 -j KUBE-SEP-SXIVWICOYRO3J4NJ
-A CNI-HOSTPORT-SETMARK -j MARK --set-xmark 0x2000/0x2000
COMMIT
)";

class Iptables : public testing::TestWithParam<const char*> {
 protected:
  std::string program(const char* suffix) const { return base::cat(GetParam(), suffix); }
  bool is_legacy() const { return program("").ends_with("legacy"); }
  bool is_v6() const { return program("").starts_with("ip6"); }
};
INSTANTIATE_TEST_SUITE_P(Flavours, Iptables,
                         testing::Values("iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"),
                         [](const auto& about) {
                           std::string name = about.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(Iptables, ChainsAreFoundAndRemovedAndKubeletsStay) {
  NEEDS("iptables-legacy");
  in_new_namespace([&] {
    run({program("-restore"), "--noflush"}, kRules);
    const auto found = find_kube_proxy();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(*found, std::vector<std::string>{is_legacy() ? "iptables (legacy)" : "iptables (nft)"});

    const auto removed = remove_kube_proxy();
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_EQ(*removed, std::vector<std::string>{program(": chains removed")});

    const std::string saved = run({program("-save")});
    for (const char* gone : {"KUBE-SERVICES", "KUBE-SVC-", "KUBE-SEP-", "KUBE-POSTROUTING", "KUBE-MARK-MASQ",
                             "KUBE-FORWARD", "KUBE-PROXY-CANARY"}) {
      EXPECT_EQ(saved.find(gone), saved.npos) << gone << " in\n" << saved;
    }
    for (const char* stays :
         {"KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "-A INPUT -j KUBE-FIREWALL", "CNI-HOSTPORT-SETMARK -j MARK"}) {
      EXPECT_NE(saved.find(stays), saved.npos) << stays << " in\n" << saved;
    }
    EXPECT_TRUE(find_kube_proxy()->empty());
    EXPECT_TRUE(remove_kube_proxy()->empty());
  });
}

TEST_P(Iptables, AChainThatSomebodyElseUsesIsEmptiedAndStays) {
  NEEDS("iptables-legacy");
  in_new_namespace([&] {
    run({program("-restore"), "--noflush"}, kRules);
    run({GetParam(), "-t", "nat", "-A", "CNI-HOSTPORT-SETMARK", "-j", "KUBE-MARK-MASQ"});
    const auto removed = remove_kube_proxy();
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_EQ(removed->size(), 2U);
    const std::string saved = run({program("-save")});
    EXPECT_NE(saved.find("-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ"), saved.npos);
    EXPECT_EQ(saved.find("-A KUBE-MARK-MASQ"), saved.npos);
    EXPECT_EQ(saved.find("KUBE-SERVICES"), saved.npos);
  });
}

TEST_P(Iptables, OurOwnChainsOfTheSameNamesAreSpared) {
  NEEDS("iptables-legacy");
  in_new_namespace([&] {
    run({program("-restore"), "--noflush"}, kRules);
    const Spared ours{.iptables_chains = true, .nft_table = false};
    EXPECT_TRUE(find_kube_proxy(ours)->empty());
    const auto removed = remove_kube_proxy(ours);
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_TRUE(removed->empty());
    EXPECT_NE(run({program("-save")}).find("-j KUBE-SVC-XPGD46QRK7WJZT7O"), std::string::npos);
  });
}

TEST(Nftables, KubeProxysTablesGoAndNoOthers) {
  NEEDS("nft");
  in_new_namespace([] {
    run({"nft", "-f", "-"},
        "add table ip kube-proxy { comment \"rules for kube-proxy\"; }\n"
        "add chain ip kube-proxy services\n"
        "add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
        "add table ip6 kube-proxy\n"
        "add table ip fairlead\n");
    EXPECT_EQ(*find_kube_proxy(), std::vector<std::string>{"nftables"});
    EXPECT_TRUE(find_kube_proxy({.iptables_chains = false, .nft_table = true})->empty());
    const auto removed = remove_kube_proxy();
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_EQ(*removed, (std::vector<std::string>{"nftables: table ip kube-proxy removed",
                                                  "nftables: table ip6 kube-proxy removed"}));
    EXPECT_EQ(run({"nft", "list", "tables"}), "table ip fairlead\n");
  });
}

// Where the kernel cannot make kube-proxy's dummy interface, a bridge stands in for it.
void add_kube_ipvs0() {
  const auto dummy = base::run_process({"ip", "link", "add", "kube-ipvs0", "type", "dummy"});
  ASSERT_TRUE(dummy) << dummy.error().message();
  if (dummy->exit_code != 0) run({"ip", "link", "add", "kube-ipvs0", "type", "bridge"});
}

TEST(Ipvs, TheInterfaceGoesAndAKernelWithoutIpvsIsNoError) {
  in_new_namespace([] {
    add_kube_ipvs0();
    EXPECT_EQ(*find_kube_proxy(), std::vector<std::string>{"IPVS"});
    const auto removed = remove_kube_proxy();
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_EQ(*removed, std::vector<std::string>{"IPVS: virtual services and kube-ipvs0 removed"});
    EXPECT_TRUE(find_kube_proxy()->empty());
  });
}

class IpvsServices : public testing::Test {
 protected:
  void SetUp() override {
    NEEDS("ipvsadm");
    if (!std::filesystem::exists("/proc/net/ip_vs")) {
      GTEST_SKIP() << "this kernel has no IPVS: run it with tools/vm.py --modules ip_vs,ip_vs_rr,dummy";
    }
  }
  static void add_virtual_service() {
    run({"ip", "link", "set", "lo", "up"});  // without local routes no address is unicast
    run({"ipvsadm", "-A", "-t", "10.96.0.10:80", "-s", "rr"});
    run({"ipvsadm", "-a", "-t", "10.96.0.10:80", "-r", "10.244.1.10:8080", "-m"});
  }
};

TEST_F(IpvsServices, GoWithKubeProxysInterface) {
  in_new_namespace([] {
    add_kube_ipvs0();
    add_virtual_service();
    const auto removed = remove_kube_proxy();
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_EQ(run({"ipvsadm", "-S", "-n"}), "");
  });
}

TEST_F(IpvsServices, OfSomebodyElseStay) {
  in_new_namespace([] {
    add_virtual_service();
    EXPECT_TRUE(remove_kube_proxy()->empty());
    EXPECT_NE(run({"ipvsadm", "-S", "-n"}).find("10.96.0.10:80"), std::string::npos);
  });
}

TEST(Ipsets, KubeProxysGoAndNoOthers) {
  NEEDS("ipset");
  in_new_namespace([] {
    run({"ipset", "create", "KUBE-CLUSTER-IP", "hash:ip,port"});
    run({"ipset", "create", "KUBE-6-LOOP-BACK", "hash:ip,port,ip", "family", "inet6"});
    run({"ipset", "create", "mine", "hash:ip"});
    const auto removed = remove_kube_proxy();
    ASSERT_TRUE(removed) << removed.error().message();
    EXPECT_EQ(run({"ipset", "list", "-n"}), "mine\n");
  });
}

}  // namespace
}  // namespace fairlead::agent
