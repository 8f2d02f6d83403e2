// `bench connect`: one exchange through a ClusterIP next to the same exchange with the pod directly.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/bench/rows.h"

namespace fairlead::tests::bench {

struct ConnectPlan {
  std::vector<std::string> dataplanes = {"ebpf", "nftables"};
  std::vector<std::uint32_t> services = {1, 10000};
  unsigned rounds = 10000;
};

Result<std::vector<Row>> bench_connect(const ConnectPlan& plan);

}  // namespace fairlead::tests::bench
