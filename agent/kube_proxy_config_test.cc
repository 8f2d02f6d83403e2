#include "agent/kube_proxy_config.h"

#include <gtest/gtest.h>

#include "agent/kube_proxy_settings.h"
#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using K = KubeProxyConfiguration;

constexpr std::string_view kHead = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

// What kubeadm writes into the ConfigMap of kube-proxy.
constexpr std::string_view kKubeadm = R"(apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: null
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
)";

K completed(K configuration = {}) {
  complete(configuration);
  return configuration;
}

K decoded(std::string_view text) {
  const auto result = decode_kube_proxy_configuration(text);
  if (!result) {
    ADD_FAILURE() << result.error().message();
    return {};
  }
  EXPECT_EQ(result->warnings, std::vector<std::string>());
  return result->configuration;
}

K with(std::string_view lines) { return decoded(base::cat(kHead, lines)); }

std::string refused(std::string_view text) {
  const auto result = decode_kube_proxy_configuration(text);
  return result ? "accepted" : result.error().message();
}

TEST(KubeProxyConfig, TheFileOfKubeadmIsTheDefaultsWithItsClusterAndItsKubeconfig) {
  K expected = completed();
  expected.cluster_cidr = "10.244.0.0/16,fd00:10:244::/56";
  expected.client_connection_kubeconfig = "/var/lib/kube-proxy/kubeconfig.conf";
  EXPECT_EQ(decoded(kKubeadm), expected);
}

TEST(KubeProxyConfig, TheExampleIsTakenWithoutAWarning) {
  const auto text = base::read_file(FAIRLEAD_SOURCE_DIR "/examples/kube-proxy/config.conf");
  ASSERT_TRUE(text.has_value()) << text.error().message();
  EXPECT_EQ(decoded(*text).cluster_cidr, "10.244.0.0/16");
}

TEST(KubeProxyConfig, DefaultsAreThoseOfKubeProxy) {
  const K defaults = completed();
  EXPECT_EQ(defaults.bind_address, "0.0.0.0");
  EXPECT_EQ(defaults.healthz_bind_address, "0.0.0.0:10256");
  EXPECT_EQ(defaults.metrics_bind_address, "127.0.0.1:10249");
  EXPECT_EQ(defaults.mode, "");
  EXPECT_EQ(defaults.detect_local_mode, "ClusterCIDR");
  EXPECT_EQ(defaults.iptables_masquerade_bit, 14);
  EXPECT_EQ(defaults.nftables_masquerade_bit, 14);
  EXPECT_TRUE(defaults.iptables_localhost_node_ports);
  EXPECT_EQ(defaults.iptables_sync_period, 30s);
  EXPECT_EQ(defaults.iptables_min_sync_period, 1s);
  EXPECT_EQ(defaults.ipvs_min_sync_period, 0s);
  EXPECT_EQ(defaults.config_sync_period, 15min);
  EXPECT_EQ(defaults.conntrack_max_per_core, 32768);
  EXPECT_EQ(defaults.conntrack_min, 131072);
  EXPECT_EQ(defaults.conntrack_tcp_established_timeout, 24h);
  EXPECT_EQ(defaults.conntrack_tcp_close_wait_timeout, 1h);
  EXPECT_EQ(defaults.oom_score_adj, -999);
  EXPECT_EQ(defaults.client_connection_qps, 5);
  EXPECT_EQ(defaults.client_connection_burst, 10);
}

TEST(KubeProxyConfig, AHeadAloneIsTheDefaults) { EXPECT_EQ(with(""), completed()); }

TEST(KubeProxyConfig, JsonIsReadAsWell) {
  EXPECT_EQ(decoded("{\n\t\"apiVersion\": \"kubeproxy.config.k8s.io/v1alpha1\",\n\t\"kind\": "
                    "\"KubeProxyConfiguration\",\n\t\"iptables\": {\"masqueradeAll\": true}}")
                .iptables_masquerade_all,
            true);
}

