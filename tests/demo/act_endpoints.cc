// Endpoints come and go while requests run: scaled up and down, and one that dies.

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "tests/demo/interrupt.h"
#include "tests/demo/show.h"
#include "tests/demo/traffic.h"

namespace fairlead::demo {
namespace {

using base::cat;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Pods = std::vector<std::string>;

constexpr const char* kAsker = "pod3b";
constexpr auto kPatience = std::chrono::seconds(5);
constexpr milliseconds kUnnoticed{200};  // what a readiness probe would take
constexpr milliseconds kWhile{400};      // for the load to run before and after a change

const Pods kTwo = {"pod1a", "pod2a"};
const Pods kFive = {"pod1a", "pod1b", "pod2a", "pod2b", "pod3a"};
const Pods kThree = {"pod1a", "pod2a", "pod3a"};

struct Rise {
  std::optional<steady_clock::duration> first;  // until a new endpoint answered
  std::optional<steady_clock::duration> all;    // until every endpoint had answered
};

Result<Rise> watch_rise(Cluster& cluster, steady_clock::time_point edited, const Pods& old_pods, const Pods& new_pods) {
  Rise rise;
  Answers seen;
  while (!rise.all && steady_clock::now() < edited + kPatience) {
    const Answers answers = TRY(ask(cluster, kAsker, cluster.subject().cluster_ip(net::Family::V4), 4));
    const auto now = steady_clock::now() - edited;
    for (const auto& [pod, times] : answers.by_pod) seen.by_pod[pod] += times;
    if (!rise.first && !seen.only_from(old_pods)) rise.first = now;
    if (seen.all_of(new_pods)) rise.all = now;
  }
  return rise;
}

// When one that is to go answered for the last time; nothing when it still did after kPatience.
Result<std::optional<steady_clock::duration>> watch_fall(Cluster& cluster, steady_clock::time_point edited,
                                                         const Pods& pods) {
  auto last = steady_clock::duration::zero();
  unsigned clean = 0;
  while (clean < 20) {
    if (steady_clock::now() > edited + kPatience) return std::optional<steady_clock::duration>();
    const Answers answers = TRY(ask(cluster, kAsker, cluster.subject().cluster_ip(net::Family::V4), 10));
    clean = answers.only_from(pods) ? clean + 1 : 0;
    if (clean == 0) last = steady_clock::now() - edited;
  }
  return std::optional(last);
}

std::string after(const std::optional<steady_clock::duration>& time) {
  return time ? cat("after ", milliseconds_text(*time)) : "never";
}

// Three from the pods' side and one from outside.
Status add_row(AnswerTable& table, Cluster& cluster, const std::string& name, const Pods& pods, bool& right) {
  const Answers inside = TRY(ask(cluster, kAsker, cluster.subject().cluster_ip(net::Family::V4), 300));
  const Answers outside = TRY(ask(cluster, "client", cluster.node_port(2, net::Family::V4), 300));
  table.add(name, cat(kAsker, ", ClusterIP"), inside);
  table.add("", "client, node2", outside);
  for (const Answers& each : {inside, outside}) {
    right = right && each.failed() == 0 && each.only_from(pods) && each.all_of(pods);
  }
  return {};
}

std::vector<Flow> new_connections(const Cluster& cluster) {
  return {{.name = "ClusterIP", .from = kAsker, .to = cluster.subject().cluster_ip(net::Family::V4), .rate = 300},
          {.name = "NodePort", .from = "client", .to = cluster.node_port(1, net::Family::V4), .rate = 100}};
}

}  // namespace

Status scale_up_and_down(Show& show) {
  Cluster& cluster = *show.cluster;
  show.screen.step("live: 6 endpoints become 2, then 5, then 2 again, under load");
  Traffic traffic = TRY(Traffic::start(cluster, new_connections(cluster)));
  AnswerTable table(cluster, "endpoints", "asked from");
  bool right = true;

  TRY(Interrupt::pause(kWhile));
  TRY(cluster.set_pods(kTwo));
  TRY(cluster.wait_until_applied());
  TRY(add_row(table, cluster, "2", kTwo, right));
  TRY(Interrupt::pause(kWhile));

  const auto up = TRY(cluster.set_pods(kFive));
  const Rise rise = TRY(watch_rise(cluster, up, kTwo, kFive));
  TRY(cluster.wait_until_applied());
  TRY(add_row(table, cluster, "5", kFive, right));
  TRY(Interrupt::pause(kWhile));

  const auto down = TRY(cluster.set_pods(kTwo));
  const auto fall = TRY(watch_fall(cluster, down, kTwo));
  TRY(cluster.wait_until_applied());
  TRY(add_row(table, cluster, "2", kTwo, right));

  TRY(Interrupt::pause(kWhile));

  const std::vector<FlowReport> reports = TRY(traffic.stop());
  show.screen.title("Who answered, as the endpoints changed");
  show.screen.table(table.table());
  show.screen.note(
      cat("2 -> 5: a new endpoint answered ", after(rise.first), " from the edit, all five had ", after(rise.all)));
  show.screen.note(cat("5 -> 2: a removed endpoint answered for the last time ", after(fall)));
  show.screen.promise(right && rise.first && rise.all && fall,
                      "after each change exactly the endpoints that are ready answer, on every node");
  show.screen.promise(
      failures_of(reports) == 0,
      cat(requests_of(reports), " requests while the endpoints changed: ", failures_of(reports), " failed"));
  return {};
}

Status let_an_endpoint_die(Show& show) {
  Cluster& cluster = *show.cluster;
  const std::string& victim = kThree[1];
  TRY(cluster.set_pods(kThree));
  TRY(cluster.wait_until_applied());
  show.screen.step(cat("one of 3 endpoints dies: the server in ", victim, " is killed, ", kUnnoticed.count(),
                       " ms later it is marked not ready"));

  Traffic before = TRY(Traffic::start(cluster, new_connections(cluster)));
  TRY(Interrupt::pause(kWhile));
  TRY(cluster.stop_server(victim));
  TRY(Interrupt::pause(kUnnoticed));
  const auto edited = TRY(cluster.set_pods({kThree[0], kThree[2]}, {victim}));
  TRY(cluster.wait_until_applied());
  const auto took = steady_clock::now() - edited;
  const std::vector<FlowReport> dying = TRY(before.stop());

  Traffic after_change = TRY(Traffic::start(cluster, new_connections(cluster)));
  TRY(Interrupt::pause(2 * kWhile));
  const std::vector<FlowReport> rest = TRY(after_change.stop());

  Table table({{"", Align::Left}, {"requests"}, {"failed"}, {cat("answered by ", victim)}});
  table.add({"until the change was in every kernel", cat(requests_of(dying)), cat(failures_of(dying)),
             cat(answers_of(dying, victim))});
  table.add({"after it", cat(requests_of(rest)), cat(failures_of(rest)), cat(answers_of(rest, victim))});
  show.screen.title("An endpoint dies");
  show.screen.table(table);
  show.screen.note(cat("from the edit until all three nodes had it: ", milliseconds_text(took)));
  show.screen.promise(failures_of(rest) == 0 && requests_of(rest) > 0,
                      "once it is marked not ready, no request goes to the dead endpoint");

  TRY(cluster.start_server(victim));
  TRY(cluster.set_pods(kThree));
  TRY(cluster.wait_until_applied());
  const Answers back = TRY(ask(cluster, kAsker, cluster.subject().cluster_ip(net::Family::V4), 100));
  show.screen.promise(back.failed() == 0 && back.all_of(kThree), cat(victim, " is ready again and answers again"));
  return {};
}

}  // namespace fairlead::demo
