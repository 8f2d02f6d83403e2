// Who answers how often, with which source address; and how long it takes.

#include <algorithm>

#include "base/strings.h"
#include "tests/demo/show.h"

namespace fairlead::demo {
namespace {

using base::cat;

constexpr unsigned kTimes = 300;
constexpr unsigned kRounds = 8;
constexpr unsigned kPerPod = 10;
constexpr const char* kAsker = "pod3a";

void merge(Answers& into, const Answers& more) {
  into.asked += more.asked;
  for (const auto& [kind, times] : more.errors) into.errors[kind] += times;
  for (const auto& [pod, times] : more.by_pod) into.by_pod[pod] += times;
  into.latencies_us.insert(into.latencies_us.end(), more.latencies_us.begin(), more.latencies_us.end());
  std::sort(into.latencies_us.begin(), into.latencies_us.end());
}

std::string microseconds(std::uint32_t us) { return cat(us, " us"); }

std::string ratio(const Answers& answers, const Answers& direct) {
  if (direct.percentile_us(50) == 0) return "-";
  return cat(fixed(static_cast<double>(answers.percentile_us(50)) / direct.percentile_us(50), 2), "x");
}

}  // namespace

Status count_who_answers(Show& show) {
  Cluster& cluster = *show.cluster;
  const Subject& subject = cluster.subject();
  show.screen.step(cat("who answers for ", subject.key.to_string(), ": ", kTimes, " connections on each path"));
  AnswerTable table(cluster, "from", "to");
  const std::vector<std::string> pods = cluster.ready_pods();
  bool spread = true;
  unsigned asked = 0;
  unsigned failed = 0;
  const auto row = [&](const std::string& from, const testbed::Target& to, const std::string& name) -> Status {
    const Answers answers = TRY(ask(cluster, from, to, kTimes));
    table.add(from, cat(name, " ", net::host_port(to.ip, to.port)), answers);
    spread = spread && answers.all_of(pods) && answers.only_from(pods);
    asked += answers.asked;
    failed += answers.failed();
    return {};
  };
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    TRY(row(kAsker, subject.cluster_ip(family), "ClusterIP"));
  }
  TRY(row("node3", subject.cluster_ip(net::Family::V4), "ClusterIP"));
  for (unsigned node = 1; node <= cluster.nodes(); ++node) {
    TRY(row("client", cluster.node_port(node, net::Family::V4), cat("node", node)));
  }
  TRY(row("client", cluster.node_port(1, net::Family::V6), "node1"));
  show.screen.title("Who answered");
  show.screen.table(table.table());
  show.screen.promise(spread, "every ready pod takes its share on every path");
  show.screen.promise(failed == 0, cat(asked, " connections: ", failed, " failed"));
  return {};
}

Status measure_latency(Show& show) {
  Cluster& cluster = *show.cluster;
  Latency latency{.dataplane = show.dataplane, .direct = {}, .cluster_ip = {}};
  const std::vector<std::string> pods = cluster.ready_pods();
  // In turns, so that both see the same machine.
  for (unsigned round = 0; round < kRounds; ++round) {
    for (const std::string& pod : pods)
      merge(latency.direct, TRY(ask(cluster, kAsker, cluster.pod_port(pod), kPerPod)));
    merge(latency.cluster_ip, TRY(ask(cluster, kAsker, cluster.subject().cluster_ip(net::Family::V4),
                                      kPerPod * static_cast<unsigned>(pods.size()))));
  }
  show.screen.step(cat("latency from ", kAsker, " with ", show.dataplane, ": connect, ask, answer, close; ",
                       latency.direct.asked, " times each"));
  show.latencies.push_back(std::move(latency));
  Table table({{"dataplane", Align::Left}, {"to", Align::Left}, {"p50"}, {"p99"}, {"p50 to direct"}});
  for (const Latency& each : show.latencies) {
    table.add({each.dataplane, "the pods' own IPs", microseconds(each.direct.percentile_us(50)),
               microseconds(each.direct.percentile_us(99)), ""});
    table.add({each.dataplane, "the ClusterIP", microseconds(each.cluster_ip.percentile_us(50)),
               microseconds(each.cluster_ip.percentile_us(99)), ratio(each.cluster_ip, each.direct)});
  }
  show.screen.title("Latency");
  show.screen.table(table);
  return {};
}

}  // namespace fairlead::demo
