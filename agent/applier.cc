#include "agent/applier.h"

#include <algorithm>
#include <utility>

namespace fairlead::agent {

using proxy::dataplane::Failure;
using proxy::dataplane::Report;

namespace {

bool is_general(const Failure& failure) { return subject_of(failure).name.empty(); }
bool is_of_a_service(const Failure& failure) { return !failure.service.name.empty(); }
bool failed_as_a_whole(const Outcome& outcome) {
  return std::any_of(outcome.failures.begin(), outcome.failures.end(), is_general);
}
void note_report(Outcome& outcome, Report&& report, base::Duration took) {
  outcome.took = took;
  outcome.kernel_writes = report.kernel_writes;
  outcome.failures = std::move(report.failures);
  outcome.rules = std::move(report.rules);
}

}  // namespace

base::Duration Backoff::delay(unsigned attempts, double random) const {
  base::Duration whole = first;
  for (unsigned i = 1; i < attempts && whole < limit; ++i) whole *= 2;
  whole = std::min(whole, limit);
  return whole / 2 + std::chrono::duration_cast<base::Duration>(whole / 2 * random);
}

Applier::Applier(proxy::dataplane::Dataplane& dataplane, const base::Clock& clock, Backoff backoff,
                 std::function<double()> random, Listener* listener)
    : dataplane_(dataplane), clock_(clock), backoff_(backoff), random_(std::move(random)), listener_(listener) {}

std::optional<Outcome> Applier::apply(Work work) {
  if (work.all) return replace(std::move(work));
  if (!replaced_) {
    // The complete state that comes is resolved after these changes, and so contains them.
    merge(held_, std::move(work.origin));
    if (last_replace_) {
      const base::Instant soon = *last_replace_ + backoff_.impatient;
      all_due_ = all_due_ ? std::min(*all_due_, soon) : soon;
    }
    return std::nullopt;
  }
  return apply_changes(Outcome::Kind::Apply, std::move(work.changed), std::move(work.origin));
}

Outcome Applier::replace(Work work) {
  Outcome outcome;
  outcome.kind = Outcome::Kind::Replace;
  outcome.origin = std::exchange(held_, {});
  merge(outcome.origin, std::move(work.origin));
  const Everything all = folded(std::move(work));

  std::map<Key, unsigned> attempts;
  for (const auto& [key, again] : again_) attempts.emplace(key, again.attempts);
  again_.clear();

  const base::Instant start = clock_.now();
  Report report = dataplane_.replace(all.node, all.services);
  note_report(outcome, std::move(report), clock_.now() - start);
  last_replace_ = clock_.now();
  all_due_.reset();
  replaced_ = !failed_as_a_whole(outcome);
  if (listener_ != nullptr && replaced_) listener_->replaced(all, outcome.failures);
  if (std::all_of(outcome.failures.begin(), outcome.failures.end(), is_of_a_service)) all_attempts_ = 0;
  note_failures(outcome, attempts, all.services);
  return outcome;
}

Outcome Applier::apply_changes(Outcome::Kind kind, std::map<Key, std::optional<ServiceState>>&& changed,
                               Origin origin) {
  Outcome outcome;
  outcome.kind = kind;
  outcome.origin = std::move(origin);
  Changes changes;
  std::map<Key, unsigned> attempts;
  for (auto& [key, state] : changed) {
    outcome.tried.push_back(key);
    if (const auto it = again_.find(key); it != again_.end()) {
      if (kind == Outcome::Kind::Retry) attempts.emplace(key, it->second.attempts);
      again_.erase(it);
    }
    if (state) {
      changes.upserted.push_back(std::move(*state));
    } else {
      changes.deleted.push_back(key);
    }
  }
  const base::Instant start = clock_.now();
  Report report = dataplane_.apply(changes);
  note_report(outcome, std::move(report), clock_.now() - start);
  if (listener_ != nullptr && !failed_as_a_whole(outcome)) listener_->applied(changes, outcome.failures);
  note_failures(outcome, attempts, changes.upserted);
  return outcome;
}

void Applier::note_failures(Outcome& outcome, const std::map<Key, unsigned>& attempts_before,
                            const std::vector<ServiceState>& states) {
  if (outcome.failures.empty()) return;
  std::map<Key, const ServiceState*> state_of;
  for (const ServiceState& state : states) state_of.emplace(state.key, &state);
  const double random = random_();  // one for all of them, so that they are tried again in one batch
  for (const Failure& failure : outcome.failures) {
    if (!is_of_a_service(failure)) {
      want_all();
      if (is_general(failure)) merge(held_, std::exchange(outcome.origin, {}));
      continue;
    }
    const auto state = state_of.find(failure.service);
    const bool is_delete = std::binary_search(outcome.tried.begin(), outcome.tried.end(), failure.service);
    if (state == state_of.end() && !is_delete) {
      // Of a service that this call was not about, by a frontend that two of them claim.
      if (!again_.contains(failure.service)) want_all();
      continue;
    }
    const auto before = attempts_before.find(failure.service);
    const unsigned attempts = (before == attempts_before.end() ? 0 : before->second) + 1;
    // A replace() has just tried the complete state.
    if (attempts == backoff_.persistent_after && outcome.kind != Outcome::Kind::Replace) want_all();
    again_.insert_or_assign(failure.service,
                            Again{.state = state == state_of.end() ? std::nullopt : std::optional(*state->second),
                                  .attempts = attempts,
                                  .due = clock_.now() + backoff_.delay(attempts, random)});
  }
}

void Applier::want_all() {
  if (all_due_) return;
  ++all_attempts_;
  all_due_ = clock_.now() + backoff_.delay(all_attempts_, random_());
}

Outcome Applier::retry() {
  const base::Instant now = clock_.now();
  std::map<Key, std::optional<ServiceState>> changed;
  for (const auto& [key, again] : again_) {
    if (again.due <= now) changed.emplace(key, again.state);
  }
  if (changed.empty() || !replaced_) {
    Outcome nothing;
    nothing.kind = Outcome::Kind::Retry;
    return nothing;
  }
  return apply_changes(Outcome::Kind::Retry, std::move(changed), {});
}

Outcome Applier::handle_notification() {
  Outcome outcome;
  outcome.kind = Outcome::Kind::Notification;
  const base::Instant start = clock_.now();
  Report report = dataplane_.handle_notification();
  note_report(outcome, std::move(report), clock_.now() - start);
  if (listener_ != nullptr && outcome.kernel_writes > 0) listener_->repaired();
  // Repairing is the business of the complete state: a notification carries no service states to try again.
  if (!outcome.failures.empty()) want_all();
  return outcome;
}

std::optional<base::Instant> Applier::due() const {
  if (!replaced_) return std::nullopt;
  std::optional<base::Instant> first;
  for (const auto& [key, again] : again_) first = first ? std::min(*first, again.due) : again.due;
  return first;
}

}  // namespace fairlead::agent
