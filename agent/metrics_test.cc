#include "agent/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/strings.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using net::Family;

bool has_line(const std::string& text, const std::string& line) {
  return text.starts_with(line + "\n") || text.find("\n" + line + "\n") != text.npos;
}

#define EXPECT_LINE(text, line) EXPECT_TRUE(has_line(text, line)) << (line) << " is not in\n" << (text)

class MetricsTest : public testing::Test {
 protected:
  Metrics metrics{"1.2"};
  // The bounds of a histogram's buckets, one family's.
  static std::vector<std::string> bounds(const std::string& text, const std::string& name) {
    std::vector<std::string> out;
    const std::string start = base::cat(name, "_bucket{ip_family=\"IPv4\",le=\"");
    for (std::size_t at = text.find(start); at != text.npos; at = text.find(start, at + 1)) {
      out.push_back(text.substr(at + start.size(), text.find('"', at + start.size()) - at - start.size()));
    }
    return out;
  }
};

TEST_F(MetricsTest, HaveKubeProxysNamesAndTypes) {
  const std::string text = metrics.text({});
  for (const char* line : {"kubeproxy_sync_proxy_rules_duration_seconds histogram",
                           "kubeproxy_sync_full_proxy_rules_duration_seconds histogram",
                           "kubeproxy_sync_partial_proxy_rules_duration_seconds histogram",
                           "kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge",
                           "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds gauge",
                           "kubeproxy_network_programming_duration_seconds histogram",
                           "kubeproxy_sync_proxy_rules_endpoint_changes_pending gauge",
                           "kubeproxy_sync_proxy_rules_endpoint_changes_total counter",
                           "kubeproxy_sync_proxy_rules_service_changes_pending gauge",
                           "kubeproxy_sync_proxy_rules_service_changes_total counter",
                           "kubeproxy_sync_proxy_rules_no_local_endpoints_total gauge",
                           "kubeproxy_proxy_healthz_total counter",
                           "kubeproxy_proxy_livez_total counter",
                           "kubernetes_build_info gauge",
                           "process_cpu_seconds_total counter",
                           "process_max_fds gauge",
                           "process_open_fds gauge",
                           "process_resident_memory_bytes gauge",
                           "process_start_time_seconds gauge",
                           "process_virtual_memory_bytes gauge"}) {
    EXPECT_LINE(text, base::cat("# TYPE ", line));
  }
}

TEST_F(MetricsTest, HaveKubeProxysBuckets) {
  const std::string text = metrics.text({});
  const auto sync = bounds(text, "kubeproxy_sync_proxy_rules_duration_seconds");
  ASSERT_EQ(sync.size(), 16U);
  EXPECT_EQ(sync[0], "0.001");
  EXPECT_EQ(sync[14], "16.384");
  EXPECT_EQ(sync[15], "+Inf");
  const auto programming = bounds(text, "kubeproxy_network_programming_duration_seconds");
  ASSERT_EQ(programming.size(), 2U + 59 + 12 + 7 + 1);
  EXPECT_EQ(programming[0], "0.25");
  EXPECT_EQ(programming[60], "59");
  EXPECT_EQ(programming[61], "60");
  EXPECT_EQ(programming[72], "115");
  EXPECT_EQ(programming[79], "300");
}

TEST_F(MetricsTest, SeriesOfOneModeExistWithItsDataplaneOnly) {
  const auto names = [](const char* dataplane) {
    Metrics each("1.2");
    each.set_dataplane(dataplane);
    const std::string text = each.text({});
    std::vector<std::string> found;
    for (const char* name : {"_iptables_total", "_nftables_sync_failures_total", "conntrack_reconciler_"}) {
      if (text.find(name) != text.npos) found.emplace_back(name);
    }
    return found;
  };
  EXPECT_EQ(names("ebpf"), std::vector<std::string>());
  EXPECT_EQ(names("nftables"), (std::vector<std::string>{"_nftables_sync_failures_total", "conntrack_reconciler_"}));
  EXPECT_EQ(names("iptables"), (std::vector<std::string>{"_iptables_total", "conntrack_reconciler_"}));
}

