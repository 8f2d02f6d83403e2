#include "agent/controller.h"

#include <chrono>
#include <utility>

#include "agent/time_text.h"
#include "base/log.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

namespace log = base::log;

std::string milliseconds(base::Duration duration) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  return base::cat(us / 1000, ".", us % 1000 / 100);
}

Metrics::Sync sync_kind(const Outcome& outcome) {
  return outcome.kind == Outcome::Kind::Replace ? Metrics::Sync::Full : Metrics::Sync::Partial;
}

// kube-proxy waits five minutes for podCIDRs, and ends when they change; here they are followed.
void log_pod_cidrs(const proxy::model::NodeView& view) {
  if (view.config.detect_local != proxy::model::DetectLocal::NodeCidr) return;
  if (view.pod_cidrs.empty()) {
    log::warn("the Node has no podCIDRs: until it has, its pods are not told from other clients",
              {{"node", view.name}});
    return;
  }
  std::vector<std::string> texts;
  for (const net::Prefix& prefix : view.pod_cidrs) texts.push_back(prefix.to_string());
  log::info("pods are told by the Node's podCIDRs", {{"pod_cidrs", base::join(texts, ",")}});
}

}  // namespace

Controller::Controller(Parts parts, const std::string& node_name, const proxy::model::Config& config)
    : parts_(std::move(parts)),
      ledger_(parts_.clock),
      failure_log_(parts_.clock),
      view_{.name = node_name, .zone = {}, .config = config} {}

void Controller::upsert(kube::Object object) {
  count_event(kube::kind_of(object), 1);
  if (const auto* slice = std::get_if<kube::EndpointSlice>(&object)) note_trigger(*slice);
  store_.upsert(std::move(object));
  flush_soon();
}

void Controller::erase(kube::Kind kind, const kube::Key& key) {
  count_event(kind, 1);
  store_.erase(kind, key);
  flush_soon();
}

void Controller::replace(kube::Kind kind, std::vector<kube::Object> objects) {
  count_event(kind, objects.size());
  store_.replace(kind, std::move(objects));
  flush_soon();
}

void Controller::count_event(kube::Kind kind, std::uint64_t n) {
  if (kind == kube::Kind::Service) {
    gathered_.service_events += n;
    parts_.metrics.count_service_events(n);
  } else if (kind == kube::Kind::EndpointSlice) {
    gathered_.slice_events += n;
    parts_.metrics.count_endpoint_events(n);
  }
}

// kube-proxy measures only changes made while it was running, each trigger once (kubernetes v1.36
// pkg/proxy/endpointschangetracker.go).
void Controller::note_trigger(const kube::EndpointSlice& slice) {
  if (slice.last_change_trigger_time.empty() || !first_sent_) return;
  const auto known = store_.slices().find(slice.meta.key);
  if (known != store_.slices().end() && known->second.last_change_trigger_time == slice.last_change_trigger_time)
    return;
  const auto at = parse_rfc3339(slice.last_change_trigger_time);
  if (at && *at >= ledger_.started()) gathered_.triggers.push_back(*at);
}

void Controller::flush_soon() {
  if (std::exchange(flush_posted_, true)) return;
  parts_.loop.post([this] { flush(); });
}

void Controller::flush() {
  flush_posted_ = false;
  kube::Dirty dirty = store_.take_dirty();
  if (dirty.node) parts_.health.set_node(store_.node());
  const bool view_changed = (dirty.node || dirty.service_cidrs) && look_at_node();
  if (!first_sent_ && !may_begin()) return;
  if (!first_sent_ || view_changed) {
    first_sent_ = true;
    waiting_.reset();
    gathered_.generation = ledger_.totals().generation + 1;
    send_all();
    return;
  }
  dirty.node = false;  // a taint or a condition alone changes no service
  Changes changes = proxy::model::resolve_changes(store_, dirty, view_);
  if (changes.empty()) {
    gathered_.triggers.clear();
    return;
  }
  gathered_.generation = ledger_.totals().generation + 1;
  send(work_from(std::move(changes), std::exchange(gathered_, {})));
}

// An agent that may not read one of them must not keep services from being served; a server that refuses a few requests
// answers within the time.
bool Controller::may_begin() {
  if (!store_.synced()) return false;
  std::vector<std::string> missing;
  for (const kube::Kind kind : {kube::Kind::Node, kube::Kind::ServiceCidr}) {
    if (!store_.synced(kind)) missing.emplace_back(kube::to_string(kind));
  }
  if (missing.empty()) return true;
  if (waited_) {
    log::warn("serving before all is known of the node and the cluster", {{"missing", base::join(missing, ",")}});
    return true;
  }
  if (waiting_ == nullptr) {
    waiting_ = parts_.loop.after(parts_.patience, [this] {
      waited_ = true;
      flush_soon();
    });
  }
  return false;
}

