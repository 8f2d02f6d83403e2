// FakeDataplane: a kernel made of a map, for tests. It counts writes as the real ones do, fails where it is told to,
// and keeps what each call was given.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::agent {

// What outlives the dataplane object, as kernel state does.
struct FakeKernel {
  using Key = proxy::model::Key;

  std::map<Key, proxy::model::ServiceState> services;
  proxy::model::NodeState node;
  std::vector<std::string> calls;  // "replace 3", "apply +1 -0"
  std::map<Key, unsigned> fail;    // how often writing this service fails from now on
  unsigned fail_all = 0;           // how many calls from now on fail as a whole
  unsigned notify_failures = 0;
  unsigned object_failures = 0;       // replace() calls that fail on an interface alone
  std::optional<Key> blame_on_apply;  // apply() reports this service too, whatever it was given
  std::function<void()> before_replace;
  bool translates_by_conntrack = true;
};

class FakeDataplane final : public proxy::dataplane::Dataplane {
 public:
  using Report = proxy::dataplane::Report;
  explicit FakeDataplane(FakeKernel& kernel, int notification_fd = -1) : kernel_(kernel), fd_(notification_fd) {}

  std::string_view name() const override { return "fake"; }

  Report replace(const proxy::model::NodeState& node,
                 const std::vector<proxy::model::ServiceState>& services) override {
    kernel_.node = node;
    kernel_.calls.push_back(base::cat("replace ", services.size()));
    if (kernel_.before_replace) kernel_.before_replace();
    Report report;
    if (refuses_all(report)) return report;
    if (kernel_.object_failures > 0) {
      --kernel_.object_failures;
      report.failures.push_back({{}, Error("no tc"), "interface eth1"});
    }
    auto old = kernel_.services;
    for (const auto& state : services) {
      write(report, state);
      old.erase(state.key);
    }
    for (const auto& [key, state] : old) erase(report, key);
    return report;
  }

  Report apply(const proxy::model::Changes& changes) override {
    kernel_.calls.push_back(base::cat("apply +", changes.upserted.size(), " -", changes.deleted.size()));
    Report report;
    if (refuses_all(report)) return report;
    for (const auto& state : changes.upserted) write(report, state);
    for (const auto& key : changes.deleted) erase(report, key);
    if (kernel_.blame_on_apply) report.failures.push_back({*kernel_.blame_on_apply, Error("taken by another")});
    return report;
  }

  bool translates_by_conntrack() const override { return kernel_.translates_by_conntrack; }

  Status remove() override {
    kernel_.services.clear();
    return {};
  }

  int notification_fd() const override { return fd_; }
  Report handle_notification() override {
    kernel_.calls.emplace_back("notification");
    Report report;
    if (kernel_.notify_failures > 0) {
      --kernel_.notify_failures;
      report.failures.push_back({{}, Error("interface eth1: no tc")});
    }
    return report;
  }

 private:
  bool refuses_all(Report& report) {
    if (kernel_.fail_all == 0) return false;
    --kernel_.fail_all;
    report.failures.push_back({{}, Error("no buffer space")});
    return true;
  }
  bool refuses(Report& report, const proxy::model::Key& key) {
    const auto it = kernel_.fail.find(key);
    if (it == kernel_.fail.end() || it->second == 0) return false;
    --it->second;
    report.failures.push_back({key, Error("map is full")});
    return true;
  }
  void write(Report& report, const proxy::model::ServiceState& state) {
    const auto it = kernel_.services.find(state.key);
    if (it != kernel_.services.end() && it->second == state) return;
    ++report.kernel_writes;
    if (!refuses(report, state.key)) kernel_.services.insert_or_assign(state.key, state);
  }
  void erase(Report& report, const proxy::model::Key& key) {
    if (!kernel_.services.contains(key)) return;
    ++report.kernel_writes;
    if (!refuses(report, key)) kernel_.services.erase(key);
  }

  FakeKernel& kernel_;
  int fd_;
};

// A service with `endpoints` endpoints; states with different counts differ.
inline proxy::model::ServiceState fake_state(const std::string& name, unsigned endpoints = 1) {
  proxy::model::ServiceState state;
  state.key = {"default", name};
  state.counts.total = endpoints;
  return state;
}

}  // namespace fairlead::agent
