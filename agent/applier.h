// Applier: brings Work into a Dataplane, and decides what to try again and when. No thread, no timer of its own.
//
// A service that failed is tried again alone, with jittered exponential back-off; when that does not help, or the
// failure is no one service's fault, the complete state is asked for (Outcome::wants_all_after). Newer Work for a
// service replaces what was to be tried again. Nothing is applied before a first replace() has been done.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "agent/work.h"
#include "base/clock.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::agent {

struct Backoff {
  base::Duration first = std::chrono::milliseconds(100);
  base::Duration limit = std::chrono::seconds(30);
  unsigned persistent_after = 5;  // attempts on one service before the complete state is asked for
  // Before attempt n+1 after n failed ones; `random` in [0, 1) spreads it over the upper half.
  base::Duration delay(unsigned attempts, double random) const;
};

class Applier {
 public:
  Applier(proxy::dataplane::Dataplane& dataplane, const base::Clock& clock, Backoff backoff,
          std::function<double()> random);

  // nullopt: it must wait for the complete state, which is on its way.
  std::optional<Outcome> apply(Work work);
  Outcome retry();                            // tries again what is due
  Outcome handle_notification();              // after Dataplane::notification_fd() turned readable
  std::optional<base::Instant> due() const;   // when retry() should be called next

 private:
  struct Again {
    std::optional<ServiceState> state;  // nullopt: to be deleted
    unsigned attempts = 0;
    base::Instant due;
  };

  Outcome replace(Work work);
  Outcome apply_changes(Outcome::Kind kind, std::map<Key, std::optional<ServiceState>> changed, Origin origin);
  // `states` are those that were just tried; a failed service that is not among them was to be deleted.
  void note_failures(Outcome& outcome, const std::map<Key, unsigned>& attempts_before,
                     const std::vector<ServiceState>& states);
  void want_all(Outcome& outcome);

  proxy::dataplane::Dataplane& dataplane_;
  const base::Clock& clock_;
  const Backoff backoff_;
  const std::function<double()> random_;
  bool replaced_ = false;      // a replace() succeeded, so that apply() is allowed
  unsigned all_attempts_ = 0;  // times in a row that the complete state did not help
  Origin held_;                // of Work that only the next complete state will have applied
  std::map<Key, Again> again_;
};

}  // namespace fairlead::agent
