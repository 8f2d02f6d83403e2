// What happens to traffic when an agent is killed, and when a node changes its dataplane.

#include <algorithm>

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

std::uint64_t lost_by(const std::vector<FlowReport>& reports, const std::string& from) {
  std::uint64_t sum = 0;
  for (const FlowReport& each : reports) sum += each.flow.from == from ? each.lost() : 0;
  return sum;
}

std::uint64_t failed_new(const std::vector<FlowReport>& reports) {
  std::uint64_t sum = 0;
  for (const FlowReport& each : reports) sum += each.flow.long_lived ? 0 : each.load.failed();
  return sum;
}

}  // namespace

Status kill_an_agent(Show& show) {
  Cluster& cluster = *show.cluster;
  testbed::AgentProcess& agent = cluster.agent(kNode);
  show.screen.step(cat("the agent of node", kNode, " is killed with -9 under load"));
  Traffic traffic = TRY(Traffic::start(cluster, flows_through(cluster, kNode)));
  TRY(Interrupt::pause(milliseconds(300)));
  agent.kill();
  const auto killed = steady_clock::now();
  TRY(Interrupt::pause(milliseconds(500)));
  const auto restarted = steady_clock::now();
  TRY(agent.start());
  const auto in_sync = steady_clock::now();
  const testbed::AgentStatus status = TRY(agent.status());
  TRY(Interrupt::pause(milliseconds(300)));
  const std::vector<FlowReport> reports = TRY(traffic.stop());

  show.screen.title(cat("Traffic through node", kNode, " while its agent was dead and came back"));
  show.screen.table(traffic_table(reports));
  show.screen.note(cat("no agent for ", milliseconds_text(restarted - killed), "; the new one was in sync after ",
                       milliseconds_text(in_sync - restarted), ", found ", status.services,
                       " services in the kernel and wrote ", status.kernel_writes, " times"));
  show.screen.promise(failures_of(reports) == 0 && requests_of(reports) > 0,
                      cat(requests_of(reports), " requests: ", failures_of(reports), " failed"));
  show.screen.promise(lost_by(reports, "client") + lost_by(reports, cat("pod", kNode, "a")) == 0,
                      "no established connection was lost");
  show.screen.promise(status.kernel_writes == 0, "the restarted agent adopted what was there and wrote nothing");
  return {};
}

Status switch_the_dataplane(Show& show) {
  Cluster& cluster = *show.cluster;
  const std::string from = show.dataplane;
  const std::string to = from == "ebpf" ? "nftables" : "ebpf";
  show.screen.step(cat("every node changes from ", from, " to ", to, " under load, one after the other"));
  Traffic traffic = TRY(Traffic::start(cluster, flows_through(cluster, kNode)));
  TRY(Interrupt::pause(milliseconds(300)));
  const auto begin = steady_clock::now();
  for (unsigned node = 1; node <= cluster.nodes(); ++node) {
    testbed::AgentProcess& agent = cluster.agent(node);
    TRY(agent.terminate());
    agent.set_dataplane(to);
    TRY_CONTEXT(agent.start(), cat("switch node", node, " to ", to));
    TRY(Interrupt::check());
  }
  const auto took = steady_clock::now() - begin;
  TRY(Interrupt::pause(milliseconds(500)));
  const std::vector<FlowReport> reports = TRY(traffic.stop());
  show.dataplane = to;

  const std::string pod = cat("pod", kNode, "a");
  show.screen.title(cat("Traffic through node", kNode, " during the switch to ", to));
  show.screen.table(traffic_table(reports));
  show.screen.note(cat("three agents stopped, started and in sync in ", milliseconds_text(took)));
  show.screen.note(cat("established connections lost: ", lost_by(reports, pod), " of 10 from the pod, ",
                       lost_by(reports, "client"), " of 10 from outside through the NodePort"));
  show.screen.promise(failed_new(reports) == 0, cat("new connections that failed: ", failed_new(reports)));
  show.screen.promise(lost_by(reports, pod) == 0, "established connections from pods to the ClusterIP survive");

  const Answers answers = TRY(ask(cluster, pod, cluster.subject().cluster_ip(net::Family::V4), 200));
  const std::vector<std::string> pods = cluster.ready_pods();
  show.screen.promise(answers.failed() == 0 && answers.all_of(pods) && answers.only_from(pods),
                      cat("all ", pods.size(), " endpoints answer through ", to));
  return {};
}

}  // namespace fairlead::demo
