// Masquerade, host ports, firewall and source checks by what packets do, in namespaces of their own.
#include <linux/membarrier.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>

#include "base/strings.h"
#include "cni-plugin/firewall.h"
#include "cni-plugin/masquerade.h"
#include "cni-plugin/nft_network_test.h"
#include "cni-plugin/portmap.h"
#include "cni-plugin/spoof.h"

namespace fairlead::cni::testing {
namespace {

std::string ports(const std::string& mappings, const std::string& more = "") {
  return R"({"type": "portmap", "runtimeConfig": {"portMappings": [)" + mappings + "]}" + more + "}";
}
const char* const kTcp = R"({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"})";
const char* const kUdp = R"({"hostPort": 5353, "containerPort": 53, "protocol": "udp"})";

class CniNft : public Network {
 protected:
  void masquerade(const Call& call) {
    on_host([&] { return add_masquerade(call, call.previous->ips); });
  }
  void add(const Plugin& plugin, const Call& call) {
    on_host([&]() -> Status {
      EXPECT_EQ(TRY(plugin.add(call, {})), *call.previous);
      return {};
    });
  }
  void del(const Plugin& plugin, const Call& call) {
    on_host([&] { return plugin.del(call, {}); });
  }
  // As the runtime calls when it has lost everything but the attachment.
  Call bare(const Call& call) {
    Call out = call;
    out.previous.reset();
    out.config = base::parse_json(R"({"type": "x"})").value();
    return out;
  }
  std::vector<std::string> comments() {
    std::vector<std::string> all;
    on_host([&]() -> Status {
      Tables tables = TRY(Tables::open());
      all = TRY(tables.comments());
      return {};
    });
    return all;
  }
  std::string ruleset() { return output_on_host("nft list ruleset 2>/dev/null"); }
};

TEST_F(CniNft, APodLeavesItsSubnetWithTheHostsAddress) {
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  const Server neighbour(in("b"), SOCK_STREAM, 9000);
  const Server other(in("c"), SOCK_STREAM, 9000);
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
  masquerade(call("a", "{}"));
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "192.0.2.1");
  EXPECT_EQ(seen_tcp(outside, "a", "fd00:2::2", 9000), "fd00:2::1");
  EXPECT_EQ(seen_tcp(other, "a", "10.3.0.5", 9000), "10.3.0.1");
  EXPECT_EQ(seen_tcp(neighbour, "a", "10.1.0.6", 9000), "10.1.0.5");
  EXPECT_EQ(seen_tcp(outside, "b", "192.0.2.2", 9000), "10.1.0.6");
  on_host([&] { return check_masquerade(call("a", "{}"), call("a", "{}").previous->ips); });
  on_host([&] { return del_masquerade(bare(call("a", "{}"))); });
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
  EXPECT_TRUE(comments().empty());
}

// The host routes between the two halves of a subnet that two networks share: the length says what is near.
TEST_F(CniNft, SubnetsOfSeveralLengthsStandSideBySide) {
  const Server other(in("c"), SOCK_STREAM, 9000);
  Call wide = call("a", "{}");
  wide.previous->ips[0].address.length = 8;
  masquerade(wide);
  masquerade(call("b", "{}"));
  EXPECT_EQ(seen_tcp(other, "a", "10.3.0.5", 9000), "10.1.0.5");
  EXPECT_EQ(seen_tcp(other, "b", "10.3.0.5", 9000), "10.3.0.1");
}

