#include "agent/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <chrono>
#include <sstream>
#include <utility>
#include <vector>

#include "agent/process_stats.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using RuleTable = proxy::dataplane::RuleCount::Table;
using Labels = std::map<std::string, std::string>;

// In the order of net::Family.
constexpr std::array<const char*, 2> kFamilies = {"IPv4", "IPv6"};

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }
double unix_seconds(base::WallTime time) { return seconds(time.time_since_epoch()); }

std::vector<double> sync_buckets() {
  std::vector<double> bounds;
  for (double bound = 0.001; bounds.size() < 15; bound *= 2) bounds.push_back(bound);
  return bounds;
}

std::vector<double> programming_buckets() {
  std::vector<double> bounds = {0.25, 0.5};
  for (int i = 1; i < 60; ++i) bounds.push_back(i);
  for (int i = 60; i < 120; i += 5) bounds.push_back(i);
  for (int i = 120; i <= 300; i += 30) bounds.push_back(i);
  return bounds;
}

#if defined(__x86_64__)
constexpr const char* kPlatform = "linux/amd64";
#elif defined(__aarch64__)
constexpr const char* kPlatform = "linux/arm64";
#else
constexpr const char* kPlatform = "linux/other";
#endif
#if defined(__clang__)
constexpr const char* kCompiler = "clang";
#else
constexpr const char* kCompiler = "gcc";
#endif
// Whose behaviour this is: alerts on version skew compare what stands before the "+".
constexpr const char* kKubernetesMajor = "1";
constexpr const char* kKubernetesMinor = "36";

template <typename Metric>
using PerFamily = std::array<Metric*, kFamilies.size()>;

}  // namespace

struct Metrics::Series {
  prometheus::Registry registry;
  PerFamily<prometheus::Histogram> sync_any, sync_full, sync_partial, programming;
  PerFamily<prometheus::Gauge> last_sync, last_queued;
  prometheus::Counter *service_events, *endpoint_events, *kernel_writes, *apply_failures;
  prometheus::Gauge *service_pending, *endpoint_pending;
  prometheus::Counter *healthz_ok, *healthz_bad, *livez_ok, *livez_bad;
  prometheus::Gauge *services, *endpoints, *failing, *connected, *synced;
  prometheus::Gauge *resident, *size, *descriptors, *most_descriptors;
  prometheus::Counter* cpu;
  PerFamily<prometheus::Gauge> without_local_internal, without_local_external;
  // Only with some dataplanes; empty until one is chosen.
  std::map<Sync, std::vector<PerFamily<prometheus::Counter>>> failures;
  PerFamily<prometheus::Histogram> conntrack_passes{};
  PerFamily<prometheus::Counter> conntrack_deleted{};
  std::map<RuleTable, PerFamily<prometheus::Gauge>> iptables_total, iptables_last;

  prometheus::Counter* counter(const char* name, const char* help, const Labels& labels = {}) {
    return &prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(labels);
  }
  prometheus::Gauge* gauge(const char* name, const char* help, const Labels& labels = {}) {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(labels);
  }
  static Labels of_family(std::size_t family, Labels labels = {}) {
    labels.emplace("ip_family", kFamilies[family]);
    return labels;
  }
  PerFamily<prometheus::Gauge> gauges(const char* name, const char* help, const Labels& labels = {}) {
    return {gauge(name, help, of_family(0, labels)), gauge(name, help, of_family(1, labels))};
  }
  PerFamily<prometheus::Counter> counters(const char* name, const char* help) {
    return {counter(name, help, of_family(0)), counter(name, help, of_family(1))};
  }
  PerFamily<prometheus::Histogram> histograms(const char* name, const char* help, const std::vector<double>& bounds) {
    auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
    return {&family.Add(of_family(0), bounds), &family.Add(of_family(1), bounds)};
  }
  void add_kube_proxy_series();
  void add_component_series(const std::string& version);
  void add_own_series(const std::string& version);
  void add_conntrack_series();
  void add_nftables_series();
  void add_iptables_series();
};

