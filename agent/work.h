// Work and Outcome: the values that the loop thread and the worker thread hand each other. Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "proxy/dataplane/dataplane.h"
#include "proxy/model/service_state.h"

namespace fairlead::agent {

using proxy::model::Changes;
using proxy::model::Key;
using proxy::model::NodeState;
using proxy::model::ServiceState;

// What a batch of events stands for beside its states; sums under merge.
struct Origin {
  std::uint64_t generation = 0;  // of the newest batch in it
  std::uint64_t service_events = 0;
  std::uint64_t slice_events = 0;
  // When the changes behind it were made (endpoints.kubernetes.io/last-change-trigger-time).
  std::vector<base::WallTime> triggers;
  bool operator==(const Origin&) const = default;
};
void merge(Origin& earlier, Origin&& later);

// Everything there is.
struct Everything {
  NodeState node{};
  std::vector<ServiceState> services;
  bool operator==(const Everything&) const = default;
};

// Desired state for the dataplane: first `all`, if set, is everything there is; then `changed` by key (nullopt: gone).
struct Work {
  Origin origin;
  std::optional<Everything> all;
  std::map<Key, std::optional<ServiceState>> changed;
  bool operator==(const Work&) const = default;
};

Work work_from(Changes changes, Origin origin);
// Merge law: the later value wins per key, and a later `all` wins over everything before it.
void merge(Work& earlier, Work&& later);
// `all` with `changed` laid over it. REQUIRES work.all.
Everything folded(Work&& work);

// Whose failure it is: a service, or {"", object}; empty when the call failed as a whole.
Key subject_of(const proxy::dataplane::Failure& failure);

// What the worker did, for status, metrics and the log.
struct Outcome {
  enum class Kind : std::uint8_t { Replace, Apply, Retry, Notification };
  Kind kind = Kind::Apply;
  Origin origin;           // what is now applied (a retry adds nothing)
  std::vector<Key> tried;  // Apply, Retry: sorted; what has no failure is in the kernel. Replace: empty, it was all
  std::uint64_t kernel_writes = 0;
  std::vector<proxy::dataplane::Failure> failures;
  std::vector<proxy::dataplane::RuleCount> rules{};
  base::Duration took{};
};

}  // namespace fairlead::agent