TEST_F(CniNft, AHostPortLeadsToThePodFromEverywhere) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  const Call a = call("a", ports(kTcp));
  add(kPortmap, a);
  EXPECT_EQ(seen_tcp(pod, "outside", "192.0.2.1", 8080), "192.0.2.2");
  EXPECT_EQ(seen_tcp(pod, "outside", "fd00:2::1", 8080), "fd00:2::2");
  EXPECT_EQ(seen_tcp(pod, "host", "127.0.0.1", 8080), "10.1.0.1");
  EXPECT_EQ(seen_tcp(pod, "host", "192.0.2.1", 8080), "192.0.2.1");
  EXPECT_EQ(seen_tcp(pod, "host", "fd00:2::1", 8080), "fd00:2::1");
  EXPECT_EQ(seen_tcp(pod, "a", "192.0.2.1", 8080), "10.1.0.1");  // hairpin
  EXPECT_EQ(seen_tcp(pod, "a", "fd00:2::1", 8080), "fd00:1::1");
  EXPECT_EQ(seen_tcp(pod, "b", "192.0.2.1", 8080), "10.1.0.1");  // would be answered past the host
  EXPECT_EQ(seen_tcp(pod, "b", "fd00:1::1", 8080), "fd00:1::1");
  EXPECT_EQ(seen_tcp(pod, "c", "192.0.2.1", 8080), "10.3.0.5");
  EXPECT_TRUE(silent_tcp(pod, "outside", "192.0.2.1", 8081));
  on_host([&] { return kPortmap.check(a, {}); });
  del(kPortmap, bare(a));
  EXPECT_TRUE(silent_tcp(pod, "outside", "192.0.2.1", 8080));
  EXPECT_FALSE(status_on_host([&] { return kPortmap.check(a, {}); }));
  EXPECT_TRUE(comments().empty());
}

TEST_F(CniNft, AConditionSaysWhoReachesAHostPort) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  const Call a = call("a", ports(kTcp, R"(, "conditionsV4": ["!", "-s", "192.0.2.0/24", "-m", "comment", "--comment",
      "not from there"], "conditionsV6": ["ip6", "saddr", "!=", "fd00:2::2"])"));
  add(kPortmap, a);
  EXPECT_TRUE(silent_tcp(pod, "outside", "192.0.2.1", 8080));
  EXPECT_TRUE(silent_tcp(pod, "outside", "fd00:2::1", 8080));
  EXPECT_EQ(seen_tcp(pod, "c", "192.0.2.1", 8080), "10.3.0.5");
  EXPECT_EQ(seen_tcp(pod, "host", "127.0.0.1", 8080), "10.1.0.1");
  EXPECT_EQ(seen_tcp(pod, "a", "192.0.2.1", 8080), "10.1.0.1");  // hairpin
  EXPECT_EQ(seen_tcp(pod, "a", "fd00:2::1", 8080), "fd00:1::1");
  on_host([&] { return kPortmap.check(a, {}); });
  del(kPortmap, bare(a));
  EXPECT_TRUE(silent_tcp(pod, "c", "192.0.2.1", 8080));
  EXPECT_FALSE(status_on_host([&] { return kPortmap.check(a, {}); }));
  EXPECT_TRUE(comments().empty());
}

TEST_F(CniNft, OneHostPortIsOfTwoPodsUnderTwoConditions) {
  const Server first(in("a"), SOCK_STREAM, 80);
  const Server second(in("b"), SOCK_STREAM, 80);
  const Server third(in("c"), SOCK_STREAM, 80);
  add(kPortmap, call("a", ports(kTcp, R"(, "conditionsV4": ["ip daddr 192.0.2.1"])")));
  add(kPortmap,
      call("b", ports(kTcp, R"(, "conditionsV4": ["-d", "10.3.0.1/32"], "conditionsV6": ["-d", "fd00:2::1"])")));
  add(kPortmap, call("c", ports(kTcp)));
  EXPECT_EQ(seen_tcp(first, "outside", "192.0.2.1", 8080), "192.0.2.2");
  EXPECT_EQ(seen_tcp(second, "outside", "10.3.0.1", 8080), "192.0.2.2");
  EXPECT_EQ(seen_tcp(second, "outside", "fd00:2::1", 8080), "fd00:2::2");
  EXPECT_EQ(seen_tcp(third, "outside", "10.1.0.1", 8080), "192.0.2.2") << "who has no condition has the rest";
  del(kPortmap, bare(call("a", "{}")));
  EXPECT_EQ(seen_tcp(third, "outside", "192.0.2.1", 8080), "192.0.2.2");
}

