#include "tests/bench/sync.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tests/apiserver/server.h"
#include "tests/bench/cluster.h"
#include "tests/bench/exchange.h"
#include "tests/bench/memory.h"
#include "tests/datapath/agent_process.h"
#include "tests/datapath/testbed.h"

namespace fairlead::tests::bench {
namespace {

using apiserver::TestApiServer;
using testbed::AgentProcess;
using testbed::milliseconds;
using testbed::Testbed;

constexpr std::uint16_t kPodPort = 8080;
constexpr char kNamespace[] = "bench";
constexpr char kMeasured[] = "measured";
const net::Ip kMeasuredIp = net::Ip::v4(10, 110, 255, 254);

// One node with an API server in its own namespace, two answering pods and a client.
struct Stage {
  std::unique_ptr<Testbed> bed;
  std::unique_ptr<TestApiServer> server;
  std::vector<testbed::Process> servers;  // in pod1a and pod1b
  net::Ip pods[2];
  std::string kubeconfig;
};

// `size` services, the measured one among them.
Result<std::unique_ptr<TestApiServer>> start_server(const ClusterSize& size) {
  auto server = TRY(TestApiServer::start({}));
  TRY(server->load(apiserver::generate({.services = size.services - 1,
                                        .endpoints = size.endpoints_per_service,
                                        .mixed = size.kind == ClusterKind::Mixed,
                                        .node_stem = "node"})));
  TRY(server->upsert(apiserver::Resource::Services,
                     apiserver::make_service(kNamespace, kMeasured, kMeasuredIp.to_string())));
  return server;
}

Result<Stage> set_stage(const ClusterSize& size) {
  Stage stage;
  stage.bed = TRY(Testbed::create({.nodes = 1, .pods_per_node = 3}));
  const std::string self = testbed::program_path("fairlead-bench");
  const char* names[] = {"pod1a", "pod1b"};
  const char* answers[] = {"0", "1"};
  for (int i = 0; i < 2; ++i) {
    stage.pods[i] = TRY(stage.bed->place(names[i]))->v4;
    auto process = TRY(stage.bed->start(names[i], {self, "child-serve", base::cat(kPodPort), answers[i]},
                                        base::cat("server-", i), testbed::Pipes::InOut));
    if (TRY(process.read_line(std::chrono::seconds(5))) != "ready")
      return Error("the server did not start: " + process.log());
    stage.servers.push_back(std::move(process));
  }
  const Status started = stage.bed->run_in("node1", [&]() -> Status {
    stage.server = TRY(start_server(size));
    return {};
  });
  TRY(started);
  TRY(stage.server->set_endpoints(kNamespace, kMeasured,
                                  {{.address = stage.pods[0].to_string(), .node = "node1", .zone = {}}}));
  stage.kubeconfig = stage.bed->dir() + "/kubeconfig";
  TRY(base::write_file_atomically(stage.kubeconfig, stage.server->kubeconfig()));
  return stage;
}

std::string cluster_cidrs_text() {
  std::vector<std::string> texts;
  for (const net::Prefix& range : cluster_cidrs()) texts.push_back(range.to_string());
  return base::join(texts, ",");
}

// Seconds from spawn until the agent says that everything is in the kernel; looked at every 2 ms.
Result<double> time_first_sync(AgentProcess& agent) {
  const std::uint64_t begin = monotonic_ns();
  TRY(agent.launch());
  for (;;) {
    const auto status = agent.status();
    if (status && status->settled()) return static_cast<double>(monotonic_ns() - begin) / 1e9;
    if (monotonic_ns() - begin > 120'000'000'000U) return Error("the agent did not sync within 120 s: " + agent.log());
    ::usleep(2000);
  }
}

// CPU time of all threads of a process, in ns (proc(5), schedstat).
std::uint64_t cpu_ns(pid_t pid) {
  std::uint64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator(base::cat("/proc/", pid, "/task"))) {
    const auto text = base::read_file(task.path().string() + "/schedstat");
    if (text) sum += base::parse_number<std::uint64_t>(base::split(*text, ' ').front()).value_or(0);
  }
  return sum;
}

struct ChangeFigures {
  std::vector<double> visible_ms;
  double cpu_ms = 0;
  double writes = 0;
};

Result<ChangeFigures> measure_changes(Stage& stage, AgentProcess& agent, unsigned changes) {
  auto client = TRY(
      stage.bed->start("pod1c", {testbed::program_path("fairlead-bench"), "child-until", kMeasuredIp.to_string(), "80"},
                       "client", testbed::Pipes::InOut));
  ChangeFigures figures;
  const auto change = [&](unsigned to) -> Result<double> {
    TRY(client.write_line(base::cat(to)));
    const std::uint64_t begin = monotonic_ns();
    TRY(stage.server->set_endpoints(kNamespace, kMeasured,
                                    {{.address = stage.pods[to].to_string(), .node = "node1", .zone = {}}}));
    const std::string line = TRY_CONTEXT(client.read_line(std::chrono::seconds(20)), client.log());
    return static_cast<double>(base::parse_number<std::uint64_t>(base::trim(line)).value_or(0) - begin) / 1e6;
  };
  for (unsigned i = 1; i <= 10; ++i) (void)TRY(change(i % 2));  // warm
  TRY(agent.wait_until_settled());
  const testbed::AgentStatus before = TRY(agent.status());
  const std::uint64_t cpu_before = cpu_ns(agent.process()->pid());
  for (unsigned i = 1; i <= changes; ++i) figures.visible_ms.push_back(TRY(change(i % 2)));
  figures.cpu_ms = static_cast<double>(cpu_ns(agent.process()->pid()) - cpu_before) / 1e6 / changes;
  TRY(agent.wait_until_settled());
  const testbed::AgentStatus after = TRY(agent.status());
  figures.writes = static_cast<double>(after.kernel_writes - before.kernel_writes) / changes;
  return figures;
}

// Collects rows of one dataplane and size.
class Sheet {
 public:
  Sheet(std::vector<Row>& rows, std::string dataplane, const ClusterSize& size)
      : rows_(rows), dataplane_(std::move(dataplane)), size_(size) {}
  void add(const std::string& metric, double value, const std::string& unit, std::uint64_t samples) {
    rows_.push_back({.bench = "sync",
                     .dataplane = dataplane_,
                     .cluster = std::string(to_string(size_.kind)),
                     .services = size_.services,
                     .endpoints_per_service = size_.endpoints_per_service,
                     .metric = metric,
                     .value = value,
                     .unit = unit,
                     .samples = samples});
  }

