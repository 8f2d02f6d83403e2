// What happens to traffic when an agent is killed, and when a node changes its dataplane.

#include "base/strings.h"
#include "tests/demo/interrupt.h"
#include "tests/demo/show.h"
#include "tests/demo/traffic.h"

namespace fairlead::demo {
namespace {

using base::cat;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr unsigned kNode = 3;
constexpr milliseconds kWhile{500};  // for the load to run before and after what happens

// Sums over the flows that start at `from`.
struct Losses {
  std::uint64_t opened = 0;  // new connections
  std::uint64_t failed = 0;  // of them
  std::uint64_t established = 0;
  std::uint64_t lost = 0;  // of them
};

Losses losses(const std::vector<FlowReport>& reports, const std::string& from) {
  Losses sum;
  for (const FlowReport& each : reports) {
    if (each.flow.from != from) continue;
    if (each.flow.long_lived) {
      sum.established += each.flow.workers;
      sum.lost += each.lost();
    } else {
      sum.opened += each.load.connections;
      sum.failed += each.load.failed();
    }
  }
  return sum;
}

}  // namespace

Status kill_an_agent(Show& show) {
  Cluster& cluster = *show.cluster;
  testbed::AgentProcess& agent = cluster.agent(kNode);
  show.screen.step(cat("the agent of node", kNode, " is killed with -9 under load"));
  Traffic traffic = TRY(Traffic::start(cluster, flows_through(cluster, kNode)));
  TRY(Interrupt::pause(kWhile));
  agent.kill();
  const auto killed = steady_clock::now();
  TRY(Interrupt::pause(2 * kWhile));
  const auto restarted = steady_clock::now();
  TRY(agent.start());
  const auto in_sync = steady_clock::now();
  const testbed::AgentStatus status = TRY(agent.status());
  TRY(Interrupt::pause(kWhile));
  const std::vector<FlowReport> reports = TRY(traffic.stop());

  show.screen.title(cat("Traffic through node", kNode, " while its agent was dead and came back"));
  show.screen.table(traffic_table(reports));
  show.screen.note(cat("no agent for ", milliseconds_text(restarted - killed), "; the new one was in sync after ",
                       milliseconds_text(in_sync - restarted), ", found ", status.services,
                       " services in the kernel and wrote ", status.kernel_writes, " times"));
  show.screen.promise(failures_of(reports) == 0 && requests_of(reports) > 0,
                      cat(requests_of(reports), " requests: ", failures_of(reports), " failed"));
  const Losses inside = losses(reports, cat("pod", kNode, "a"));
  const Losses outside = losses(reports, "client");
  show.screen.promise(
      inside.lost + outside.lost == 0,
      cat(inside.established + outside.established, " established connections: ", inside.lost + outside.lost, " lost"));
  show.screen.promise(status.kernel_writes == 0, "the restarted agent adopted what was there and wrote nothing");
  return {};
}

Status switch_the_dataplane(Show& show) {
  Cluster& cluster = *show.cluster;
  const std::string from = show.dataplane;
  const std::string to = from == "ebpf" ? "nftables" : "ebpf";
  show.screen.step(cat("every node changes from ", from, " to ", to, " under load, one after the other"));
  Traffic traffic = TRY(Traffic::start(cluster, flows_through(cluster, kNode)));
  TRY(Interrupt::pause(kWhile));
  steady_clock::duration took{};
  for (unsigned node = 1; node <= cluster.nodes(); ++node) {
    const auto begin = steady_clock::now();
    testbed::AgentProcess& agent = cluster.agent(node);
    TRY(agent.terminate());
    agent.set_dataplane(to);
    TRY_CONTEXT(agent.start(), cat("switch node", node, " to ", to));
    took += steady_clock::now() - begin;
    TRY(Interrupt::pause(kWhile));
  }
  TRY(Interrupt::pause(kWhile));
  const std::vector<FlowReport> during = TRY(traffic.stop());
  show.dataplane = to;
  Traffic later = TRY(Traffic::start(cluster, flows_through(cluster, kNode)));
  TRY(Interrupt::pause(kWhile));
  const std::vector<FlowReport> after = TRY(later.stop());

  const std::string pod = cat("pod", kNode, "a");
  const Losses inside = losses(during, pod);
  const Losses outside = losses(during, "client");
  show.screen.title(cat("Traffic through node", kNode, " during the switch to ", to));
  show.screen.table(traffic_table(during));
  show.screen.note(cat("an agent stopped, its successor with ", to,
                       " in sync: ", milliseconds_text(took / cluster.nodes()), " per node"));
  const std::uint64_t failed = inside.failed + outside.failed;
  show.screen.promise(failed == 0,
                      cat(inside.opened + outside.opened, " new connections during the switch: ", failed, " failed"));
  // Sockets that eBPF connected are direct connections; packets that were translated on their way are tracked by the
  // dataplane that goes.
  const std::string pods =
      cat(inside.established, " established connections from a pod to the ClusterIP: ", inside.lost, " lost");
  if (to == "nftables") {
    show.screen.promise(inside.lost == 0, pods);
  } else {
    show.screen.note(cat("        ", pods, "; they lived in the tables that went"));
  }
  show.screen.note(cat("        ", outside.established, " established connections from outside to the NodePort: ",
                       outside.lost, " lost; they lived in the tables that went"));
  show.screen.promise(failures_of(after) == 0,
                      cat(requests_of(after), " requests after the switch: ", failures_of(after), " failed"));
  return {};
}

}  // namespace fairlead::demo
