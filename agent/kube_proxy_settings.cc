#include "agent/kube_proxy_settings.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "agent/listen.h"
#include "base/strings.h"
#include "net/ip.h"

namespace fairlead::agent {
namespace {

using K = KubeProxyConfiguration;
using Range = Setting::Range;

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();
constexpr Range kNotNegative{.lowest = 0};
constexpr Range kPositive{.lowest = 1};
constexpr Range kBit{.lowest = 0, .highest = 31};
constexpr Range kCount{.lowest = 0, .highest = kMaxInt};
constexpr Range kOomScore{.lowest = -1000, .highest = 1000};

constexpr std::string_view kUsePeriod = "a duration of more than 0s, such as 30s or 1m30s";
constexpr std::string_view kUseTimeout = "a duration of 0s or more, such as 30s or 1h";
constexpr std::string_view kUseBit = "a number from 0 to 31";
constexpr std::string_view kUseListen = "IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), an IP alone, or off";

constexpr std::string_view kNoIpvs = "there is no ipvs dataplane";
constexpr std::string_view kAtOnce = "a change is applied at once, for the price of the change";
constexpr std::string_view kWindows = "it is for Windows";
constexpr std::string_view kUnbuffered = "every line goes to stderr at once";

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}
bool is_mode(std::string_view text) { return is_one_of(text, {"iptables", "ipvs", "nftables"}); }
bool is_detect_local_mode(std::string_view text) {
  return is_one_of(text, {"ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"});
}
bool is_log_format(std::string_view text) { return is_one_of(text, {"text", "json"}); }
bool is_address(std::string_view text) { return net::Ip::parse_sloppy(text).has_value(); }
bool is_interface(std::string_view text) { return text.size() < 16 && text.find_first_of("/ \t\n") == text.npos; }

bool is_listen_address(std::string_view text) { return text == "off" || parse_listen(text, 0); }

bool is_prefix(std::string_view text) { return net::Prefix::parse_sloppy(text).has_value(); }

// One range, or one of each family (kubernetes v1.36 pkg/proxy/apis/config/validation).
bool is_cluster_cidr(std::string_view text) {
  const auto parts = base::split(text, ',');
  if (parts.size() > 2 || !std::all_of(parts.begin(), parts.end(), is_prefix)) return false;
  return parts.size() == 1 ||
         net::Prefix::parse_sloppy(parts[0])->family() != net::Prefix::parse_sloppy(parts[1])->family();
}

bool are_prefixes(const std::vector<std::string>& list) { return std::all_of(list.begin(), list.end(), is_prefix); }
bool are_node_port_addresses(const std::vector<std::string>& list) {
  return are_prefixes(list) || (list.size() == 1 && list[0] == "primary");
}

constexpr Setting kSettings[] = {
    {.path = "bindAddress",
     .flag = "bind-address",
     .slot = &K::bind_address,
     .rule = is_address,
     .use = "an IPv4 or IPv6 address",
     .zero_is_unset = true,
     .help = "This node's own address, instead of its Node object's; 0.0.0.0 for that one"},
    {.path = "bindAddressHardFail",
     .flag = "bind-address-hard-fail",
     .slot = &K::bind_address_hard_fail,
     .help = "End when health or metrics cannot listen, instead of trying again"},
    {.path = "clientConnection.acceptContentTypes",
     .flag = "",
     .slot = &K::client_connection_accept_content_types,
     .void_because = "protobuf is asked for, and JSON taken from a server that sends it"},
    {.path = "clientConnection.burst",
     .flag = "kube-api-burst",
     .slot = &K::client_connection_burst,
     .rule = kCount,
     .use = "a number of 0 or more",
     .zero_is_unset = true,
     .void_because = "a few lists and watches need no limit; Retry-After of the server is obeyed"},
    {.path = "clientConnection.contentType",
     .flag = "kube-api-content-type",
     .slot = &K::client_connection_content_type,
     .zero_is_unset = true,
     .void_because = "protobuf is asked for, and JSON taken from a server that sends it"},
    {.path = "clientConnection.kubeconfig",
     .flag = "kubeconfig",
     .slot = &K::client_connection_kubeconfig,
     .help = "How to reach the API server (default: in-cluster identity)"},
    {.path = "clientConnection.qps",
     .flag = "kube-api-qps",
     .slot = &K::client_connection_qps,
     .zero_is_unset = true,
     .void_because = "a few lists and watches need no limit; Retry-After of the server is obeyed"},
    {.path = "clusterCIDR",
     .flag = "cluster-cidr",
     .slot = &K::cluster_cidr,
     .rule = is_cluster_cidr,
     .use = "ADDRESS/BITS, or one for IPv4 and one for IPv6 with a comma between",
     .help = "Where pods of the cluster have their addresses"},
    {.path = "configSyncPeriod",
     .flag = "config-sync-period",
     .slot = &K::config_sync_period,
     .rule = kPositive,
     .use = kUsePeriod,
     .zero_is_unset = true,
     .void_because = "nothing is replayed from the cache; --resync-period says how often the kernel is compared"},
    {.path = "conntrack.maxPerCore",
     .flag = "conntrack-max-per-core",
     .slot = &K::conntrack_max_per_core,
     .rule = kCount,
     .use = "a number of 0 or more",
     .help = "Connections to track per CPU; 0 to leave nf_conntrack_max alone"},
    {.path = "conntrack.min",
     .flag = "conntrack-min",
     .slot = &K::conntrack_min,
     .rule = kCount,
     .use = "a number of 0 or more",
     .help = "Connections to track at least, however few CPUs there are"},
    {.path = "conntrack.tcpBeLiberal",
     .flag = "conntrack-tcp-be-liberal",
     .slot = &K::conntrack_tcp_be_liberal,
     .help = "Let conntrack take TCP packets that are out of window"},
    {.path = "conntrack.tcpCloseWaitTimeout",
     .flag = "conntrack-tcp-timeout-close-wait",
     .slot = &K::conntrack_tcp_close_wait_timeout,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .help = "How long conntrack keeps half-closed TCP connections; 0 to leave it alone"},
    {.path = "conntrack.tcpEstablishedTimeout",
     .flag = "conntrack-tcp-timeout-established",
     .slot = &K::conntrack_tcp_established_timeout,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .help = "How long conntrack keeps idle TCP connections; 0 to leave it alone"},
    {.path = "conntrack.udpStreamTimeout",
     .flag = "conntrack-udp-timeout-stream",
     .slot = &K::conntrack_udp_stream_timeout,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .help = "How long conntrack keeps UDP that was answered; 0 to leave it alone"},
    {.path = "conntrack.udpTimeout",
     .flag = "conntrack-udp-timeout",
     .slot = &K::conntrack_udp_timeout,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .help = "How long conntrack keeps UDP that was not answered; 0 to leave it alone"},
    {.path = "detectLocal.bridgeInterface",
     .flag = "pod-bridge-interface",
     .slot = &K::detect_local_bridge_interface,
     .rule = is_interface,
     .use = "an interface's name of at most 15 characters",
     .help = "The bridge that traffic of this node's pods comes from, for BridgeInterface"},
    {.path = "detectLocal.interfaceNamePrefix",
     .flag = "pod-interface-name-prefix",
     .slot = &K::detect_local_interface_name_prefix,
     .rule = is_interface,
     .use = "the beginning of an interface's name, of at most 15 characters",
     .help = "How names of this node's pods' interfaces begin, for InterfaceNamePrefix"},
    {.path = "detectLocalMode",
     .flag = "detect-local-mode",
     .slot = &K::detect_local_mode,
     .rule = is_detect_local_mode,
     .use = "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix",
     .zero_is_unset = true,
     .help = "How pods are told from everybody else (default: ClusterCIDR)"},
    {.path = "enableProfiling",
     .flag = "profiling",
     .slot = &K::enable_profiling,
     .void_because = "there is no profiler inside; use perf on the process"},
    {.path = "featureGates",
     .flag = "feature-gates",
     .slot = &K::feature_gates,
     .help = "NAME=true|false,...; AllowServiceExternalIPs=false ignores externalIPs"},
    {.path = "healthzBindAddress",
     .flag = "healthz-bind-address",
     .slot = &K::healthz_bind_address,
     .rule = is_listen_address,
     .use = kUseListen,
     .help = "/healthz and /livez (default: 0.0.0.0:10256; or off)"},
    {.path = "hostnameOverride",
     .flag = "hostname-override",
     .slot = &K::hostname_override,
     .help = "This node's name (default: $NODE_NAME, else the hostname)"},
    {.path = "iptables.localhostNodePorts",
     .flag = "iptables-localhost-nodeports",
     .slot = &K::iptables_localhost_node_ports,
     .help = "NodePorts on loopback addresses too, where the dataplane can (default: true)"},
    {.path = "iptables.masqueradeAll",
     .flag = "masquerade-all",
     .slot = &K::iptables_masquerade_all,
     .help = "Masquerade all traffic to ClusterIPs"},
    {.path = "iptables.masqueradeBit",
     .flag = "iptables-masquerade-bit",
     .slot = &K::iptables_masquerade_bit,
     .rule = kBit,
     .use = kUseBit,
     .help = "The bit of the packet mark that asks for masquerading (default: 14)"},
    {.path = "iptables.minSyncPeriod",
     .flag = "iptables-min-sync-period",
     .slot = &K::iptables_min_sync_period,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .zero_is_unset = true,
     .void_because = kAtOnce},
    {.path = "iptables.syncPeriod",
     .flag = "iptables-sync-period",
     .slot = &K::iptables_sync_period,
     .rule = kPositive,
     .use = kUsePeriod,
     .zero_is_unset = true,
     .help = "/healthz fails when something waits for twice as long to be applied (default: 30s)"},
    {.path = "ipvs.excludeCIDRs",
     .flag = "ipvs-exclude-cidrs",
     .slot = &K::ipvs_exclude_cidrs,
     .rule = are_prefixes,
     .use = "a list of ADDRESS/BITS",
     .void_because = kNoIpvs},
    {.path = "ipvs.minSyncPeriod",
     .flag = "ipvs-min-sync-period",
     .slot = &K::ipvs_min_sync_period,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .void_because = kNoIpvs},
    {.path = "ipvs.scheduler", .flag = "ipvs-scheduler", .slot = &K::ipvs_scheduler, .void_because = kNoIpvs},
    {.path = "ipvs.strictARP", .flag = "ipvs-strict-arp", .slot = &K::ipvs_strict_arp, .void_because = kNoIpvs},
    {.path = "ipvs.syncPeriod",
     .flag = "ipvs-sync-period",
     .slot = &K::ipvs_sync_period,
     .rule = kPositive,
     .use = kUsePeriod,
     .zero_is_unset = true,
     .void_because = kNoIpvs},
    {.path = "ipvs.tcpFinTimeout",
     .flag = "ipvs-tcpfin-timeout",
     .slot = &K::ipvs_tcp_fin_timeout,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .void_because = kNoIpvs},
    {.path = "ipvs.tcpTimeout",
     .flag = "ipvs-tcp-timeout",
     .slot = &K::ipvs_tcp_timeout,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .void_because = kNoIpvs},
    {.path = "ipvs.udpTimeout",
     .flag = "ipvs-udp-timeout",
     .slot = &K::ipvs_udp_timeout,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .void_because = kNoIpvs},
    {.path = "logging.flushFrequency",
     .flag = "log-flush-frequency",
     .slot = &K::logging_flush_frequency,
     .zero_is_unset = true,
     .void_because = kUnbuffered},
    {.path = "logging.format",
     .flag = "logging-format",
     .slot = &K::logging_format,
     .rule = is_log_format,
     .use = "text or json",
     .zero_is_unset = true,
     .help = "text or json (default: text)"},
    {.path = "logging.options.json.infoBufferSize",
     .flag = "log-json-info-buffer-size",
     .slot = &K::logging_json_info_buffer_size,
     .zero_is_unset = true,
     .void_because = kUnbuffered},
    {.path = "logging.options.json.splitStream",
     .flag = "log-json-split-stream",
     .slot = &K::logging_json_split_stream,
     .void_because = kUnbuffered},
    {.path = "logging.options.text.infoBufferSize",
     .flag = "log-text-info-buffer-size",
     .slot = &K::logging_text_info_buffer_size,
     .zero_is_unset = true,
     .void_because = kUnbuffered},
    {.path = "logging.options.text.splitStream",
     .flag = "log-text-split-stream",
     .slot = &K::logging_text_split_stream,
     .void_because = kUnbuffered},
    {.path = "logging.verbosity",
     .flag = "v",
     .slot = &K::logging_verbosity,
     .rule = kCount,
     .use = "a number of 0 or more",
     .help = "4 or more: log debug messages (default: 0)"},
    {.path = "logging.vmodule",
     .flag = "vmodule",
     .slot = std::monostate(),
     .void_because = "messages have one level for all modules: use --log-level"},
    {.path = "metricsBindAddress",
     .flag = "metrics-bind-address",
     .slot = &K::metrics_bind_address,
     .rule = is_listen_address,
     .use = kUseListen,
     .help = "/metrics and /proxyMode (default: 127.0.0.1:10249; or off)"},
    {.path = "mode",
     .flag = "proxy-mode",
     .slot = &K::mode,
     .rule = is_mode,
     .use = "iptables, ipvs or nftables",
     .help = "As --dataplane, in kube-proxy's words: iptables, nftables; empty for auto"},
    {.path = "nftables.masqueradeAll",
     .flag = "masquerade-all",
     .slot = &K::nftables_masquerade_all,
     .help = "Masquerade all traffic to ClusterIPs"},
    {.path = "nftables.masqueradeBit", .flag = "", .slot = &K::nftables_masquerade_bit, .rule = kBit, .use = kUseBit},
    {.path = "nftables.minSyncPeriod",
     .flag = "iptables-min-sync-period",
     .slot = &K::nftables_min_sync_period,
     .rule = kNotNegative,
     .use = kUseTimeout,
     .zero_is_unset = true,
     .void_because = kAtOnce},
    {.path = "nftables.syncPeriod",
     .flag = "iptables-sync-period",
     .slot = &K::nftables_sync_period,
     .rule = kPositive,
     .use = kUsePeriod,
     .zero_is_unset = true},
    {.path = "nodePortAddresses",
     .flag = "nodeport-addresses",
     .slot = &K::node_port_addresses,
     .rule = are_node_port_addresses,
     .use = "a list of ADDRESS/BITS, or primary alone",
     .help = "Where NodePorts answer (default: every local address; primary for mode nftables)"},
    {.path = "oomScoreAdj",
     .flag = "oom-score-adj",
     .slot = &K::oom_score_adj,
     .rule = kOomScore,
     .use = "a number from -1000 to 1000",
     .help = "Who is killed first when memory runs out (default: -999 with --config, else left alone)"},
    {.path = "portRange",
     .flag = "",
     .slot = &K::port_range,
     .void_because = "no port of the node is opened for a NodePort"},
    {.path = "showHiddenMetricsForVersion",
     .flag = "show-hidden-metrics-for-version",
     .slot = &K::show_hidden_metrics_for_version,
     .void_because = "no metric is hidden"},
    {.path = "windowsRunAsService", .flag = "", .slot = &K::windows_run_as_service, .void_because = kWindows},
    {.path = "winkernel.enableDSR", .flag = "", .slot = &K::winkernel_enable_dsr, .void_because = kWindows},
    {.path = "winkernel.forwardHealthCheckVip",
     .flag = "",
     .slot = &K::winkernel_forward_health_check_vip,
     .void_because = kWindows},
    {.path = "winkernel.networkName", .flag = "", .slot = &K::winkernel_network_name, .void_because = kWindows},
    {.path = "winkernel.rootHnsEndpointName",
     .flag = "",
     .slot = &K::winkernel_root_hns_endpoint_name,
     .void_because = kWindows},
    {.path = "winkernel.sourceVip", .flag = "", .slot = &K::winkernel_source_vip, .void_because = kWindows},
};

struct Gate {
  std::string_view name;
  bool locked = false;  // to true
};
constexpr Gate kGates[] = {{"AllAlpha"},
                           {"AllBeta"},
                           {"AllowServiceExternalIPs"},
                           {"ComponentFlagz"},
                           {"ComponentStatusz"},
                           {"ContextualLogging"},
                           {"LoggingAlphaOptions"},
                           {"LoggingBetaOptions"},
                           {"MultiCIDRServiceAllocator", true},
                           {"NFTablesProxyMode", true},
                           {"NativeHistograms"},
                           {"PreferSameTrafficDistribution", true}};

}  // namespace

std::span<const Setting> kube_proxy_settings() { return kSettings; }

std::optional<std::string> wrong_gate(const std::string& name, bool on) {
  const auto* gate =
      std::find_if(std::begin(kGates), std::end(kGates), [&](const Gate& one) { return one.name == name; });
  if (gate == std::end(kGates)) {
    std::string known;
    for (const Gate& one : kGates) known += base::cat(known.empty() ? "" : ", ", one.name);
    return "is no feature gate of kube-proxy: use " + known;
  }
  if (gate->locked && !on) return "is locked to true";
  return std::nullopt;
}

}  // namespace fairlead::agent
