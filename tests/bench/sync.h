// `bench sync`: from process start to the first complete sync, and from one changed endpoint to a connection it
// answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/bench/cluster.h"
#include "tests/bench/rows.h"

namespace fairlead::tests::bench {

struct SyncPlan {
  std::vector<std::string> dataplanes;
  std::vector<ClusterKind> clusters = {ClusterKind::Plain};
  std::vector<std::uint32_t> services = {1000, 10000, 50000};
  std::uint32_t endpoints_per_service = 10;
  unsigned repeats = 3;    // of a first sync; the median is reported
  unsigned changes = 100;  // of one endpoint
};

// A size that one dataplane cannot do is told, and the rest is measured.
Result<std::vector<Row>> bench_sync(const SyncPlan& plan);

}  // namespace fairlead::tests::bench
