// Source -> Sink: how objects reach the store, whether they come from an API server, a directory or memory.
#pragma once

#include <vector>

#include "base/result.h"
#include "kube/objects.h"

namespace fairlead::kube {

// Called on the loop thread only. Objects that the selectors exclude never get here.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void upsert(Object object) = 0;
  virtual void erase(Kind kind, const Key& key) = 0;
  // The complete set of one kind (first sync, or a relist): what is missing from it is deleted.
  // Also marks the kind as synced.
  virtual void replace(Kind kind, std::vector<Object> objects) = 0;
};

}  // namespace fairlead::kube
