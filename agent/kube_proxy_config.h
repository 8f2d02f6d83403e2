// KubeProxyConfiguration: kube-proxy's component configuration (kubeproxy.config.k8s.io/v1alpha1, Kubernetes 1.36), as
// a file or as flags. kube_proxy_settings.h has the one table behind decoding, flags and writing; what the values mean
// here is in kube_proxy_effect.h. Pure.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"

namespace fairlead::agent {

// Every field of the API object, with its default; members are named after the field's path.
struct KubeProxyConfiguration {
  using Gates = std::map<std::string, bool>;

  std::string bind_address = "0.0.0.0";
  bool bind_address_hard_fail = false;
  std::string client_connection_accept_content_types;
  std::int32_t client_connection_burst = 10;
  std::string client_connection_content_type = "application/vnd.kubernetes.protobuf";
  std::string client_connection_kubeconfig;
  double client_connection_qps = 5;
  std::string cluster_cidr;
  base::Duration config_sync_period = std::chrono::minutes(15);
  std::int32_t conntrack_max_per_core = 32768;
  std::int32_t conntrack_min = 131072;
  bool conntrack_tcp_be_liberal = false;
  base::Duration conntrack_tcp_close_wait_timeout = std::chrono::hours(1);
  base::Duration conntrack_tcp_established_timeout = std::chrono::hours(24);
  base::Duration conntrack_udp_stream_timeout{0};
  base::Duration conntrack_udp_timeout{0};
  std::string detect_local_bridge_interface;
  std::string detect_local_interface_name_prefix;
  std::string detect_local_mode = "ClusterCIDR";
  bool enable_profiling = false;
  Gates feature_gates;
  std::string healthz_bind_address;  // empty until complete() has been here; "off" for none
  std::string hostname_override;
  bool iptables_localhost_node_ports = true;
  bool iptables_masquerade_all = false;
  std::int32_t iptables_masquerade_bit = 14;
  base::Duration iptables_min_sync_period = std::chrono::seconds(1);
  base::Duration iptables_sync_period = std::chrono::seconds(30);
  std::vector<std::string> ipvs_exclude_cidrs;
  base::Duration ipvs_min_sync_period{0};
  std::string ipvs_scheduler;
  bool ipvs_strict_arp = false;
  base::Duration ipvs_sync_period = std::chrono::seconds(30);
  base::Duration ipvs_tcp_fin_timeout{0};
  base::Duration ipvs_tcp_timeout{0};
  base::Duration ipvs_udp_timeout{0};
  base::Duration logging_flush_frequency = std::chrono::seconds(5);
  std::string logging_format = "text";
  std::string logging_json_info_buffer_size = "0";
  bool logging_json_split_stream = false;
  std::string logging_text_info_buffer_size = "0";
  bool logging_text_split_stream = false;
  std::int32_t logging_verbosity = 0;
  std::string metrics_bind_address;  // as healthz_bind_address
  std::string mode;
  bool nftables_masquerade_all = false;
  std::int32_t nftables_masquerade_bit = 14;
  base::Duration nftables_min_sync_period = std::chrono::seconds(1);
  base::Duration nftables_sync_period = std::chrono::seconds(30);
  std::vector<std::string> node_port_addresses;
  std::int32_t oom_score_adj = -999;
  std::string port_range;
  std::string show_hidden_metrics_for_version;
  bool windows_run_as_service = false;
  bool winkernel_enable_dsr = false;
  bool winkernel_forward_health_check_vip = false;
  std::string winkernel_network_name;
  std::string winkernel_root_hns_endpoint_name;
  std::string winkernel_source_vip;

  bool operator==(const KubeProxyConfiguration&) const = default;
};

struct DecodedConfiguration {
  KubeProxyConfiguration configuration;
  std::vector<std::string> warnings;  // of fields that do not exist or appear twice: the rest is in force
};
// YAML or JSON. The Error has line, field, value and what is allowed. Completed and checked.
Result<DecodedConfiguration> decode_kube_proxy_configuration(std::string_view text);

// Sets every field behind `flag` (a flag of kube_proxy_settings()). `again`: it was given before, so that lists grow.
enum class Occurrence : std::uint8_t { First, Again };
Status set_flag(KubeProxyConfiguration& configuration, std::string_view flag, const std::string& text,
                Occurrence occurrence);

// Defaults that depend on other fields: addresses to listen on, their ports, NodePorts of mode nftables.
void complete(KubeProxyConfiguration& configuration);

// A rule among several fields that is broken.
struct Complaint {
  std::string path;  // "iptables.minSyncPeriod"
  std::string what;
};
std::vector<Complaint> check(const KubeProxyConfiguration& configuration);

// The v1alpha1 object; fields sorted by name.
base::Value to_value(const KubeProxyConfiguration& configuration);
std::string to_yaml(const KubeProxyConfiguration& configuration);
std::ostream& operator<<(std::ostream& out, const KubeProxyConfiguration& configuration);

}  // namespace fairlead::agent
