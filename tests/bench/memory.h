// The child half of `bench sync` from memory: one process, one dataplane, objects made on the spot.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "tests/bench/cluster.h"

namespace fairlead::tests::bench {

struct MemoryRun {
  double first_sync_s = 0;       // process start to the last write of the first complete sync
  double first_sync_cpu_s = 0;   // processor time of that, its own and that of the programs it ran
  double change_apply_ms = 0;    // median: one endpoint changed in the store until apply() has returned
  double writes_per_change = 0;  // kernel writes of such a change
};

// In this process: make the cluster, fill the store, resolve, replace; then change one endpoint `changes` times.
// `started_ns` is CLOCK_MONOTONIC at process start. REQUIRES a namespace of its own.
Result<MemoryRun> run_from_memory(const std::string& dataplane, const ClusterSize& size, const std::string& cgroup,
                                  const std::string& bpf_root, std::uint64_t started_ns, unsigned changes);

// Spawns `self child-memory ...` and reads its answer.
Result<MemoryRun> spawn_memory_child(const std::string& dataplane, const ClusterSize& size, unsigned changes);
// The child's main: parses the arguments spawn_memory_child() wrote, prints one line.
int memory_child_main(int argc, char** argv);

}  // namespace fairlead::tests::bench
