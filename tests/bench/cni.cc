#include "tests/bench/cni.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>
#include <utility>

#include "base/strings.h"
#include "tests/bench/addresses.h"
#include "tests/bench/cni_chain.h"
#include "tests/bench/exchange.h"
#include "tests/bench/sandbox.h"
#include "tests/datapath/namespaces.h"
#include "tests/datapath/process.h"

namespace fairlead::tests::bench {
namespace {

using base::cat;

constexpr int kFirstHostPort = 10'000;
// Some of a slow chain, so that the whole takes minutes and not an hour; each row says how many it was.
constexpr unsigned kSlowRounds = 30;
constexpr unsigned kSlowStormPods = 100;

constexpr char kBridge[] = R"("bridge":"cni0","isGateway":true,"isDefaultGateway":true,"hairpinMode":true)";
constexpr char kIpam[] = R"("ipam":{"type":"host-local","ranges":[[{"subnet":"10.85.0.0/16"}]]})";

struct Case {
  std::string who;
  std::string what;
  CniChain chain;
  bool slow = false;
};

std::vector<Case> cases(const std::string& ours, const std::string& reference) {
  const std::string simple = cat(kBridge, ",", kIpam);
  const std::string masquerading = cat(simple, R"(,"ipMasq":true)");
  const std::vector<CniPlugin> bridge{{"bridge", simple}};
  const std::vector<CniPlugin> full{{"bridge", masquerading},
                                    {"portmap", R"("capabilities":{"portMappings":true})"},
                                    {"bandwidth", R"("capabilities":{"bandwidth":true})"},
                                    {"firewall", ""}};
  const std::vector<CniPlugin> one{{"fairlead", cat(R"("mode":"bridge",)", masquerading)}};
  return {{"reference", "bridge", {reference, bridge}, false},
          {"fairlead", "bridge", {ours, bridge}, false},
          {"reference", "full", {reference, full}, true},
          {"fairlead", "full", {ours, full}, false},
          {"one-entry", "full", {ours, one}, false}};
}

void add_row(std::vector<Row>& rows, const std::string& who, const std::string& what, std::uint64_t pods,
             const std::string& metric, double value, const std::string& unit, std::uint64_t samples) {
  rows.push_back({.bench = "cni",
                  .dataplane = who,
                  .cluster = what,
                  .services = pods,
                  .endpoints_per_service = 0,
                  .metric = metric,
                  .value = value,
                  .unit = unit,
                  .samples = samples});
}

// A container's network namespace at /run/netns/<id>, as a runtime makes it, and gone with it.
class Container {
 public:
  static Result<Container> create(unsigned number) {
    CniContainer name{cat("pod", number), cat("/run/netns/pod", number), kFirstHostPort + static_cast<int>(number)};
    auto netns = TRY(testbed::NetNamespace::create(name.netns, {}));
    return Container(std::move(name), std::move(netns));
  }
  Container(Container&&) = default;
  ~Container() {
    if (netns_.fd() < 0) return;  // moved from
    ::umount2(name_.netns.c_str(), MNT_DETACH);
    ::unlink(name_.netns.c_str());
  }
  const CniContainer& name() const { return name_; }

