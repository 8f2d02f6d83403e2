// Topologies: one copy of each Topology for all the endpoints of a source that have it. Node names are long, hints are
// lists, and 200,000 endpoints run on some hundred nodes.
//
// One thread. Memory: at most twice the topologies in use, and kLeast. Cost: one look-up per endpoint.
#pragma once

#include <cstddef>
#include <unordered_set>

#include "kube/objects.h"

namespace fairlead::kube {

class Topologies {
 public:
  static constexpr std::size_t kLeast = 1024;

  // Afterwards the endpoints of `object`, if it is a slice, share what was seen before; its value is the same.
  void share(Object& object);
  std::size_t size() const { return known_.size(); }

 private:
  struct Hash {
    std::size_t operator()(const SharedTopology& topology) const;
  };
  void forget_unused();

  std::unordered_set<SharedTopology, Hash> known_;
  std::size_t limit_ = kLeast;
};

}  // namespace fairlead::kube