// iptables: what the host itself sends comes in by no interface, so that every "! -i" is met and no "-i".
TEST_F(CniNft, AnInputInterfaceIsACondition) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  add(kPortmap, call("a", ports(kTcp, R"(, "conditionsV4": ["-i", "cni+"])")));
  EXPECT_EQ(seen_tcp(pod, "b", "192.0.2.1", 8080), "10.1.0.1");
  EXPECT_TRUE(silent_tcp(pod, "outside", "192.0.2.1", 8080));
  EXPECT_TRUE(silent_tcp(pod, "host", "192.0.2.1", 8080));
  del(kPortmap, bare(call("a", "{}")));
  add(kPortmap, call("a", ports(kTcp, R"(, "conditionsV4": ["!", "-i", "cni0", "-m", "mark", "--mark", "0/0xff",
      "-m", "addrtype", "--dst-type", "LOCAL"])")));
  EXPECT_TRUE(silent_tcp(pod, "b", "192.0.2.1", 8080));
  EXPECT_EQ(seen_tcp(pod, "outside", "192.0.2.1", 8080), "192.0.2.2");
  EXPECT_EQ(seen_tcp(pod, "host", "192.0.2.1", 8080), "192.0.2.1");
}

TEST_F(CniNft, AHostAddressAndAConditionAreBothMet) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  const Call a = call("a", ports(R"({"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"},
      {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "fd00:2::1"})",
                                 R"(, "conditionsV4": ["-s", "192.0.2.2"], "conditionsV6": ["-s", "fd00:2::/64"])"));
  add(kPortmap, a);
  EXPECT_EQ(seen_tcp(pod, "outside", "192.0.2.1", 8080), "192.0.2.2");
  EXPECT_EQ(seen_tcp(pod, "outside", "fd00:2::1", 8080), "fd00:2::2");
  EXPECT_TRUE(silent_tcp(pod, "c", "192.0.2.1", 8080));
  EXPECT_TRUE(silent_tcp(pod, "outside", "10.3.0.1", 8080));
  del(kPortmap, a);
  EXPECT_TRUE(comments().empty());
}

TEST_F(CniNft, AHostPortOfOneAddressIsOpenThereOnly) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  const Server any(in("b"), SOCK_STREAM, 80);
  add(kPortmap, call("b", ports(kTcp)));
  add(kPortmap,
      call("a", ports(R"({"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"})")));
  EXPECT_EQ(seen_tcp(pod, "outside", "192.0.2.1", 8080), "192.0.2.2");
  EXPECT_EQ(seen_tcp(any, "outside", "fd00:2::1", 8080), "fd00:2::2");
  EXPECT_EQ(seen_tcp(any, "c", "10.3.0.1", 8080), "10.3.0.5");
}

TEST_F(CniNft, AnUnspecifiedHostAddressOpensItsFamily) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  add(kPortmap, call("a", ports(R"({"hostPort": 8080, "containerPort": 80, "protocol": "TCP", "hostIP": "::"})")));
  EXPECT_EQ(seen_tcp(pod, "outside", "fd00:2::1", 8080), "fd00:2::2");
  EXPECT_TRUE(silent_tcp(pod, "outside", "192.0.2.1", 8080));
}

TEST_F(CniNft, WithoutSnatNobodyIsMasqueraded) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  add(kPortmap, call("a", ports(kTcp, R"(, "snat": false)")));
  EXPECT_EQ(seen_tcp(pod, "c", "192.0.2.1", 8080), "10.3.0.5");
  EXPECT_TRUE(silent_tcp(pod, "host", "127.0.0.1", 8080));
  EXPECT_EQ(output_on_host("cat /proc/sys/net/ipv4/conf/cni0/route_localnet"), "0\n");
}

TEST_F(CniNft, WithMasqAllEverybodyIsMasqueraded) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  add(kPortmap, call("a", ports(kTcp, R"(, "masqAll": true, "markMasqBit": 20)")));
  EXPECT_EQ(seen_tcp(pod, "outside", "192.0.2.1", 8080), "10.1.0.1");
  EXPECT_EQ(seen_tcp(pod, "outside", "fd00:2::1", 8080), "fd00:1::1");
  EXPECT_EQ(seen_tcp(pod, "host", "127.0.0.1", 8080), "10.1.0.1");
}

