#include "kube/topologies.h"

#include <algorithm>
#include <functional>
#include <string>

namespace fairlead::kube {

std::size_t Topologies::Hash::operator()(const SharedTopology& topology) const {
  constexpr std::size_t kOdd = 31;
  const std::hash<std::string> hash;
  std::size_t out = hash(topology->node_name);
  for (const auto* hints : {&topology->zone_hints, &topology->node_hints}) {
    out = out * kOdd + hints->size();
    for (const std::string& name : *hints) out = out * kOdd + hash(name);
  }
  return out;
}

void Topologies::share(Object& object) {
  auto* slice = std::get_if<EndpointSlice>(&object);
  if (slice == nullptr) return;
  for (Endpoint& endpoint : slice->endpoints) endpoint.topology = *known_.insert(endpoint.topology).first;
  if (known_.size() > limit_) forget_unused();
}

void Topologies::forget_unused() {
  std::erase_if(known_, [](const SharedTopology& topology) { return !topology.is_shared(); });
  limit_ = std::max(kLeast, 2 * known_.size());
}

}  // namespace fairlead::kube
