// Applier: brings Work into a Dataplane, and decides what to try again and when. No thread, no timer of its own.
//
// A service that failed is tried again alone, with jittered exponential back-off; when that does not help, or the
// failure is no one service's fault, the complete state is wanted (all_due), with the same back-off. Newer Work for a
// service replaces what was to be tried again. Changes are applied only on top of a complete state that worked as a
// whole; without one, they make the next complete state be wanted sooner.
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
  base::Duration impatient = std::chrono::seconds(1);  // between complete states while changes wait for one
  unsigned persistent_after = 5;                       // attempts on one service before the complete state is wanted
  // Before attempt n+1 after n failed ones; `random` in [0, 1) spreads it over the upper half.
  base::Duration delay(unsigned attempts, double random) const;
};

class Applier {
 public:
  // Hears of what is in the kernel now, except for the failures of single services. A call that failed as a whole is
  // not told: the complete state follows.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void replaced(const Everything& all, const std::vector<proxy::dataplane::Failure>& failures) = 0;
    virtual void applied(const Changes& changes, const std::vector<proxy::dataplane::Failure>& failures) = 0;
    virtual void repaired() = 0;  // what somebody else changed in the kernel
  };

  Applier(proxy::dataplane::Dataplane& dataplane, const base::Clock& clock, Backoff backoff,
          std::function<double()> random, Listener* listener = nullptr);

  // nullopt: it must wait for the complete state.
  std::optional<Outcome> apply(Work work);
  Outcome retry();                             // tries again what is due
  Outcome handle_notification();               // after Dataplane::notification_fd() turned readable
  std::optional<base::Instant> due() const;    // when retry() should be called next
  bool replaced() const { return replaced_; }  // the last complete state worked as a whole
  // When the complete state should be asked for; call asked_for_all() then.
  std::optional<base::Instant> all_due() const { return all_due_; }
  void asked_for_all() { all_due_.reset(); }

 private:
  struct Again {
    std::optional<ServiceState> state;  // nullopt: to be deleted
    unsigned attempts = 0;
    base::Instant due;
  };

  Outcome replace(Work work);
  Outcome apply_changes(Outcome::Kind kind, std::map<Key, std::optional<ServiceState>>&& changed, Origin origin);
  // `states` are those that were just tried; a failed service that is not among them was to be deleted.
  void note_failures(Outcome& outcome, const std::map<Key, unsigned>& attempts_before,
                     const std::vector<ServiceState>& states);
  void want_all();

  proxy::dataplane::Dataplane& dataplane_;
  const base::Clock& clock_;
  const Backoff backoff_;
  const std::function<double()> random_;
  Listener* const listener_;  // may be nullptr
  bool replaced_ = false;     // the last replace() worked as a whole, so that apply() is allowed
  std::optional<base::Instant> last_replace_;
  std::optional<base::Instant> all_due_;
  unsigned all_attempts_ = 0;  // times in a row that the complete state did not help
  Origin held_;                // of Work that only the next complete state will have applied
  std::map<Key, Again> again_;
};

}  // namespace fairlead::agent