TEST(KubeProxyConfig, WhatIsWrittenIsReadBackAsItWas) {
  K configuration = completed();
  EXPECT_EQ(decoded(to_yaml(configuration)), configuration);
  configuration = with(R"(
bindAddress: fd00::1
clientConnection: {qps: 2.5, burst: 3, kubeconfig: "/a b: c"}
conntrack: {maxPerCore: 0, min: 5, tcpBeLiberal: true, udpTimeout: 1m30s, tcpEstablishedTimeout: 0s}
featureGates: {AllowServiceExternalIPs: false, AllBeta: true}
healthzBindAddress: off
hostnameOverride: "yes"
logging: {verbosity: 4, format: json}
mode: nftables
nodePortAddresses: [10.0.0.0/8, "fd00::/8"]
oomScoreAdj: 0
)");
  EXPECT_EQ(configuration.hostname_override, "yes");
  EXPECT_EQ(decoded(to_yaml(configuration)), configuration);
}

TEST(KubeProxyConfig, ZeroInAPointerOfTheApiIsAValueAndElsewhereTheDefault) {
  const K configuration = with(
      "conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}\n"
      "iptables: {masqueradeBit: 0, syncPeriod: 0s, localhostNodePorts: false}\n"
      "oomScoreAdj: 0\n"
      "clientConnection: {qps: 0, burst: 0}\n");
  EXPECT_EQ(configuration.conntrack_max_per_core, 0);
  EXPECT_EQ(configuration.conntrack_tcp_established_timeout, 0s);
  EXPECT_EQ(configuration.iptables_masquerade_bit, 0);
  EXPECT_FALSE(configuration.iptables_localhost_node_ports);
  EXPECT_EQ(configuration.oom_score_adj, 0);
  EXPECT_EQ(configuration.iptables_sync_period, 30s);
  EXPECT_EQ(configuration.client_connection_qps, 5);
  EXPECT_EQ(configuration.client_connection_burst, 10);
}

TEST(KubeProxyConfig, AnIpv6NodeListensOnIpv6) {
  const K configuration = with("bindAddress: \"::\"\n");
  EXPECT_EQ(configuration.healthz_bind_address, "[::]:10256");
  EXPECT_EQ(configuration.metrics_bind_address, "[::1]:10249");
}

TEST(KubeProxyConfig, AnAddressWithoutAPortGetsTheDefaultOne) {
  const K configuration = with("healthzBindAddress: 10.0.0.1\nmetricsBindAddress: \"fd00::1\"\n");
  EXPECT_EQ(configuration.healthz_bind_address, "10.0.0.1:10256");
  EXPECT_EQ(configuration.metrics_bind_address, "[fd00::1]:10249");
}

TEST(KubeProxyConfig, ModeNftablesHasNodePortsOnThePrimaryAddressesUnlessToldOtherwise) {
  EXPECT_EQ(with("mode: nftables\n").node_port_addresses, std::vector<std::string>{"primary"});
  EXPECT_EQ(with("mode: nftables\nnodePortAddresses: [0.0.0.0/0]\n").node_port_addresses,
            std::vector<std::string>{"0.0.0.0/0"});
  EXPECT_EQ(with("mode: iptables\n").node_port_addresses, std::vector<std::string>());
}

TEST(KubeProxyConfig, UnknownFieldsAreNamedAndTheRestIsInForce) {
  const auto result = decode_kube_proxy_configuration(
      base::cat(kHead, "clusterCidr: 10.0.0.0/8\nconntrack:\n  maxPerCor: 1\n  min: 7\n"));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->warnings,
            (std::vector<std::string>{"line 3: clusterCidr: is no field of a KubeProxyConfiguration",
                                      "line 5: conntrack.maxPerCor: is no field of a KubeProxyConfiguration"}));
  EXPECT_EQ(result->configuration.conntrack_min, 7);
}

TEST(KubeProxyConfig, TheLastOfTwoFieldsCountsAndAWarningSaysSo) {
  const auto result = decode_kube_proxy_configuration(base::cat(kHead, "mode: iptables\nmode: ipvs\n"));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->warnings,
            std::vector<std::string>{"line 4: key \"mode\" appears twice, first in line 3; the last one counts"});
  EXPECT_EQ(result->configuration.mode, "ipvs");
}

