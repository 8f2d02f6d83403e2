#include "agent/kube_proxy_effect.h"

#include <gtest/gtest.h>

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using base::log::Level;
using net::Ip;
using net::Prefix;
using proxy::model::DetectLocal;
using K = KubeProxyConfiguration;

Effect effect(K configuration, NodeFamilies families = NodeFamilies::Both) {
  complete(configuration);
  const auto result = effect_of(configuration, families);
  if (!result) {
    ADD_FAILURE() << result.error().message();
    return {};
  }
  return *result;
}

std::string refused(K configuration, NodeFamilies families) {
  complete(configuration);
  const auto result = effect_of(configuration, families);
  return result ? "accepted" : result.error().message();
}

// A configuration that leaves nothing to be noted.
K quiet() {
  K out;
  out.cluster_cidr = "10.0.0.0/8,fd00::/8";
  return out;
}

Prefix prefix(const char* text) { return *Prefix::parse(text); }

TEST(KubeProxyEffect, TheDefaultsAreTheModelsDefaults) {
  const Effect got = effect({});
  EXPECT_EQ(got.model, proxy::model::Config());
  EXPECT_EQ(got.dataplane, "auto");
  EXPECT_EQ(got.masquerade_mark, 0x4000U);
  EXPECT_EQ(got.health_timeout, 60s);
}

TEST(KubeProxyEffect, ModesNameTheDataplaneOfThatNameAndNoneIsAuto) {
  for (const auto& [mode, dataplane] : {std::pair("", "auto"), {"iptables", "iptables"}, {"nftables", "nftables"}}) {
    K configuration = quiet();
    configuration.mode = mode;
    EXPECT_EQ(effect(configuration).dataplane, dataplane);
    EXPECT_EQ(effect(configuration).notes, std::vector<Note>());
  }
}

TEST(KubeProxyEffect, ModeIpvsIsAutoWithAWarningThatSaysWhatIsUsed) {
  K configuration = quiet();
  configuration.mode = "ipvs";
  EXPECT_EQ(effect(configuration).dataplane, "auto");
  EXPECT_EQ(effect(configuration).notes,
            (std::vector<Note>{{Level::Warn,
                                "mode: there is no ipvs dataplane; unless --dataplane names another one, auto is used: "
                                "eBPF where it is usable, "
                                "else nftables"}}));
}

TEST(KubeProxyEffect, EachModeHasItsMasqueradingAndItsPeriod) {
  K configuration = quiet();
  configuration.iptables_masquerade_bit = 0;
  configuration.iptables_masquerade_all = true;
  configuration.iptables_sync_period = 10s;
  configuration.nftables_masquerade_bit = 31;
  configuration.nftables_sync_period = 1min;
  for (const char* mode : {"", "iptables", "ipvs"}) {
    configuration.mode = mode;
    EXPECT_EQ(effect(configuration).masquerade_mark, 1U) << mode;
    EXPECT_TRUE(effect(configuration).model.masquerade_all) << mode;
    EXPECT_EQ(effect(configuration).health_timeout, 20s) << mode;
  }
  configuration.mode = "nftables";
  EXPECT_EQ(effect(configuration).masquerade_mark, 1U << 31);
  EXPECT_FALSE(effect(configuration).model.masquerade_all);
  EXPECT_EQ(effect(configuration).health_timeout, 2min);
}

TEST(KubeProxyEffect, PodsAreToldByTheChosenModeAlone) {
  K configuration = quiet();
  configuration.detect_local_bridge_interface = "br0";
  configuration.detect_local_interface_name_prefix = "veth";
  EXPECT_EQ(effect(configuration).model.detect_local, DetectLocal::ClusterCidr);
  EXPECT_EQ(effect(configuration).model.cluster_cidrs, (std::vector<Prefix>{prefix("10.0.0.0/8"), prefix("fd00::/8")}));
  EXPECT_EQ(effect(configuration).model.local_interface, "");
  configuration.detect_local_mode = "NodeCIDR";
  EXPECT_EQ(effect(configuration).model.detect_local, DetectLocal::NodeCidr);
  configuration.detect_local_mode = "BridgeInterface";
  EXPECT_EQ(effect(configuration).model.detect_local, DetectLocal::BridgeInterface);
  EXPECT_EQ(effect(configuration).model.local_interface, "br0");
  configuration.detect_local_mode = "InterfaceNamePrefix";
  EXPECT_EQ(effect(configuration).model.detect_local, DetectLocal::InterfaceNamePrefix);
  EXPECT_EQ(effect(configuration).model.local_interface, "veth");
}

TEST(KubeProxyEffect, ClusterCidrsAreReadAsOldObjectsAre) {
  K configuration;
  configuration.cluster_cidr = "010.0.0.0/08, fd00::/64";
  EXPECT_EQ(effect(configuration).model.cluster_cidrs[0], prefix("10.0.0.0/8"));
}

