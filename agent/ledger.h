// Ledger: what has been asked of the dataplane and what came of it. Plain bookkeeping on the loop's thread; status,
// metrics and health read it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "agent/work.h"
#include "base/clock.h"

namespace fairlead::agent {

class Ledger {
 public:
  struct Totals {
    std::uint64_t generation = 0;  // batches of changes handed to the worker
    std::uint64_t applied = 0;     // the newest of them that has been brought to the kernel
    std::uint64_t kernel_writes = 0;
    std::uint64_t first_sync_writes = 0;
    std::uint64_t last_writes = 0;
    std::uint64_t failed_attempts = 0;
    std::uint64_t service_events_pending = 0;
    std::uint64_t slice_events_pending = 0;
    base::Duration last_took{};
    base::Duration first_sync_took{};   // of the dataplane's call
    base::Duration first_sync_after{};  // since the Ledger was made
    std::optional<base::WallTime> first_synced;
    std::optional<base::WallTime> last_applied;
    bool operator==(const Totals&) const = default;
  };
  struct Failing {
    std::string error;
    unsigned attempts = 0;
    base::WallTime since;
    bool operator==(const Failing&) const = default;
  };

  explicit Ledger(const base::Clock& clock) : clock_(clock), started_(clock.now()), started_wall_(clock.wall()) {}

  void sent(const Work& work);
  void done(const Outcome& outcome);

  const Totals& totals() const { return totals_; }
  bool synced() const { return totals_.first_synced.has_value(); }
  // Nothing waits for the kernel, but for services that fail on their own.
  bool settled() const { return synced() && totals_.applied == totals_.generation && general_error_.empty(); }
  const std::map<Key, Failing>& failing() const { return failing_; }   // by subject_of()
  const std::string& general_error() const { return general_error_; }  // no one service's fault; empty when well
  base::WallTime started() const { return started_wall_; }
  base::WallTime last_change(const Key& service) const;

 private:
  void note_failures(const Outcome& outcome);

  const base::Clock& clock_;
  const base::Instant started_;
  const base::WallTime started_wall_;
  Totals totals_;
  std::map<Key, Failing> failing_;
  std::string general_error_;
  // Only what changed after the first complete state: the rest changed when that was sent.
  std::map<Key, base::WallTime> changed_at_;
  std::optional<base::WallTime> first_sent_;
};

}  // namespace fairlead::agent
