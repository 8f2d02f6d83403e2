// A made-up cluster of N services x E endpoints as typed objects: the same numbers every time.
#pragma once

#include <cstdint>
#include <vector>

#include "kube/objects.h"

namespace fairlead::tests::bench {

struct ClusterSize {
  std::uint32_t services = 0;
  std::uint32_t endpoints_per_service = 10;
};

// One ClusterIP service of one TCP port each (10.96.0.0/12), one slice each with its endpoints (10.128.0.0/9).
std::vector<kube::Object> make_services(const ClusterSize& size);
std::vector<kube::Object> make_slices(const ClusterSize& size);

}  // namespace fairlead::tests::bench