TEST_F(CniNft, LocalhostPortsDoNotOpenLocalhostToPods) {
  const Server local(in("host"), SOCK_STREAM, 7000);
  add(kPortmap, call("a", ports(kTcp)));
  ASSERT_EQ(output_on_host("cat /proc/sys/net/ipv4/conf/cni0/route_localnet"), "1\n");
  ASSERT_EQ(seen_tcp(local, "host", "127.0.0.1", 7000), "127.0.0.1");
  // The pod sends to 127.0.0.1 through the bridge.
  ASSERT_TRUE(testbed::in_namespace(in("a"), [&]() -> Status {
    TRY(testbed::set_sysctls({{"net/ipv4/conf/all/route_localnet", "1"}}));
    const int code = ::system(
        "ip rule add to 127.0.0.1 lookup 100 pref 0 2>/dev/null; ip rule add lookup local pref 10; "
        "ip rule del pref 0 lookup local; ip route add 127.0.0.1 via 10.1.0.1 src 10.1.0.5 table 100");
    return code == 0 ? Status() : Error("ip rule");
  }));
  EXPECT_TRUE(silent_tcp(local, "a", "127.0.0.1", 7000));
  run_on_host("nft flush chain inet fairlead-cni input");
  EXPECT_FALSE(silent_tcp(local, "a", "127.0.0.1", 7000)) << "or the test proves nothing";
}

TEST_F(CniNft, UdpPortsAnswerFromTheHost) {
  const Server pod(in("a"), SOCK_DGRAM, 53);
  add(kPortmap, call("a", ports(kUdp)));
  EXPECT_EQ(seen_udp(pod, "outside", "192.0.2.1", 5353), "192.0.2.2");
  EXPECT_EQ(seen_udp(pod, "outside", "fd00:2::1", 5353), "fd00:2::2");
  EXPECT_EQ(seen_udp(pod, "host", "127.0.0.1", 5353), "10.1.0.1");
  EXPECT_EQ(seen_udp(pod, "b", "192.0.2.1", 5353), "10.1.0.1");
}

// plugins#1190: a client that never stops sending sticks to what its first packet met.
TEST_F(CniNft, AUdpClientFollowsThePortFromPodToPod) {
  const Server a(in("a"), SOCK_DGRAM, 53);
  const Server b(in("b"), SOCK_DGRAM, 53);
  const base::Fd client = udp_client("outside");  // one socket for all of it, as the flow is one
  const auto arrives_at = [&](bool expected = true) {
    return receiver(client, "192.0.2.1", 5353, {{"a", &a}, {"b", &b}}, expected);
  };
  EXPECT_EQ(arrives_at(false), "");
  add(kPortmap, call("a", ports(kUdp)));
  EXPECT_EQ(arrives_at(), "a");
  add(kPortmap, call("b", ports(kUdp)));  // the newest has it
  EXPECT_EQ(arrives_at(), "b");
  del(kPortmap, bare(call("a", ports(kUdp))));  // which takes nothing from b
  EXPECT_EQ(arrives_at(), "b");
  del(kPortmap, bare(call("b", ports(kUdp))));
  EXPECT_EQ(arrives_at(false), "");
}

TEST_F(CniNft, APortOfADeadPodIsTakenOverAndStaysTaken) {
  const Server b(in("b"), SOCK_STREAM, 80);
  add(kPortmap, call("a", ports(kTcp)));
  add(kPortmap, call("b", ports(kTcp)));
  EXPECT_EQ(seen_tcp(b, "outside", "192.0.2.1", 8080), "192.0.2.2");
  del(kPortmap, bare(call("a", ports(kTcp))));
  EXPECT_EQ(seen_tcp(b, "outside", "192.0.2.1", 8080), "192.0.2.2");
}

// The dead pod's address and port come back with a new container: the element is the new one's.
TEST_F(CniNft, AnElementOfTheSameValueChangesItsOwner) {
  const Server a(in("a"), SOCK_STREAM, 80);
  const Call old = call("a", ports(kTcp), "old");
  add(kPortmap, old);
  add(kPortmap, call("a", ports(kTcp), "new"));
  del(kPortmap, bare(old));
  EXPECT_EQ(seen_tcp(a, "outside", "192.0.2.1", 8080), "192.0.2.2");
}

TEST_F(CniNft, TwiceIsOnceAndNothingIsNoError) {
  const Call a = call("a", ports(kTcp));
  del(kPortmap, bare(a));
  on_host([&] { return del_masquerade(a); });
  add(kPortmap, a);
  masquerade(a);
  add(kFirewall, a);
  const auto guard = [&] { return add_spoof_check(a, "va", {2, 0, 0, 3, 0, 5}); };
  on_host(guard);
  const std::string once = ruleset();
  add(kPortmap, a);
  masquerade(a);
  add(kFirewall, a);
  on_host(guard);
  EXPECT_EQ(ruleset(), once);
  del(kPortmap, a);
  del(kPortmap, a);
}