TEST_F(MetricsTest, ASyncThatFailedCountsInBothFamilies) {
  metrics.set_dataplane("nftables");
  metrics.sync_failed(Metrics::Sync::Full);
  metrics.sync_failed(Metrics::Sync::Partial);
  const std::string text = metrics.text({});
  EXPECT_LINE(text, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 2");
  EXPECT_LINE(text, "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv6\"} 2");
}

TEST_F(MetricsTest, WithIptablesAPartialRestoreThatFailedCountsTwice) {
  metrics.set_dataplane("iptables");
  metrics.sync_failed(Metrics::Sync::Full);
  metrics.sync_failed(Metrics::Sync::Partial);
  metrics.set_iptables_rules(
      {.family = Family::V4, .table = proxy::dataplane::RuleCount::Table::Nat, .total = 120, .written = 7});
  const std::string text = metrics.text({});
  EXPECT_LINE(text, "kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family=\"IPv4\"} 2");
  EXPECT_LINE(text, "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family=\"IPv4\"} 1");
  EXPECT_LINE(text, "kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"} 120");
  EXPECT_LINE(text, "kubeproxy_sync_proxy_rules_iptables_last{ip_family=\"IPv4\",table=\"nat\"} 7");
  EXPECT_LINE(text, "kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv6\",table=\"filter\"} 0");
}

TEST_F(MetricsTest, APassOverConntrackIsOneFamilys) {
  metrics.conntrack_reconciled(Family::V4, 3ms, 5);  // no dataplane yet: nowhere to count
  metrics.set_dataplane("nftables");
  metrics.conntrack_reconciled(Family::V6, 3ms, 5);
  const std::string text = metrics.text({});
  EXPECT_LINE(text, "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv6\"} 5");
  EXPECT_LINE(text, "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv6\"} 1");
  EXPECT_LINE(text, "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"} 0");
}

TEST_F(MetricsTest, PortsWithoutLocalEndpointsAreShownByPolicyAndFamily) {
  const std::string text = metrics.text({.without_local = {.internal = {1, 2}, .external = {3, 4}}});
  const std::string name = "kubeproxy_sync_proxy_rules_no_local_endpoints_total";
  EXPECT_LINE(text, name + "{ip_family=\"IPv4\",traffic_policy=\"internal\"} 1");
  EXPECT_LINE(text, name + "{ip_family=\"IPv6\",traffic_policy=\"internal\"} 2");
  EXPECT_LINE(text, name + "{ip_family=\"IPv4\",traffic_policy=\"external\"} 3");
  EXPECT_LINE(text, name + "{ip_family=\"IPv6\",traffic_policy=\"external\"} 4");
}

TEST_F(MetricsTest, TheBuildIsThatOfTheKubernetesReleaseItBehavesAs) {
  const std::string text = metrics.text({});
  EXPECT_NE(text.find("git_version=\"v1.36.0+fairlead-1.2\""), text.npos);
  EXPECT_EQ(text.find("kubernetes_feature_enabled"), text.npos);
  metrics.set_feature("NFTablesProxyMode", true);
  EXPECT_LINE(metrics.text({}), "kubernetes_feature_enabled{name=\"NFTablesProxyMode\",stage=\"\"} 1");
}

TEST_F(MetricsTest, RequestsToTheApiServerAreCountedByMethodAndCode) {
  Gauges gauges;
  gauges.api_host = "10.0.0.1:6443";
  gauges.api_answers = {{{"GET", "200"}, 7}, {{"POST", "<error>"}, 1}};
  (void)metrics.text(gauges);
  gauges.api_answers[{"GET", "200"}] = 9;
  const std::string text = metrics.text(gauges);
  EXPECT_LINE(text, "rest_client_requests_total{code=\"200\",host=\"10.0.0.1:6443\",method=\"GET\"} 9");
  EXPECT_LINE(text, "rest_client_requests_total{code=\"<error>\",host=\"10.0.0.1:6443\",method=\"POST\"} 1");
}

}  // namespace
}  // namespace fairlead::agent
