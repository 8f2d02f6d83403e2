#include "agent/ledger.h"

#include <algorithm>
#include <utility>

namespace fairlead::agent {

void Ledger::sent(const Work& work) {
  const base::WallTime now = clock_.wall();
  totals_.generation = std::max(totals_.generation, work.origin.generation);
  totals_.service_events_pending += work.origin.service_events;
  totals_.slice_events_pending += work.origin.slice_events;
  if (work.all && !first_sent_) first_sent_ = now;
  for (const auto& [key, state] : work.changed) {
    if (state) {
      changed_at_.insert_or_assign(key, now);
    } else {
      changed_at_.erase(key);
    }
  }
}

void Ledger::done(const Outcome& outcome) {
  totals_.kernel_writes += outcome.kernel_writes;
  totals_.failed_attempts += outcome.failures.size();
  totals_.applied = std::max(totals_.applied, outcome.origin.generation);
  totals_.service_events_pending -= std::min(totals_.service_events_pending, outcome.origin.service_events);
  totals_.slice_events_pending -= std::min(totals_.slice_events_pending, outcome.origin.slice_events);
  if (outcome.kind != Outcome::Kind::Notification) {
    totals_.last_writes = outcome.kernel_writes;
    totals_.last_took = outcome.took;
  }
  note_failures(outcome);
  if (!general_error_.empty()) return;
  totals_.last_applied = clock_.wall();
  if (outcome.kind == Outcome::Kind::Replace && !totals_.first_synced) {
    totals_.first_synced = totals_.last_applied;
    totals_.first_sync_writes = totals_.kernel_writes;
    totals_.first_sync_took = outcome.took;
    totals_.first_sync_after = clock_.now() - started_;
  }
}

void Ledger::note_failures(const Outcome& outcome) {
  std::map<Key, Failing> before;
  if (outcome.kind == Outcome::Kind::Replace) {
    before = std::exchange(failing_, {});
    general_error_.clear();
  } else {
    for (const Key& key : outcome.tried) {
      if (auto node = failing_.extract(key)) before.insert(std::move(node));
    }
  }
  for (const auto& failure : outcome.failures) {
    const Key subject = subject_of(failure);
    if (subject.name.empty()) {
      general_error_ = failure.error.message();
      continue;
    }
    const auto old = before.find(subject);
    failing_.insert_or_assign(
        subject, old == before.end() ? Failing{.error = failure.error.message(), .attempts = 1, .since = clock_.wall()}
                                     : Failing{.error = failure.error.message(),
                                               .attempts = old->second.attempts + 1,
                                               .since = old->second.since});
  }
}

base::WallTime Ledger::last_change(const Key& service) const {
  const auto it = changed_at_.find(service);
  return it != changed_at_.end() ? it->second : first_sent_.value_or(started_wall_);
}

}  // namespace fairlead::agent
