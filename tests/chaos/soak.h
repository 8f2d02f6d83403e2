// Soak: one dataplane under a Plan for a while, with load; then the verdict.
//
// While it runs: no request of a load fails (requests around a damage are counted apart), no agent ends by itself.
// Afterwards: each agent is in step with the cluster; each kernel holds what a fresh agent puts into one; a restart
// writes nothing; memory and descriptors have not grown over the last part, in which no agent is killed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/chaos/plan.h"

namespace fairlead::tests::chaos {

struct SoakOptions {
  std::string dataplane;
  std::chrono::milliseconds length = std::chrono::minutes(10);
  std::uint64_t seed = 1;
};

struct Check {
  std::string name;
  double value = 0;
  double limit = 0;  // at most
  std::string unit;
  bool ok() const { return value <= limit; }
};

struct SoakResult {
  std::vector<Check> checks;
  std::map<std::string, std::uint64_t> counts;  // "events", "kill", ..., "requests"
  std::vector<std::string> evidence;            // of failed checks, and the last actions
  bool ok() const;
};

// An Error: the soak could not be held. `progress` gets a line every ten seconds.
Result<SoakResult> soak(const SoakOptions& options, const std::function<void(const std::string&)>& progress);

}  // namespace fairlead::tests::chaos
