// `bench connect`: one exchange through a service next to the same exchange with the pod directly: by a ClusterIP, by
// that of a service with ClientIP affinity, and by a load balancer's address with source ranges.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/bench/cluster.h"
#include "tests/bench/rows.h"

namespace fairlead::tests::bench {

struct ConnectPlan {
  std::vector<std::string> dataplanes;
  std::vector<ClusterKind> clusters = {ClusterKind::Plain};  // of the other services
  std::vector<std::uint32_t> services = {1, 10000};
  unsigned rounds = 10000;
};

Result<std::vector<Row>> bench_connect(const ConnectPlan& plan);

}  // namespace fairlead::tests::bench
