// `bench cni`: ADD and DEL of the CNI executable beside the reference plugins of Debian, one at a time and in a storm,
// driven alike and on the same kernel.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "tests/bench/rows.h"

namespace fairlead::tests::bench {

struct CniPlan {
  unsigned rounds = 200;      // ADD and DEL of one container, one after another
  unsigned storm_pods = 500;  // kStormThreads at a time
  std::string reference = "/usr/lib/cni";
};

inline constexpr unsigned kStormThreads = 32;

// Rows: `dataplane` is who ("reference", "fairlead" with a process per plugin, "one-entry" with the plugin fairlead
// alone), `cluster` is what ("bridge", "full", "exec", "ipam", "storm-bridge", "storm-full"), `services` the pods or
// the addresses held. Puts this process into namespaces of its own. What fails is told, and the rest is measured.
Result<std::vector<Row>> bench_cni(const CniPlan& plan);

}  // namespace fairlead::tests::bench
