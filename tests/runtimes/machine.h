// machine: what a container runtime takes for a whole host: namespaces of every kind, a pid 1 that reaps, an empty
// /run, /var/lib and /opt, an /etc whose CNI part is empty, and the unified cgroup tree from a cgroup of its own
// downwards.
//
// Daemons, shims, containers, mounts and network go with pid 1, however the test ends; the cgroup goes with the reaper
// of tests/datapath (`fairlead-probe reap`).
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace fairlead::tests::runtimes {

// Runs `work` inside and returns what it returned (128 + signal if it was killed). REQUIRES a process that has no
// threads as yet, and root.
Result<int> run_in_machine(const std::function<int()>& work);


}  // namespace fairlead::tests::runtimes