// What the rules depend on beside Services and EndpointSlices: true when it is not what it was.
bool Controller::look_at_node() {
  proxy::model::NodeView view = proxy::model::node_view(store_, view_.name, view_.config);
  const bool known = store_.node() != nullptr;
  const bool first_seen = known && !node_known_;
  node_known_ = known;
  if (first_seen || view.pod_cidrs != view_.pod_cidrs) log_pod_cidrs(view);
  if (view == view_) return false;
  view_ = std::move(view);
  return true;
}

void Controller::send_all() {
  if (!first_sent_) return;
  Work work;
  work.all = Everything{.node = proxy::model::node_state(view_), .services = proxy::model::resolve_all(store_, view_)};
  work.origin = std::exchange(gathered_, {});
  work.origin.generation = std::max(work.origin.generation, ledger_.totals().generation);
  send(std::move(work));
}

void Controller::send(Work work) {
  parts_.health.queued();
  parts_.metrics.sync_queued(parts_.clock.wall());
  ledger_.sent(work);
  facts_.sent(work);
  parts_.hand_over(std::move(work));
}

void Controller::done(const Outcome& outcome) {
  const bool was_synced = ledger_.synced();
  const bool was_failing = !ledger_.general_error().empty();
  ledger_.done(outcome);
  parts_.metrics.count_kernel_writes(outcome.kernel_writes);
  parts_.metrics.count_apply_failures(outcome.failures.size());
  const bool general = !ledger_.general_error().empty();
  for (const proxy::dataplane::RuleCount& rules : outcome.rules) parts_.metrics.set_iptables_rules(rules);
  if (!outcome.failures.empty()) parts_.metrics.sync_failed(sync_kind(outcome));
  if (!general) {
    const base::WallTime now = parts_.clock.wall();
    if (outcome.kind == Outcome::Kind::Replace || outcome.kind == Outcome::Kind::Apply) {
      parts_.metrics.sync_done(sync_kind(outcome), outcome.took, now);
    }
    for (const base::WallTime trigger : outcome.origin.triggers) parts_.metrics.programmed(now - trigger);
  }
  if (ledger_.settled()) parts_.health.updated();
  if (const auto applied = facts_.done(ledger_); applied.any() && parts_.facts_applied) parts_.facts_applied(applied);
  if (was_failing && !general) log::info("the dataplane works again");
  log_progress(outcome, !was_synced && ledger_.synced());
}

void Controller::log_progress(const Outcome& outcome, bool first_sync) {
  const Ledger::Totals& totals = ledger_.totals();
  const std::string writes = base::cat(outcome.kernel_writes);
  if (first_sync) {
    log::info("first sync done", {{"services", base::cat(store_.services().size())},
                                  {"endpoints", base::cat(store_.endpoint_count())},
                                  {"kernel_writes", base::cat(totals.first_sync_writes)},
                                  {"took_ms", milliseconds(outcome.took)},
                                  {"since_start_ms", milliseconds(totals.first_sync_after)},
                                  {"failures", base::cat(outcome.failures.size())}});
  } else if (outcome.kind == Outcome::Kind::Replace && outcome.kernel_writes > 0 && outcome.failures.empty()) {
    log::info("complete state applied again", {{"kernel_writes", writes}, {"took_ms", milliseconds(outcome.took)}});
  } else {
    log::debug("applied", {{"generation", base::cat(outcome.origin.generation)},
                           {"services", base::cat(outcome.tried.size())},
                           {"kernel_writes", writes},
                           {"took_ms", milliseconds(outcome.took)}});
  }
  for (const auto& failure : outcome.failures) {
    const Key subject = subject_of(failure);
    const bool general = subject.name.empty();
    const std::string object = general ? std::string("dataplane") : subject.to_string();
    if (!failure_log_.is_due(object, failure.error.message())) continue;
    if (general) {
      log::error("cannot apply to the dataplane, trying again with everything", {{"err", failure.error.message()}});
    } else {
      log::warn("cannot apply, trying again",
                {{failure.service.name.empty() ? "object" : "service", object}, {"err", failure.error.message()}});
    }
  }
  for (const Key& key : outcome.tried) {
    if (!ledger_.failing().contains(key) && failure_log_.recovered(key.to_string())) {
      log::info("applied after failing", {{"service", key.to_string()}});
    }
  }
  if (const std::uint64_t held_back = failure_log_.take_held_back(); held_back > 0) {
    log::warn("more services fail than are listed here", {{"not_listed", base::cat(held_back)}});
  }
}

}  // namespace fairlead::agent
