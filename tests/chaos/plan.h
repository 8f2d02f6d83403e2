// Plan: what a soak does, one action after the other: events of a History, and in between what goes wrong in a cluster.
// Pure; the same seed yields the same plan. When each action happens is the clock's, so two runs differ by their races.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/apiserver/options.h"
#include "tests/chaos/history.h"

namespace fairlead::tests::chaos {

enum class ActionKind : std::uint8_t {
  Change,     // one event
  Storm,      // many events at once
  Kill,       // an event, and SIGKILL to an agent `delay_ms` later; it starts again after `lasting_ms`
  Terminate,  // likewise with SIGTERM
  Break,      // the API server breaks once
  Fault,      // the API server misbehaves for `lasting_ms`
  Compact,    // the API server forgets its past
  Restore,    // ... is restored from a backup: cut connections, higher resourceVersions, no past
  Damage,     // somebody else meddles with the kernel objects of the dataplane
};
std::string_view to_string(ActionKind kind);

struct Action {
  ActionKind kind = ActionKind::Change;
  std::string text;
  std::vector<Event> events;
  unsigned node = 1;
  unsigned delay_ms = 0;
  unsigned lasting_ms = 0;
  apiserver::Break what = apiserver::Break::Reset;
  apiserver::Faults faults = {};
  unsigned choice = 0;    // of Damage: any number
  unsigned pause_ms = 0;  // until the next action
};

class Plan {
 public:
  Plan(std::uint64_t seed, Universe universe);
  Action next();
  History& history() { return history_; }

 private:
  void fill(Action& action);

  History history_;
  Random random_;
  unsigned nodes_;
};

}  // namespace fairlead::tests::chaos
