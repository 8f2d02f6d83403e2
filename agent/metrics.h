// Metrics: kube-proxy's metric names (Kubernetes 1.36 pkg/proxy/metrics) where they mean the same here, and fairlead_*.
//
// Loop thread. prometheus-cpp's registry and text form stay inside metrics.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"

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
};

class Metrics {
 public:
  explicit Metrics(const std::string& version);
  ~Metrics();

  void set_dataplane(const std::string& name);  // once, when it is chosen
  enum class Sync { Full, Partial };
  void sync_done(Sync kind, base::Duration took, base::WallTime at);
  void sync_queued(base::WallTime at);
  void programmed(base::Duration since_trigger);  // one change, from its trigger to the kernel
  void count_service_events(std::uint64_t n);
  void count_endpoint_events(std::uint64_t n);
  void count_kernel_writes(std::uint64_t n);
  void count_apply_failures(std::uint64_t n);
  void count_healthz(int code);
  void count_livez(int code);

  // Prometheus text exposition format 0.0.4.
  std::string text(const Gauges& gauges);
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Series;
  std::unique_ptr<Series> series_;
};

}  // namespace fairlead::agent
