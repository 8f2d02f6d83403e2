#include "tests/bench/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "base/subprocess.h"
#include "kube/store.h"
#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/select.h"
#include "proxy/model/resolve.h"
#include "tests/bench/exchange.h"
#include "tests/bench/rows.h"
#include "tests/bench/sandbox.h"

namespace fairlead::tests::bench {
namespace {

Status check(const proxy::dataplane::Report& report) {
  if (report.ok()) return {};
  return report.failures.front().error.with_context(report.failures.front().service.to_string());
}

double cpu_seconds() {
  double seconds = 0;
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    ::getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime})
      seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  }
  return seconds;
}

// Takes the last endpoint of service `index` away, or brings it back.
kube::EndpointSlice with_change(const kube::Object& original, bool shortened) {
  kube::EndpointSlice slice = std::get<kube::EndpointSlice>(original);
  if (shortened) slice.endpoints.pop_back();
  return slice;
}

}  // namespace

Result<MemoryRun> run_from_memory(const std::string& dataplane_name, const ClusterSize& size, const std::string& cgroup,
                                  const std::string& bpf_root, std::uint64_t started_ns, unsigned changes) {
  const proxy::model::NodeView node = make_node_view(cluster_cidrs());
  proxy::dataplane::Options options;
  options.cgroup = cgroup;
  options.bpf_root = bpf_root;
  // As in the agent, where the worker opens the dataplane while the sources are read.
  auto opening = std::async(std::launch::async, [&]() -> Result<std::unique_ptr<proxy::dataplane::Dataplane>> {
    const auto chosen = TRY(proxy::dataplane::select(dataplane_name, proxy::dataplane::modules(), options));
    return chosen.module.open(options);
  });

  kube::Store store;
  store.replace(kube::Kind::Service, make_services(size));
  store.replace(kube::Kind::EndpointSlice, make_slices(size));
  (void)store.take_dirty();
  std::vector<proxy::model::ServiceState> services = proxy::model::resolve_all(store, node);
  const auto dataplane = TRY(opening.get());
  TRY(check(dataplane->replace(proxy::model::node_state(node), std::move(services))));
  MemoryRun run;
  run.first_sync_s = static_cast<double>(monotonic_ns() - started_ns) / 1e9;
  run.first_sync_cpu_s = cpu_seconds();

  const std::vector<kube::Object> slices = make_slices(size);
  std::vector<double> milliseconds;
  std::uint64_t writes = 0;
  for (unsigned i = 0; i < changes; ++i) {
    const kube::Object& original = slices[(std::size_t{i / 2} * 7919) % slices.size()];
    kube::EndpointSlice changed = with_change(original, i % 2 == 0);
    const std::uint64_t before = monotonic_ns();
    store.upsert(std::move(changed));
    const proxy::dataplane::Report report =
        dataplane->apply(proxy::model::resolve_changes(store, store.take_dirty(), node));
    milliseconds.push_back(static_cast<double>(monotonic_ns() - before) / 1e6);
    TRY(check(report));
    writes += report.kernel_writes;
  }
  run.change_apply_ms = quantile(milliseconds, 0.5);
  run.writes_per_change = static_cast<double>(writes) / changes;
  return run;
}

Result<MemoryRun> spawn_memory_child(const std::string& dataplane, const ClusterSize& size, unsigned changes) {
  const Cgroup cgroup = TRY(Cgroup::create(base::cat("fairlead-bench-", ::getpid())));
  const std::string out = TRY(base::run_checked(
      {"/proc/self/exe", "child-memory", dataplane, base::cat(size.services), base::cat(size.endpoints_per_service),
       std::string(to_string(size.kind)), base::cat(changes), cgroup.path(), base::cat(monotonic_ns())},
      {}, std::chrono::minutes(5)));
  const auto fields = base::split(base::trim(out), ' ');
  MemoryRun run;
  if (fields.size() != 4) return Error("the measuring process answered: " + out);
  run.first_sync_s = base::parse_number<double>(fields[0]).value_or(-1);
  run.first_sync_cpu_s = base::parse_number<double>(fields[1]).value_or(-1);
  run.change_apply_ms = base::parse_number<double>(fields[2]).value_or(-1);
  run.writes_per_change = base::parse_number<double>(fields[3]).value_or(-1);
  return run;
}

int memory_child_main(int argc, char** argv) {
  if (argc != 9) return 2;
  const ClusterSize size{.services = base::parse_number<std::uint32_t>(argv[3]).value_or(0),
                         .endpoints_per_service = base::parse_number<std::uint32_t>(argv[4]).value_or(0),
                         .kind = std::string_view(argv[5]) == "mixed" ? ClusterKind::Mixed : ClusterKind::Plain};
  const auto bpf_root = enter_sandbox();
  const auto run = bpf_root ? run_from_memory(argv[2], size, argv[7], *bpf_root,
                                              base::parse_number<std::uint64_t>(argv[8]).value_or(0),
                                              base::parse_number<unsigned>(argv[6]).value_or(1))
                            : Result<MemoryRun>(bpf_root.error());
  if (!run) {
    std::fprintf(stderr, "%s\n", run.error().message().c_str());
    return 1;
  }
  std::printf("%.6f %.6f %.6f %.3f\n", run->first_sync_s, run->first_sync_cpu_s, run->change_apply_ms,
              run->writes_per_change);
  return 0;
}

}  // namespace fairlead::tests::bench
