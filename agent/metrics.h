// Metrics: kube-proxy's metric names (Kubernetes 1.36 pkg/proxy/metrics) where they mean the same here, and fairlead_*.
//
// kube-proxy has a proxier per family, here one worker applies both at once: what happened to a sync is counted in
// both families, with the time that the whole of it took. Series of one kube-proxy mode exist only with the dataplane
// of that name.
//
// Loop thread. prometheus-cpp's registry and text form stay inside metrics.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "agent/service_facts.h"
#include "base/clock.h"
#include "net/ip.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::agent {

// Values that are read off the agent when somebody asks.
struct Gauges {
  std::uint64_t services = 0;
  std::uint64_t endpoints = 0;
  std::uint64_t failing_services = 0;
  std::uint64_t service_changes_pending = 0;
  std::uint64_t endpoint_changes_pending = 0;
  bool source_connected = false;
  bool synced = false;
  WithoutLocal without_local{};
  std::string api_host{};  // of the API server; empty: there is none
  std::map<std::pair<std::string, std::string>, std::uint64_t> api_answers{};  // kube::HttpClient::Counters::answers
};

class Metrics {
 public:
  explicit Metrics(const std::string& version);
  ~Metrics();

  void set_dataplane(const std::string& name);              // once, when it is chosen
  void set_feature(const std::string& name, bool enabled);  // a Kubernetes feature gate, past beta
  enum class Sync { Full, Partial };
  void sync_done(Sync kind, base::Duration took, base::WallTime at);
  void sync_queued(base::WallTime at);
  void sync_failed(Sync kind);                    // in part or as a whole
  void programmed(base::Duration since_trigger);  // one change, from its trigger to the kernel
  void count_service_events(std::uint64_t n);
  void count_endpoint_events(std::uint64_t n);
  void count_kernel_writes(std::uint64_t n);
  void count_apply_failures(std::uint64_t n);
  void count_healthz(int code);
  void count_livez(int code);
  // A pass over the kernel's connection tracking table has ended.
  void conntrack_reconciled(net::Family family, base::Duration took, std::uint64_t deleted);
  void set_iptables_rules(const proxy::dataplane::RuleCount& rules);

  // Prometheus text exposition format 0.0.4.
  std::string text(const Gauges& gauges);
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Series;
  std::unique_ptr<Series> series_;
};

}  // namespace fairlead::agent