 private:
  std::vector<Row>& rows_;
  std::string dataplane_;
  ClusterSize size_;
};

Status measure_memory(const SyncPlan& plan, const std::string& dataplane, const ClusterSize& size, Sheet& sheet) {
  std::vector<double> seconds;
  std::vector<double> cpu_seconds;
  for (unsigned i = 0; i < plan.repeats; ++i) {
    const MemoryRun run = TRY(spawn_memory_child(dataplane, size, plan.changes));
    seconds.push_back(run.first_sync_s);
    cpu_seconds.push_back(run.first_sync_cpu_s);
  }
  sheet.add("first_sync_memory", quantile(seconds, 0.5), "s", plan.repeats);
  sheet.add("first_sync_cpu", quantile(cpu_seconds, 0.5), "s", plan.repeats);
  return {};
}

Status measure_api(const SyncPlan& plan, const std::string& dataplane, const ClusterSize& size, Sheet& sheet) {
  Stage stage = TRY(set_stage(size));
  AgentProcess agent(*stage.bed, 1, dataplane,
                     {"--kubeconfig", stage.kubeconfig, "--cluster-cidr", cluster_cidrs_text()});
  std::vector<double> seconds;
  for (unsigned i = 0; i < plan.repeats; ++i) {
    if (i > 0) {
      TRY(agent.terminate());
      const base::ProcessOutput cleaned = TRY(agent.command("cleanup"));
      if (cleaned.exit_code != 0) return Error("cleanup: " + cleaned.err);
    }
    seconds.push_back(TRY(time_first_sync(agent)));
  }
  sheet.add("first_sync_api", quantile(seconds, 0.5), "s", plan.repeats);
  ChangeFigures figures = TRY(measure_changes(stage, agent, plan.changes));
  const testbed::AgentStatus last = TRY(agent.status());
  const base::Value status = TRY(base::parse_json(last.text));
  const std::int64_t* rss = status["rss_bytes"].as_int();
  sheet.add("rss", rss == nullptr ? -1 : static_cast<double>(*rss) / 1e6, "MB", 1);
  sheet.add("change_visible_p50", quantile(figures.visible_ms, 0.5), "ms", plan.changes);
  sheet.add("change_visible_p99", quantile(figures.visible_ms, 0.99), "ms", plan.changes);
  sheet.add("change_cpu", figures.cpu_ms, "ms", plan.changes);
  sheet.add("apply_writes", figures.writes, "count", plan.changes);
  return agent.terminate();
}

}  // namespace

Result<std::vector<Row>> bench_sync(const SyncPlan& plan) {
  std::vector<Row> rows;
  for (const std::string& dataplane : plan.dataplanes) {
    for (const ClusterKind kind : plan.clusters) {
      for (const std::uint32_t services : plan.services) {
        const ClusterSize size{.services = services, .endpoints_per_service = plan.endpoints_per_service, .kind = kind};
        const std::string what =
            base::cat(dataplane, ", ", to_string(kind), ", ", services, " services x ", plan.endpoints_per_service);
        Sheet sheet(rows, dataplane, size);
        const auto measure = [&](const char* how, const auto& of) {
          std::fprintf(stderr, "sync: %s: %s\n", what.c_str(), how);
          const Status measured = of(plan, dataplane, size, sheet);
          if (!measured)
            std::fprintf(stderr, "sync: %s: NOT MEASURED: %s\n", what.c_str(), measured.error().message().c_str());
        };
        measure("from memory", measure_memory);
        measure("from the API server", measure_api);
      }
    }
  }
  return rows;
}

}  // namespace fairlead::tests::bench
