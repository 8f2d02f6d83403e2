#include "tests/demo/traffic.h"

#include <algorithm>

#include "base/strings.h"
#include "tests/demo/answers.h"
#include "tests/demo/interrupt.h"

namespace fairlead::demo {

using base::cat;

// Long enough for a SYN to be sent again, which the kernel does after a second.
constexpr unsigned kTimeoutMs = 2500;

namespace {

// Apart, because g++ 12 at -O2 takes a moved-from Result<unique_ptr> for one that is freed.
Status take(Result<std::unique_ptr<testbed::Load>> started, std::unique_ptr<testbed::Load>& load) {
  if (!started) return std::move(started).error();
  load.swap(*started);
  return {};
}

}  // namespace

std::uint64_t FlowReport::lost() const {
  if (!flow.long_lived) return 0;
  return std::max(std::min<std::uint64_t>(load.failed(), flow.workers),
                  load.connections - std::min<std::uint64_t>(load.connections, flow.workers));
}

Result<Traffic> Traffic::start(Cluster& cluster, const std::vector<Flow>& flows) {
  Traffic traffic;
  for (const Flow& flow : flows) {
    testbed::LoadSpec spec;
    spec.to = flow.to;
    spec.long_lived = flow.long_lived;
    spec.parallel = flow.workers;
    spec.rate = flow.rate;
    spec.timeout_ms = kTimeoutMs;
    Running& running = traffic.running_.emplace_back(Running{flow, nullptr});
    TRY_CONTEXT(take(cluster.testbed().start_load(flow.from, spec), running.load), flow.name);
  }
  return traffic;
}

Result<std::vector<FlowReport>> Traffic::stop() {
  std::vector<FlowReport> reports;
  for (Running& each : running_) reports.push_back({each.flow, TRY_CONTEXT(each.load->stop(), each.flow.name)});
  running_.clear();
  return reports;
}

std::vector<Flow> flows_through(const Cluster& cluster, unsigned node) {
  const std::string pod = cat("pod", node, "a");
  const testbed::Target v4 = cluster.subject().cluster_ip(net::Family::V4);
  const testbed::Target v6 = cluster.subject().cluster_ip(net::Family::V6);
  const testbed::Target outside = cluster.node_port(node, net::Family::V4);
  return {{.name = "new, ClusterIP IPv4", .from = pod, .to = v4, .rate = 300},
          {.name = "new, ClusterIP IPv6", .from = pod, .to = v6, .rate = 100},
          {.name = cat("new, NodePort of node", node), .from = "client", .to = outside, .rate = 200},
          {.name = "long-lived, ClusterIP", .from = pod, .to = v4, .long_lived = true, .workers = 10, .rate = 200},
          {.name = cat("long-lived, NodePort of node", node),
           .from = "client",
           .to = outside,
           .long_lived = true,
           .workers = 10,
           .rate = 200}};
}

Table traffic_table(const std::vector<FlowReport>& reports) {
  Table table({{"connections", Align::Left},
               {"from", Align::Left},
               {"opened"},
               {"lost"},
               {"requests"},
               {"failed"},
               {"longest"},
               {"", Align::Left}});
  for (const FlowReport& each : reports) {
    table.add({each.flow.name, each.flow.from, cat(each.load.connections),
               each.flow.long_lived ? cat(each.lost()) : "-", cat(each.load.requests), cat(each.load.failed()),
               cat(fixed(each.load.max_us / 1000.0, 1), " ms"), error_text(each.load.errors)});
  }
  return table;
}

std::uint64_t requests_of(const std::vector<FlowReport>& reports) {
  std::uint64_t sum = 0;
  for (const FlowReport& each : reports) sum += each.load.requests;
  return sum;
}

std::uint64_t failures_of(const std::vector<FlowReport>& reports) {
  std::uint64_t sum = 0;
  for (const FlowReport& each : reports) sum += each.load.failed();
  return sum;
}

std::uint64_t answers_of(const std::vector<FlowReport>& reports, const std::string& pod) {
  std::uint64_t sum = 0;
  for (const FlowReport& each : reports) {
    const auto found = each.load.answers.find(pod);
    if (found != each.load.answers.end()) sum += found->second;
  }
  return sum;
}

}  // namespace fairlead::demo