TEST(KubeProxyConfig, FieldsOfOtherSystemsAndOfTheLoggerAreTaken) {
  const K configuration = with(
      "winkernel: {sourceVip: 1.2.3.4}\nwindowsRunAsService: true\nportRange: 1-2\n"
      "logging: {flushFrequency: 5000000000, vmodule: [{filePattern: a, verbosity: 2}], options: {json: "
      "{infoBufferSize: 64Ki}}}\n");
  EXPECT_EQ(configuration.winkernel_source_vip, "1.2.3.4");
  EXPECT_EQ(configuration.logging_flush_frequency, 5s);
  EXPECT_EQ(configuration.logging_json_info_buffer_size, "64Ki");
}

struct Wrong {
  std::string lines;
  std::string error;
};
std::ostream& operator<<(std::ostream& out, const Wrong& wrong) { return out << wrong.lines; }

class WrongKubeProxyConfig : public testing::TestWithParam<Wrong> {};

TEST_P(WrongKubeProxyConfig, NamesLineFieldValueAndWhatIsAllowed) {
  EXPECT_EQ(refused(base::cat(kHead, GetParam().lines)), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongKubeProxyConfig,
    testing::Values(
        Wrong{"mode: ebpf", "line 3: mode: \"ebpf\" is not allowed: use iptables, ipvs or nftables"},
        Wrong{"mode: 5", "line 3: mode: 5 is not allowed: use iptables, ipvs or nftables"},
        Wrong{"conntrack:\n  min: -1", "line 4: conntrack.min: -1 is not allowed: use a number of 0 or more"},
        Wrong{"conntrack:\n  min: 99999999999",
              "line 4: conntrack.min: 99999999999 is not allowed: use a number of 0 or more"},
        Wrong{"conntrack: 7", "line 3: conntrack: 7 is not an object"},
        Wrong{"conntrack: {udpTimeout: 5}",
              "line 3: conntrack.udpTimeout: 5 is not allowed: use a duration of 0s or more, such as 30s or 1h"},
        Wrong{"conntrack: {udpTimeout: -5s}",
              "line 3: conntrack.udpTimeout: \"-5s\" is not allowed: use a duration of 0s or more, such as 30s or 1h"},
        Wrong{"configSyncPeriod: -1s",
              "line 3: configSyncPeriod: \"-1s\" is not allowed: use a duration of more than 0s, such as 30s or 1m30s"},
        Wrong{"iptables: {syncPeriod: 30}",
              "line 3: iptables.syncPeriod: 30 is not allowed: use a duration of more than 0s, such as 30s or 1m30s"},
        Wrong{"iptables: {masqueradeBit: 32}",
              "line 3: iptables.masqueradeBit: 32 is not allowed: use a number from 0 to 31"},
        Wrong{"iptables: {masqueradeAll: yes}",
              "line 3: iptables.masqueradeAll: \"yes\" is not allowed: use true or false"},
        Wrong{"iptables: {syncPeriod: 1s, minSyncPeriod: 1m}",
              "iptables.minSyncPeriod: 1m0s is longer than syncPeriod, 1s"},
        Wrong{"nftables: {syncPeriod: 500ms}", "nftables.minSyncPeriod: 1s is longer than syncPeriod, 500ms"},
        Wrong{"oomScoreAdj: -1001", "line 3: oomScoreAdj: -1001 is not allowed: use a number from -1000 to 1000"},
        Wrong{"bindAddress: localhost",
              "line 3: bindAddress: \"localhost\" is not allowed: use an IPv4 or IPv6 address"},
        Wrong{"healthzBindAddress: \":10256\"",
              "line 3: healthzBindAddress: \":10256\" is not allowed: use IP:PORT ([IP]:PORT for IPv6, port 0 for any "
              "free one), an IP alone, or off"},
        Wrong{"metricsBindAddress: 10.0.0.1:70000",
              "line 3: metricsBindAddress: \"10.0.0.1:70000\" is not allowed: use IP:PORT ([IP]:PORT for IPv6, port 0 "
              "for any free one), an IP alone, or off"},
        Wrong{"clusterCIDR: 10.0.0.0",
              "line 3: clusterCIDR: \"10.0.0.0\" is not allowed: use ADDRESS/BITS, or one for IPv4 and one for IPv6 "
              "with a comma between"},
        Wrong{"clusterCIDR: 10.0.0.0/8,11.0.0.0/8",
              "line 3: clusterCIDR: \"10.0.0.0/8,11.0.0.0/8\" is not allowed: use ADDRESS/BITS, or one for IPv4 and "
              "one for IPv6 with a comma between"},
        Wrong{"clusterCIDR: 10.0.0.0/8,fd00::/8,11.0.0.0/8",
              "line 3: clusterCIDR: \"10.0.0.0/8,fd00::/8,11.0.0.0/8\" is not allowed: use ADDRESS/BITS, or one for "
              "IPv4 and one for IPv6 with a comma between"},
        Wrong{"nodePortAddresses: [primary, 10.0.0.0/8]",
              "line 3: nodePortAddresses: [\"primary\",\"10.0.0.0/8\"] is not allowed: use a list of ADDRESS/BITS, or "
              "primary alone"},
        Wrong{"nodePortAddresses: 10.0.0.0/8",
              "line 3: nodePortAddresses: \"10.0.0.0/8\" is not allowed: use a list of ADDRESS/BITS, or primary alone"},
        Wrong{"detectLocalMode: Guess",
              "line 3: detectLocalMode: \"Guess\" is not allowed: use ClusterCIDR, NodeCIDR, BridgeInterface or "
              "InterfaceNamePrefix"},
        Wrong{"detectLocalMode: BridgeInterface",
              "detectLocal.bridgeInterface: is empty, but detectLocalMode is BridgeInterface"},
        Wrong{"detectLocalMode: InterfaceNamePrefix",
              "detectLocal.interfaceNamePrefix: is empty, but detectLocalMode is InterfaceNamePrefix"},
        Wrong{"detectLocal: {bridgeInterface: a-name-of-sixteen}",
              "line 3: detectLocal.bridgeInterface: \"a-name-of-sixteen\" is not allowed: use an interface's name of "
              "at most 15 characters"},
        Wrong{"featureGates:\n  Flying: true",
              "line 4: featureGates.Flying: is no feature gate of kube-proxy: use AllAlpha, AllBeta, "
              "AllowServiceExternalIPs, ComponentFlagz, ComponentStatusz, ContextualLogging, LoggingAlphaOptions, "
              "LoggingBetaOptions, MultiCIDRServiceAllocator, NFTablesProxyMode, NativeHistograms, "
              "PreferSameTrafficDistribution"},
        Wrong{"featureGates: {NFTablesProxyMode: false}", "line 3: featureGates.NFTablesProxyMode: is locked to true"},
        Wrong{"featureGates: {AllBeta: 1}",
              "line 3: featureGates: {\"AllBeta\":1} is not allowed: use names of feature gates, each with true or "
              "false"},
        Wrong{"logging: {format: xml}", "line 3: logging.format: \"xml\" is not allowed: use text or json"},
        Wrong{"hostnameOverride: \"\xd0\"", "line 3: hostnameOverride: is not UTF-8"},
        Wrong{"---\na: 1", "holds 2 documents: use exactly one"},
        Wrong{"mode: [", "line 3: not YAML: end of sequence flow not found"}));

TEST(KubeProxyConfig, AnotherKindOrVersionIsRefused) {
  EXPECT_EQ(refused(""), "holds 0 documents: use exactly one");
  EXPECT_EQ(refused("mode: ipvs"), "line 1: apiVersion: an absent value is not kubeproxy.config.k8s.io/v1alpha1");
  EXPECT_EQ(refused("apiVersion: kubeproxy.config.k8s.io/v1\nkind: KubeProxyConfiguration"),
            "line 1: apiVersion: \"kubeproxy.config.k8s.io/v1\" is not kubeproxy.config.k8s.io/v1alpha1");
  EXPECT_EQ(refused("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: Pod"),
            "line 2: kind: \"Pod\" is not KubeProxyConfiguration");
  EXPECT_EQ(refused("[a]"), "line 1: a list is not an object");
}

TEST(KubeProxySettings, AreSortedAndEachFieldIsThereOnce) {
  std::string_view last;
  for (const Setting& setting : kube_proxy_settings()) {
    EXPECT_LT(last, setting.path);
    last = setting.path;
  }
}

// Flags and values as an operator would write them.
std::string refused_flag(std::string_view flag, const std::string& text) {
  K configuration;
  const Status set = set_flag(configuration, flag, text, Occurrence::First);
  return set ? "accepted" : set.error().message();
}

TEST(KubeProxyFlags, SetTheirFieldInTheSectionOfEveryModeThatHasIt) {
  K configuration;
  ASSERT_TRUE(set_flag(configuration, "masquerade-all", "true", Occurrence::First).has_value());
  ASSERT_TRUE(set_flag(configuration, "iptables-sync-period", "2m", Occurrence::First).has_value());
  EXPECT_TRUE(configuration.iptables_masquerade_all);
  EXPECT_TRUE(configuration.nftables_masquerade_all);
  EXPECT_EQ(configuration.iptables_sync_period, 2min);
  EXPECT_EQ(configuration.nftables_sync_period, 2min);
}

TEST(KubeProxyFlags, ListsGrowWithEveryOccurrenceAndGatesToo) {
  K configuration;
  ASSERT_TRUE(set_flag(configuration, "nodeport-addresses", "10.0.0.0/8, fd00::/8", Occurrence::First).has_value());
  ASSERT_TRUE(set_flag(configuration, "nodeport-addresses", "11.0.0.0/8", Occurrence::Again).has_value());
  EXPECT_EQ(configuration.node_port_addresses, (std::vector<std::string>{"10.0.0.0/8", "fd00::/8", "11.0.0.0/8"}));
  ASSERT_TRUE(set_flag(configuration, "feature-gates", "AllBeta=true,AllAlpha=false", Occurrence::First).has_value());
  ASSERT_TRUE(set_flag(configuration, "feature-gates", "AllAlpha=true", Occurrence::Again).has_value());
  EXPECT_EQ(configuration.feature_gates, (K::Gates{{"AllAlpha", true}, {"AllBeta", true}}));
}

TEST(KubeProxyFlags, WrongValuesNameFlagValueAndWhatIsAllowed) {
  EXPECT_EQ(refused_flag("proxy-mode", "ebpf"),
            "--proxy-mode: \"ebpf\" is not allowed: use iptables, ipvs or nftables");
  EXPECT_EQ(refused_flag("masquerade-all", "yes"), "--masquerade-all: \"yes\" is not allowed: use true or false");
  EXPECT_EQ(refused_flag("conntrack-min", "many"),
            "--conntrack-min: \"many\" is not allowed: use a number of 0 or more");
  EXPECT_EQ(refused_flag("iptables-sync-period", "0s"),
            "--iptables-sync-period: \"0s\" is not allowed: use a duration of more than 0s, such as 30s or 1m30s");
  EXPECT_EQ(
      refused_flag("nodeport-addresses", "primary,10.0.0.0/8"),
      "--nodeport-addresses: \"primary,10.0.0.0/8\" is not allowed: use a list of ADDRESS/BITS, or primary alone");
  EXPECT_EQ(refused_flag("feature-gates", "AllBeta"),
            "--feature-gates: \"AllBeta\" is not allowed: use names of feature gates, each with true or false");
  EXPECT_EQ(refused_flag("feature-gates", "NFTablesProxyMode=false"),
            "--feature-gates: NFTablesProxyMode is locked to true");
}

TEST(KubeProxyFlags, AnEmptyTextIsTheDefaultWhereThereIsNoEmptyValue) {
  K configuration;
  configuration.detect_local_mode = "NodeCIDR";
  ASSERT_TRUE(set_flag(configuration, "detect-local-mode", "", Occurrence::First).has_value());
  EXPECT_EQ(configuration.detect_local_mode, "ClusterCIDR");
}

}  // namespace
}  // namespace fairlead::agent