struct Localhost {
  std::string mode;
  std::vector<std::string> node_port_addresses;
  bool expected;
};
class LocalhostNodePorts : public testing::TestWithParam<Localhost> {};

TEST_P(LocalhostNodePorts, NeedALoopbackAmongTheNodePortAddresses) {
  K configuration = quiet();
  configuration.mode = GetParam().mode;
  configuration.node_port_addresses = GetParam().node_port_addresses;
  EXPECT_EQ(effect(configuration).model.localhost_node_ports, GetParam().expected);
  configuration.iptables_localhost_node_ports = false;
  EXPECT_FALSE(effect(configuration).model.localhost_node_ports);
}

INSTANTIATE_TEST_SUITE_P(Each, LocalhostNodePorts,
                         testing::Values(Localhost{"", {}, true}, Localhost{"iptables", {"0.0.0.0/0"}, true},
                                         Localhost{"", {"10.0.0.0/8"}, false}, Localhost{"", {"fd00::/8"}, true},
                                         Localhost{"", {"10.0.0.0/8", "127.0.0.0/8"}, true},
                                         Localhost{"", {"primary"}, false}, Localhost{"nftables", {}, false}));

TEST(KubeProxyEffect, NodePortsAreOnEveryAddressOnPrimaryOnesOrInRanges) {
  K configuration = quiet();
  EXPECT_FALSE(effect(configuration).model.node_ports_on_primary);
  EXPECT_EQ(effect(configuration).model.node_port_addresses, std::vector<Prefix>());
  configuration.mode = "nftables";
  EXPECT_TRUE(effect(configuration).model.node_ports_on_primary);
  configuration.node_port_addresses = {"10.0.0.0/8"};
  EXPECT_FALSE(effect(configuration).model.node_ports_on_primary);
  EXPECT_EQ(effect(configuration).model.node_port_addresses, std::vector<Prefix>{prefix("10.0.0.0/8")});
}

TEST(KubeProxyEffect, TheBindAddressIsTheNodesAddressUnlessItIsUnspecified) {
  K configuration = quiet();
  for (const char* none : {"0.0.0.0", "::"}) {
    configuration.bind_address = none;
    EXPECT_EQ(effect(configuration).model.node_ip, std::nullopt);
  }
  configuration.bind_address = "10.1.2.3";
  EXPECT_EQ(effect(configuration).model.node_ip, Ip::v4(10, 1, 2, 3));
}

TEST(KubeProxyEffect, ExternalIpsCanBeGatedOff) {
  K configuration = quiet();
  configuration.feature_gates = {{"AllowServiceExternalIPs", false}};
  EXPECT_FALSE(effect(configuration).model.external_ips);
  configuration.feature_gates = {{"AllowServiceExternalIPs", true}, {"AllBeta", false}};
  EXPECT_TRUE(effect(configuration).model.external_ips);
}

TEST(KubeProxyEffect, WhatHasNoEffectIsNamedOnceWithTheReason) {
  K configuration = quiet();
  configuration.ipvs_scheduler = "lc";
  configuration.enable_profiling = true;
  configuration.iptables_min_sync_period = 5s;
  EXPECT_EQ(effect(configuration).notes,
            (std::vector<Note>{
                {Level::Info, "enableProfiling has no effect: there is no profiler inside; use perf on the process"},
                {Level::Info,
                 "iptables.minSyncPeriod has no effect: a change is applied at once, for the price of the change"},
                {Level::Info, "ipvs.scheduler has no effect: there is no ipvs dataplane"}}));
}

TEST(KubeProxyEffect, AFamilyWithoutARangeIsNoted) {
  K configuration;
  EXPECT_EQ(effect(configuration).notes,
            (std::vector<Note>{{Level::Info, "clusterCIDR is not set: pods are not told from other clients"}}));
  configuration.cluster_cidr = "10.0.0.0/8";
  EXPECT_EQ(
      effect(configuration).notes,
      (std::vector<Note>{{Level::Info, "clusterCIDR has no IPv6 range: pods are not told from other IPv6 clients"}}));
  EXPECT_EQ(effect(configuration, NodeFamilies::Ipv4Only).notes, std::vector<Note>());
}

TEST(KubeProxyEffect, ARangeOfAFamilyThatTheNodeDoesNotSpeakIsRefusedWhereItDecides) {
  K configuration;
  configuration.cluster_cidr = "fd00::/8";
  EXPECT_EQ(refused(configuration, NodeFamilies::Both), "accepted");
  EXPECT_EQ(refused(configuration, NodeFamilies::Ipv4Only),
            "clusterCIDR: fd00::/8 is IPv6 alone, which this node does not speak");
  configuration.detect_local_mode = "NodeCIDR";
  EXPECT_EQ(refused(configuration, NodeFamilies::Ipv4Only), "accepted");
  configuration.bind_address = "fd00::1";
  EXPECT_EQ(refused(configuration, NodeFamilies::Ipv4Only),
            "bindAddress: fd00::1 is IPv6, which this node does not speak");
}

}  // namespace
}  // namespace fairlead::agent