TEST_F(CniNft, AFlushedTableComesBackWithTheNextPod) {
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  const Server pod(in("a"), SOCK_STREAM, 80);
  for (const char* flush : {"nft flush ruleset", "nft flush table inet fairlead-cni"}) {
    masquerade(call("a", "{}"));
    add(kPortmap, call("a", ports(kTcp)));
    run_on_host(flush);
    masquerade(call("b", "{}"));
    EXPECT_EQ(seen_tcp(outside, "b", "192.0.2.2", 9000), "192.0.2.1") << flush;
    on_host([&] { return del_masquerade(bare(call("b", "{}"))); });
    del(kPortmap, bare(call("a", "{}")));
  }
  run_on_host("nft flush ruleset");
  del(kPortmap, bare(call("a", "{}")));
}

// What others' elements need comes back with the rules: only these were flushed.
TEST_F(CniNft, RulesComeBackForEverybodysElements) {
  const Server pod(in("a"), SOCK_STREAM, 80);
  Call wide = call("a", ports(kTcp));
  wide.previous->ips[0].address.length = 16;
  add(kPortmap, wide);
  run_on_host("nft flush table inet fairlead-cni");
  masquerade(call("c", "{}"));
  EXPECT_EQ(seen_tcp(pod, "b", "192.0.2.1", 8080), "10.1.0.1");
}