 private:
  Container(CniContainer name, testbed::NetNamespace netns) : name_(std::move(name)), netns_(std::move(netns)) {}
  CniContainer name_;
  testbed::NetNamespace netns_;
};

Result<std::vector<Container>> make_containers(unsigned count) {
  std::vector<Container> containers;
  for (unsigned i = 0; i < count; ++i) containers.push_back(TRY(Container::create(i)));
  return containers;
}

// What plugins leave running behind them becomes ours (PR_SET_CHILD_SUBREAPER): once it has ended, the kernel is through
// with what they took away. Waited for without sleeping: how long a processor takes to wake up is not measured. An Error
// after 10 s.
Status await_what_they_left() {
  const std::uint64_t deadline = monotonic_ns() + 10'000'000'000U;
  for (;;) {
    const pid_t pid = ::waitpid(-1, nullptr, WNOHANG);
    if (pid < 0 && errno == ECHILD) return {};
    if (pid < 0 && errno != EINTR) return Error::from_errno("waitpid", errno);
    if (pid > 0) continue;
    if (monotonic_ns() > deadline) return Error("a process that a plugin left runs for 10 s");
  }
}

// BackToBack: while the kernel may still be taking down the pod before, and its namespace. Rested: when it is through
// with that one. A pod's namespace is made right before, as a runtime does.
enum class Pace { BackToBack, Rested };

Status measure_one_by_one(const Case& each, Pace pace, unsigned rounds, std::vector<Row>& rows) {
  if (each.slow) rounds = std::min(rounds, kSlowRounds);
  const unsigned warm = rounds / 10 + 1;
  std::vector<Container> containers;
  std::vector<double> adds;
  std::vector<double> dels;
  std::vector<double> settled;
  for (unsigned i = 0; i < rounds + warm; ++i) {
    const Container& container = containers.emplace_back(TRY(Container::create(i)));
    const CniOutcome added = TRY_CONTEXT(cni_add(each.chain, container.name()), "ADD");
    const std::uint64_t begin = monotonic_ns();
    const CniOutcome deleted = TRY_CONTEXT(cni_del(each.chain, container.name(), added.result), "DEL");
    if (pace == Pace::Rested) TRY(await_what_they_left());
    if (pace == Pace::BackToBack) containers.clear();
    if (i < warm) continue;
    adds.push_back(added.ms);
    dels.push_back(deleted.ms);
    settled.push_back(static_cast<double>(monotonic_ns() - begin) / 1e6);
  }
  const bool rested = pace == Pace::Rested;
  const std::string what = cat(rested ? "rested-" : "", each.what);
  add_row(rows, each.who, what, 1, "add_p50", quantile(adds, 0.5), "ms", rounds);
  add_row(rows, each.who, what, 1, "add_p99", quantile(adds, 0.99), "ms", rounds);
  add_row(rows, each.who, what, 1, "del_p50", quantile(dels, 0.5), "ms", rounds);
  add_row(rows, each.who, what, 1, "del_p99", quantile(dels, 0.99), "ms", rounds);
  if (rested) add_row(rows, each.who, what, 1, "del_settled_p50", quantile(settled, 0.5), "ms", rounds);
  return await_what_they_left();
}

// Runs `work(i)` for each of `count`, kStormThreads at a time; seconds of the whole. The first Error stands for all.
Result<double> in_storm(unsigned count, const std::function<Status(unsigned)>& work) {
  std::atomic<unsigned> next{0};
  std::vector<Status> first(kStormThreads);
  std::vector<std::thread> threads;
  const std::uint64_t begin = monotonic_ns();
  for (unsigned t = 0; t < kStormThreads; ++t) {
    threads.emplace_back([&, t] {
      for (unsigned i = 0; first[t] && (i = next.fetch_add(1)) < count;) first[t] = work(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = static_cast<double>(monotonic_ns() - begin) / 1e9;
  for (Status& status : first) TRY(std::move(status));
  return seconds;
}

Status measure_storm(const Case& each, unsigned pods, std::vector<Row>& rows) {
  if (each.slow) pods = std::min(pods, kSlowStormPods);
  const std::vector<Container> containers = TRY(make_containers(pods));
  std::vector<std::string> results(pods);
  std::vector<double> adds(pods);
  std::vector<double> dels(pods);
  const auto add = [&](unsigned i) -> Status {
    CniOutcome outcome = TRY_CONTEXT(cni_add(each.chain, containers[i].name()), "ADD");
    adds[i] = outcome.ms;
    results[i] = std::move(outcome.result);
    return {};
  };
  const auto del = [&](unsigned i) -> Status {
    dels[i] = TRY_CONTEXT(cni_del(each.chain, containers[i].name(), results[i]), "DEL").ms;
    return {};
  };
  const double add_s = TRY(in_storm(pods, add));
  const double del_s = TRY(in_storm(pods, del));
  TRY(await_what_they_left());
  const std::string what = cat("storm-", each.what);
  add_row(rows, each.who, what, pods, "add_p50", quantile(adds, 0.5), "ms", pods);
  add_row(rows, each.who, what, pods, "add_p99", quantile(adds, 0.99), "ms", pods);
  add_row(rows, each.who, what, pods, "del_p50", quantile(dels, 0.5), "ms", pods);
  add_row(rows, each.who, what, pods, "del_p99", quantile(dels, 0.99), "ms", pods);
  add_row(rows, each.who, what, pods, "add_total", add_s, "s", 1);
  add_row(rows, each.who, what, pods, "del_total", del_s, "s", 1);
  return {};
}

Status measure_start(const Case& each, std::vector<Row>& rows) {
  constexpr unsigned kRounds = 200;
  std::vector<double> times;
  for (unsigned i = 0; i < kRounds; ++i) times.push_back(TRY(cni_version(each.chain)).ms);
  add_row(rows, each.who, "exec", 0, "exec_ms", quantile(times, 0.5), "ms", kRounds);
  const std::string path = cat(each.chain.directory, "/", each.chain.plugins.front().type);
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return Error::from_errno(path, errno);
  add_row(rows, each.who, "exec", 0, "binary_mb", static_cast<double>(file.st_size) / 1e6, "MB", 1);
  return {};
}

// One address more, where so many are held: by the library in process, and by the host-local plugin of either kind.
Status measure_addresses(const std::string& ours, const std::string& reference, std::vector<Row>& rows) {
  AddressPlan plan;
  plan.plugin = cat(ours, "/host-local");
  plan.reference = cat(reference, "/host-local");
  // Both in this namespace's memory, so that the disk is no part of it.
  plan.state_parent = "/var/lib";
  plan.run_parent = "/run";
  for (const AddressRow& row : TRY(bench_addresses(plan))) {
    if (row.way == "in process") {
      add_row(rows, "fairlead", "ipam", row.held, "alloc_rate", 1e6 / row.add_us, "1/s", plan.in_process);
      continue;
    }
    const unsigned samples = row.way == "reference" ? plan.of_reference : plan.executed;
    add_row(rows, row.way, "ipam", row.held, "add_p50", row.add_us / 1e3, "ms", samples);
    add_row(rows, row.way, "ipam", row.held, "del_p50", row.del_us / 1e3, "ms", samples);
  }
  return {};
}

// reference over ours, for each ADD that both were measured at.
void add_ratios(std::vector<Row>& rows) {
  std::vector<Row> ratios;
  for (const Row& ours : rows) {
    if (ours.metric != "add_p50" || ours.dataplane == "reference" || ours.value <= 0) continue;
    for (const Row& reference : rows) {
      if (reference.metric != ours.metric || reference.dataplane != "reference" || reference.cluster != ours.cluster ||
          (ours.cluster == "ipam" && ours.services != reference.services))
        continue;
      Row ratio = ours;
      ratio.metric = "ratio_add";
      ratio.value = reference.value / ours.value;
      ratio.unit = "ratio";
      ratios.push_back(std::move(ratio));
    }
  }
  rows.insert(rows.end(), ratios.begin(), ratios.end());
}

Status enter_host() {
  TRY(enter_sandbox());
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return Error::from_errno("prctl(PR_SET_CHILD_SUBREAPER)", errno);
  for (const char* target : {"/run", "/var/lib"}) {
    if (::mount("tmpfs", target, "tmpfs", 0, nullptr) != 0)
      return Error::from_errno(cat("mount tmpfs on ", target), errno);
  }
  std::error_code failed;
  std::filesystem::create_directories("/run/netns", failed);
  if (failed) return Error(cat("mkdir /run/netns: ", failed.message()));
  return testbed::set_sysctls({{"net/ipv4/ip_forward", "1"}});
}

}  // namespace

Result<std::vector<Row>> bench_cni(const CniPlan& plan) {
  const std::string ours = testbed::program_path("cni");
  ::signal(SIGPIPE, SIG_IGN);
  TRY(enter_host());
  std::vector<Row> rows;
  const auto measure = [&](const std::string& what, const std::function<Status()>& work) {
    std::fprintf(stderr, "cni: %s\n", what.c_str());
    if (const Status measured = work(); !measured)
      std::fprintf(stderr, "cni: %s: NOT MEASURED: %s\n", what.c_str(), measured.error().message().c_str());
  };
  const std::vector<Case> all = cases(ours, plan.reference);
  for (const Case& each : all) {
    if (each.what == "bridge") measure(cat("start, ", each.who), [&] { return measure_start(each, rows); });
  }
  for (const auto pace : {Pace::BackToBack, Pace::Rested}) {
    for (const Case& each : all) {
      measure(cat(pace == Pace::Rested ? "rested, " : "", each.what, ", ", each.who),
              [&] { return measure_one_by_one(each, pace, plan.rounds, rows); });
    }
  }
  for (const Case& each : all)
    measure(cat("storm, ", each.what, ", ", each.who), [&] { return measure_storm(each, plan.storm_pods, rows); });
  measure("addresses held", [&] { return measure_addresses(ours, plan.reference, rows); });
  add_ratios(rows);
  return rows;
}

}  // namespace fairlead::tests::bench