void Metrics::Series::add_kube_proxy_series() {
  sync_any = histograms("kubeproxy_sync_proxy_rules_duration_seconds", "Time one sync took", sync_buckets());
  sync_full =
      histograms("kubeproxy_sync_full_proxy_rules_duration_seconds", "Time a sync of everything took", sync_buckets());
  sync_partial =
      histograms("kubeproxy_sync_partial_proxy_rules_duration_seconds", "Time a sync of changes took", sync_buckets());
  last_sync = gauges("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "When the last sync succeeded");
  last_queued = gauges("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "When a sync was last queued");
  programming =
      histograms("kubeproxy_network_programming_duration_seconds",
                 "From endpoints.kubernetes.io/last-change-trigger-time to the kernel", programming_buckets());
  endpoint_pending =
      gauge("kubeproxy_sync_proxy_rules_endpoint_changes_pending", "EndpointSlice events not yet applied");
  endpoint_events = counter("kubeproxy_sync_proxy_rules_endpoint_changes_total", "EndpointSlice events");
  service_pending = gauge("kubeproxy_sync_proxy_rules_service_changes_pending", "Service events not yet applied");
  service_events = counter("kubeproxy_sync_proxy_rules_service_changes_total", "Service events");
  const char* without_local = "kubeproxy_sync_proxy_rules_no_local_endpoints_total";
  const char* meaning = "Service ports with a Local traffic policy and endpoints on other nodes only";
  without_local_internal = gauges(without_local, meaning, {{"traffic_policy", "internal"}});
  without_local_external = gauges(without_local, meaning, {{"traffic_policy", "external"}});
  healthz_ok = counter("kubeproxy_proxy_healthz_total", "Answers of /healthz by code", {{"code", "200"}});
  healthz_bad = counter("kubeproxy_proxy_healthz_total", "Answers of /healthz by code", {{"code", "503"}});
  livez_ok = counter("kubeproxy_proxy_livez_total", "Answers of /livez by code", {{"code", "200"}});
  livez_bad = counter("kubeproxy_proxy_livez_total", "Answers of /livez by code", {{"code", "503"}});
}

// What every Kubernetes component says of itself, and every process.
void Metrics::Series::add_component_series(const std::string& version) {
  const std::string like = base::cat("v", kKubernetesMajor, ".", kKubernetesMinor, ".0+fairlead-", version);
  gauge("kubernetes_build_info", "Always 1; the Kubernetes release whose kube-proxy this behaves as",
        {{"major", kKubernetesMajor},
         {"minor", kKubernetesMinor},
         {"git_version", like},
         {"git_commit", ""},
         {"git_tree_state", ""},
         {"build_date", ""},
         {"go_version", ""},
         {"compiler", kCompiler},
         {"platform", kPlatform}})
      ->Set(1);
  resident = gauge("process_resident_memory_bytes", "Resident memory");
  size = gauge("process_virtual_memory_bytes", "Virtual memory");
  descriptors = gauge("process_open_fds", "Open file descriptors");
  most_descriptors = gauge("process_max_fds", "Most file descriptors that may be open");
  cpu = counter("process_cpu_seconds_total", "CPU time of user and system");
  gauge("process_start_time_seconds", "When the process started")->Set(unix_seconds(std::chrono::system_clock::now()));
}

void Metrics::Series::add_conntrack_series() {
  conntrack_passes = histograms("kubeproxy_conntrack_reconciler_sync_duration_seconds",
                                "Time one pass over the connection tracking table took", sync_buckets());
  conntrack_deleted = counters("kubeproxy_conntrack_reconciler_deleted_entries_total",
                               "Connection tracking entries deleted because their endpoint is gone");
}

void Metrics::Series::add_nftables_series() {
  const auto failed = counters("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Syncs that failed");
  failures[Sync::Full] = failures[Sync::Partial] = {failed};
  counters("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
           "Failures to delete what is out of use; part of the sync here, so this stays 0");
}

void Metrics::Series::add_iptables_series() {
  const auto any =
      counters("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "Runs of iptables-restore that failed");
  const auto partial = counters("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
                                "Runs of iptables-restore that failed on a change");
  failures[Sync::Full] = {any};
  failures[Sync::Partial] = {any, partial};
  const std::pair<RuleTable, const char*> tables[] = {{RuleTable::Filter, "filter"}, {RuleTable::Nat, "nat"}};
  for (const auto& [table, name] : tables) {
    iptables_total[table] =
        gauges("kubeproxy_sync_proxy_rules_iptables_total", "Rules of ours in the table", {{"table", name}});
    iptables_last[table] = gauges("kubeproxy_sync_proxy_rules_iptables_last",
                                  "Rules that the last sync wrote into the table", {{"table", name}});
  }
}

void Metrics::Series::add_own_series(const std::string& version) {
  kernel_writes = counter("fairlead_kernel_writes_total", "Writes that changed, or tried to change, kernel state");
  apply_failures = counter("fairlead_apply_failures_total", "Failed attempts to apply a service, or everything");
  services = gauge("fairlead_services", "Services known");
  endpoints = gauge("fairlead_endpoints", "Endpoints known, ready or not");
  failing = gauge("fairlead_failing_services", "Services whose last attempt failed");
  connected = gauge("fairlead_source_connected", "1 while the API server, or the directory, is being followed");
  synced = gauge("fairlead_synced", "1 once everything has been applied for the first time");
  gauge("fairlead_build_info", "Always 1", {{"version", version}})->Set(1);
}

Metrics::Metrics(const std::string& version) : series_(std::make_unique<Series>()) {
  series_->add_kube_proxy_series();
  series_->add_component_series(version);
  series_->add_own_series(version);
}

Metrics::~Metrics() = default;

void Metrics::set_dataplane(const std::string& name) {
  series_->gauge("fairlead_dataplane_info", "1 for the dataplane in use", {{"dataplane", name}})->Set(1);
  if (name == "nftables") series_->add_nftables_series();
  if (name == "iptables") series_->add_iptables_series();
  if (name != "ebpf") series_->add_conntrack_series();
}

void Metrics::set_feature(const std::string& name, bool enabled) {
  series_->gauge("kubernetes_feature_enabled", "1 for a Kubernetes feature that is on", {{"name", name}, {"stage", ""}})
      ->Set(enabled ? 1 : 0);
}

void Metrics::sync_done(Sync kind, base::Duration took, base::WallTime at) {
  for (std::size_t family = 0; family < kFamilies.size(); ++family) {
    series_->sync_any[family]->Observe(seconds(took));
    (kind == Sync::Full ? series_->sync_full : series_->sync_partial)[family]->Observe(seconds(took));
    series_->last_sync[family]->Set(unix_seconds(at));
  }
}

void Metrics::sync_queued(base::WallTime at) {
  for (prometheus::Gauge* gauge : series_->last_queued) gauge->Set(unix_seconds(at));
}

void Metrics::sync_failed(Sync kind) {
  for (const auto& counters : series_->failures[kind]) {
    for (prometheus::Counter* counter : counters) counter->Increment();
  }
}

void Metrics::conntrack_reconciled(net::Family family, base::Duration took, std::uint64_t deleted) {
  const auto index = static_cast<std::size_t>(family);
  if (series_->conntrack_passes[index] == nullptr) return;
  series_->conntrack_passes[index]->Observe(seconds(took));
  series_->conntrack_deleted[index]->Increment(static_cast<double>(deleted));
}

void Metrics::set_iptables_rules(const proxy::dataplane::RuleCount& rules) {
  if (series_->iptables_total.empty()) return;
  const auto family = static_cast<std::size_t>(rules.family);
  series_->iptables_total[rules.table][family]->Set(static_cast<double>(rules.total));
  series_->iptables_last[rules.table][family]->Set(static_cast<double>(rules.written));
}

void Metrics::programmed(base::Duration since_trigger) {
  for (prometheus::Histogram* histogram : series_->programming) histogram->Observe(seconds(since_trigger));
}

void Metrics::count_service_events(std::uint64_t n) { series_->service_events->Increment(static_cast<double>(n)); }
void Metrics::count_endpoint_events(std::uint64_t n) { series_->endpoint_events->Increment(static_cast<double>(n)); }
void Metrics::count_kernel_writes(std::uint64_t n) { series_->kernel_writes->Increment(static_cast<double>(n)); }
void Metrics::count_apply_failures(std::uint64_t n) { series_->apply_failures->Increment(static_cast<double>(n)); }
void Metrics::count_healthz(int code) { (code == 200 ? series_->healthz_ok : series_->healthz_bad)->Increment(); }
void Metrics::count_livez(int code) { (code == 200 ? series_->livez_ok : series_->livez_bad)->Increment(); }

std::string Metrics::text(const Gauges& gauges) {
  const ProcessStats process = process_stats();
  series_->services->Set(static_cast<double>(gauges.services));
  series_->endpoints->Set(static_cast<double>(gauges.endpoints));
  series_->failing->Set(static_cast<double>(gauges.failing_services));
  series_->service_pending->Set(static_cast<double>(gauges.service_changes_pending));
  series_->endpoint_pending->Set(static_cast<double>(gauges.endpoint_changes_pending));
  series_->connected->Set(gauges.source_connected ? 1 : 0);
  series_->synced->Set(gauges.synced ? 1 : 0);
  series_->resident->Set(static_cast<double>(process.resident_bytes));
  series_->size->Set(static_cast<double>(process.virtual_bytes));
  series_->descriptors->Set(static_cast<double>(process.open_descriptors));
  series_->most_descriptors->Set(static_cast<double>(process.max_descriptors));
  series_->cpu->Increment(process.cpu_seconds - series_->cpu->Value());
  for (std::size_t family = 0; family < kFamilies.size(); ++family) {
    series_->without_local_internal[family]->Set(static_cast<double>(gauges.without_local.internal[family]));
    series_->without_local_external[family]->Set(static_cast<double>(gauges.without_local.external[family]));
  }
  for (const auto& [answer, count] : gauges.api_answers) {
    prometheus::Counter* counter =
        series_->counter("rest_client_requests_total", "Requests to the API server by method and status",
                         {{"code", answer.second}, {"host", gauges.api_host}, {"method", answer.first}});
    counter->Increment(static_cast<double>(count) - counter->Value());
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, series_->registry.Collect());
  return std::move(out).str();
}

}  // namespace fairlead::agent