TEST_F(CniNft, ForwardingIsOpenWhereIptablesDrops) {
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  const Server pod(in("a"), SOCK_STREAM, 80);
  run_on_host("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
  add(kPortmap, call("a", ports(kTcp)));
  EXPECT_TRUE(silent_tcp(outside, "a", "192.0.2.2", 9000));
  EXPECT_TRUE(silent_tcp(pod, "outside", "192.0.2.1", 8080));
  add(kFirewall, call("a", R"({"type": "firewall"})"));
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
  EXPECT_EQ(seen_tcp(outside, "a", "fd00:2::2", 9000), "fd00:1::5");
  EXPECT_EQ(seen_tcp(pod, "outside", "192.0.2.1", 8080), "192.0.2.2");
  EXPECT_TRUE(silent_tcp(pod, "outside", "10.1.0.5", 80));  // nobody asked for that, nor translated it
  EXPECT_TRUE(silent_tcp(outside, "b", "192.0.2.2", 9000));
  del(kFirewall, bare(call("a", "{}")));
  EXPECT_TRUE(silent_tcp(outside, "a", "192.0.2.2", 9000));
}

TEST_F(CniNft, IptablesStillReadsItsTable) {
  run_on_host("iptables -P FORWARD DROP; iptables -A FORWARD -s 10.9.9.9 -j ACCEPT");
  add(kFirewall, call("a", R"({"type": "firewall", "iptablesAdminChainName": "MINE"})"));
  EXPECT_EQ(output_on_host("iptables -S 2>&1"),
            "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N CNI-FORWARD\n-N MINE\n"
            "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD\n"
            "-A FORWARD -s 10.9.9.9/32 -j ACCEPT\n"
            "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides: MINE\" -j MINE\n"
            "-A CNI-FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment \"pods of fairlead-cni\" -j ACCEPT\n");
  // And restores what it saved.
  run_on_host("iptables-save | iptables-restore");
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
}

TEST_F(CniNft, TheOperatorsChainHasTheFirstWord) {
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  run_on_host("iptables -P FORWARD DROP; iptables -N CNI-ADMIN; iptables -A CNI-ADMIN -d 192.0.2.2 -j DROP");
  add(kFirewall, call("a", R"({"type": "firewall"})"));
  EXPECT_TRUE(silent_tcp(outside, "a", "192.0.2.2", 9000));
}

TEST_F(CniNft, TheMarkDoesNotOutliveForwarding) {
  run_on_host(
      "nft 'add table inet seen; add chain inet seen c { type filter hook postrouting priority 0; }; "
      "add rule inet seen c ip saddr 10.1.0.5 meta mark & 0x1000 != 0 drop'");
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  add(kFirewall, call("a", R"({"type": "firewall"})"));
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
}

TEST_F(CniNft, SameBridgeKeepsOtherBridgesOut) {
  const Server b(in("b"), SOCK_STREAM, 80);
  const Server c(in("c"), SOCK_STREAM, 80);
  const char* const config = R"({"type": "firewall", "ingressPolicy": "same-bridge"})";
  for (const char* pod : {"a", "b", "c"}) add(kFirewall, call(pod, config));
  EXPECT_TRUE(silent_tcp(c, "a", "10.3.0.5", 80));
  EXPECT_TRUE(silent_tcp(c, "a", "fd00:3::5", 80));
  EXPECT_EQ(seen_tcp(b, "a", "10.1.0.6", 80), "10.1.0.5");
  EXPECT_EQ(seen_tcp(b, "outside", "10.1.0.6", 80), "192.0.2.2");
  on_host([&] { return kFirewall.check(call("a", config), {}); });
  del(kFirewall, bare(call("a", config)));
  EXPECT_TRUE(silent_tcp(c, "b", "10.3.0.5", 80)) << "b still stands on the bridge";
  del(kFirewall, bare(call("b", config)));
  EXPECT_EQ(seen_tcp(c, "a", "10.3.0.5", 80), "10.1.0.5") << "the last one has gone";
  del(kFirewall, bare(call("c", config)));
  EXPECT_TRUE(comments().empty());
}

TEST_F(CniNft, IsolatedKeepsNeighboursOutToo) {
  const Server b(in("b"), SOCK_STREAM, 80);
  EXPECT_EQ(seen_tcp(b, "a", "10.1.0.6", 80), "10.1.0.5");
  add(kFirewall, call("b", R"({"type": "firewall", "ingressPolicy": "isolated"})"));
  EXPECT_TRUE(silent_tcp(b, "a", "10.1.0.6", 80));
  EXPECT_EQ(seen_tcp(b, "outside", "10.1.0.6", 80), "192.0.2.2");
  del(kFirewall, bare(call("b", "{}")));
  EXPECT_EQ(seen_tcp(b, "a", "10.1.0.6", 80), "10.1.0.5");
}

TEST_F(CniNft, APodSendsFromItsOwnLinkAddressOnly) {
  const Server b(in("b"), SOCK_STREAM, 80);
  const net::Mac own{2, 0, 0, 3, 0, 5};
  on_host([&] { return add_spoof_check(call("a", "{}"), "va", own); });
  EXPECT_EQ(seen_tcp(b, "a", "10.1.0.6", 80), "10.1.0.5");
  const auto change = [&](const char* mac) {
    ASSERT_TRUE(testbed::in_namespace(in("a"), [&]() -> Status {
      const int code = ::system(base::cat("ip link set eth0 address ", mac, " && ip neigh flush dev eth0").c_str());
      return code == 0 ? Status() : Error("ip link");
    }));
  };
  change("02:00:00:03:00:77");
  EXPECT_TRUE(silent_tcp(b, "a", "10.1.0.6", 80));
  change("02:00:00:03:00:05");
  EXPECT_EQ(seen_tcp(b, "a", "10.1.0.6", 80), "10.1.0.5");
  change("02:00:00:03:00:77");
  on_host([&] { return del_spoof_check(bare(call("a", "{}"))); });
  EXPECT_EQ(seen_tcp(b, "a", "10.1.0.6", 80), "10.1.0.5");
}

TEST_F(CniNft, TheSweepTakesThisNetworksDead) {
  const Call a = call("a", ports(kTcp));
  Call foreign = call("c", "{}");
  foreign.attachment.network = "other";
  add(kPortmap, a);
  masquerade(call("b", "{}"));
  masquerade(foreign);
  Call gc = bare(a);
  gc.valid = std::vector<Attachment>{call("b", "{}").attachment};
  on_host([&] { return sweep_claims(gc, Part::Masquerade | Part::Ports); });
  std::vector<std::string> left = comments();
  std::sort(left.begin(), left.end());
  left.erase(std::unique(left.begin(), left.end()), left.end());
  std::vector<std::string> expected{comment_of(call("b", "{}").attachment), comment_of(foreign.attachment)};
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(left, expected);
}

// One message is larger than a socket's usual send buffer.
TEST_F(CniNft, APodMayHaveThousandsOfPorts) {
  constexpr int kPorts = 2500;
  std::string mappings;
  for (int port = 1; port <= kPorts; ++port) {
    base::append(mappings, base::cat(mappings.empty() ? "" : ",", R"({"hostPort":)", port, R"(,"containerPort":)", port,
                                     R"(,"protocol":"tcp"})"));
  }
  const Call a = call("a", ports(mappings));
  add(kPortmap, a);
  EXPECT_GE(comments().size(), std::size_t{kPorts});
  del(kPortmap, bare(a));
  EXPECT_EQ(comments(), std::vector<std::string>{});
}

TEST_F(CniNft, ManyAtOnceLoseNothing) {
  constexpr int kThreads = 8;
  constexpr int kPods = 25;
  const auto of = [&](int thread, int pod) {
    Call made = call("a", "{}", base::cat("c", thread, "-", pod));
    made.previous->ips = {
        {2, {Ip::v4(10, 1, static_cast<std::uint8_t>(thread), static_cast<std::uint8_t>(pod)), 16}, {}}};
    return made;
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      on_host([&]() -> Status {
        for (int pod = 0; pod < kPods; ++pod) TRY(add_masquerade(of(thread, pod), of(thread, pod).previous->ips));
        return {};
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(comments().size(), 2U * kThreads * kPods);
}

double median_us(int times, const std::function<Status(int)>& work) {
  std::vector<double> all;
  for (int i = 0; i < times; ++i) {
    // Deletions on each other's heels wait for the kernel's clean-up, which is not what is measured.
    for (int period = 0; period < 3; ++period) ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
    const auto start = std::chrono::steady_clock::now();
    const Status status = work(i);
    all.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    EXPECT_TRUE(status) << status.error().message();
  }
  std::nth_element(all.begin(), all.begin() + times / 2, all.end());
  return all[static_cast<std::size_t>(times / 2)];
}

// A figure to read, and a bound that only a mistake passes.
TEST_F(CniNft, OnePodCostsFractionsOfAMillisecondAmongHundreds) {
  run_on_host("iptables -P FORWARD DROP; ip route add 10.1.0.0/16 dev cni0");
  const auto numbered = [&](int i) {
    Call made = call("a", ports(base::cat(R"({"protocol": "tcp", "containerPort": 80, "hostPort": )", 10000 + i, "}")),
                     base::cat("c", i));
    made.previous->ips = {
        {2, {Ip::v4(10, 1, static_cast<std::uint8_t>(i / 250), static_cast<std::uint8_t>(i % 250)), 16}, {}}};
    return made;
  };
  struct Timed {
    const char* name;
    Parts parts;
    std::function<Result<Claims>(const Call&)> claims;
  };
  const auto masq = [](const Call& made) -> Result<Claims> { return masquerade_claims(made.previous->ips); };
  const auto all = [&](const Call& made) -> Result<Claims> {
    Claims claims = masquerade_claims(made.previous->ips);
    append(claims, TRY(port_claims(made)));
    append(claims, TRY(firewall_claims(made)));
    return claims;
  };
  const Timed timed[] = {{"masquerade", static_cast<Parts>(Part::Masquerade), masq},
                         {"portmap", static_cast<Parts>(Part::Ports), port_claims},
                         {"firewall", static_cast<Parts>(Part::Firewall), firewall_claims},
                         {"together", Part::Masquerade | Part::Ports | Part::Firewall, all}};
  on_host([&]() -> Status {
    Tables tables = TRY(Tables::open());
    const auto put = [&](const Timed& what, int i) -> Status {
      const Call made = numbered(i);
      const Claims claims = TRY(what.claims(made));
      return tables.put(made.attachment, claims);
    };
    std::printf("the first pod: %.0f us\n", median_us(1, [&](int) { return put(timed[3], 9000); }));
    for (const int pods : {0, 500}) {
      for (int i = 0; i < pods; ++i) TRY(put(timed[3], 1000 + i));
      for (const Timed& what : timed) {
        const double added = median_us(21, [&](int i) { return put(what, i); });
        const double taken = median_us(21, [&](int i) -> Status {
          EXPECT_FALSE(TRY(tables.take(numbered(i).attachment, what.parts)).empty());
          return {};
        });
        std::printf("among %d pods, %s: ADD %.0f us, DEL %.0f us\n", pods, what.name, added, taken);
        EXPECT_LT(added + taken, 50000);
      }
    }
    return {};
  });
}

}  // namespace
}  // namespace fairlead::cni::testing
