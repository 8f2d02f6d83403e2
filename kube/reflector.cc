#include "kube/reflector.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace fairlead::kube {
namespace {

using base::cat;

bool is_expired(const ApiStatus& status) {
  return status.code == 410 || status.reason == "Expired" || status.reason == "Gone";
}

// k8s.io/apimachinery meta/v1: cause ResourceVersionTooLarge of a Timeout; servers before 1.19 say it in the message.
bool is_version_too_large(const ApiStatus& status) {
  return std::find(status.causes.begin(), status.causes.end(), "ResourceVersionTooLarge") != status.causes.end() ||
         status.message.find("Too large resource version") != status.message.npos;
}

// How servers without the WatchList feature refuse its parameters.
bool refuses_watch_list(const ApiStatus& status) {
  return status.code == 400 || status.code == 403 || status.code == 422;
}

bool may_pass(const ApiStatus& status) { return status.code == 429 || status.code >= 500; }

Error to_error(const ApiStatus& status) {
  std::string text = cat(status.code);
  if (!status.reason.empty()) text += " " + status.reason;
  if (!status.message.empty()) text += ": " + status.message;
  return Error(std::move(text));
}

}  // namespace

std::string_view to_string(ReflectorState state) {
  switch (state) {
    case ReflectorState::Idle: return "idle";
    case ReflectorState::InitialEvents: return "initial events";
    case ReflectorState::Listing: return "listing";
    case ReflectorState::Watching: return "watching";
    case ReflectorState::Checking: return "checking";
    case ReflectorState::Waiting: return "waiting";
    case ReflectorState::Unserved: return "not served";
  }
  return "?";
}

Reflector::Reflector(Kind kind, ReflectorOptions options, Select select, Sink& sink, const base::Clock& clock,
                     std::function<double()> random)
    : options_(options),
      select_(std::move(select)),
      sink_(sink),
      clock_(clock),
      random_(std::move(random)),
      backoff_(options.backoff, clock, random_) {
  status_.kind = kind;
}

Step Reflector::start() { return cycle(); }

Step Reflector::on_timer() {
  switch (next_) {
    case Next::Rewatch: return rewatch();
    case Next::Check: return check();
    case Next::Cycle: break;
  }
  return cycle();
}

Step Reflector::sent(ReflectorState state, Step step) {
  status_.state = state;
  if (requested_) ++status_.reconnects;
  requested_ = true;
  watch_began_ = clock_.now();
  watch_events_ = 0;
  return step;
}

Step Reflector::cycle() {
  collected_.clear();
  collected_at_.clear();
  list_version_.clear();
  continue_token_.clear();
  if (!options_.watch_list || without_watch_list_) return sent(ReflectorState::Listing, list_page({}));
  WatchRequest request = std::get<WatchRequest>(rewatch());
  request.initial_events = true;
  status_.state = ReflectorState::InitialEvents;
  return request;
}

Step Reflector::list_page(std::string continue_token) {
  continue_token_ = std::move(continue_token);
  // Only a list from etcd is cut into pages: one from the API server's cache is not (limit is ignored for RV "0").
  if (!continue_token_.empty()) {
    return ListRequest{.resource_version = {}, .limit = options_.page_size, .continue_token = continue_token_};
  }
  if (from_newest_) {
    return ListRequest{.resource_version = {}, .limit = without_pages_ ? 0 : options_.page_size, .continue_token = {}};
  }
  return ListRequest{.resource_version = status_.resource_version.empty() ? "0" : status_.resource_version,
                     .limit = 0,
                     .continue_token = {}};
}

// The server behind a cut connection may have come back with an older history (etcd restored from a backup). To a watch
// from the future it says nothing at all (kubernetes v1.36 staging/src/k8s.io/apiserver/pkg/storage/cacher/
// cache_watcher.go drops what is not newer), so one object is listed first: that fails, or its list tells the version.
Step Reflector::check() {
  return sent(
      ReflectorState::Checking,
      ListRequest{.resource_version = status_.resource_version, .limit = 1, .continue_token = {}, .not_older = true});
}

Step Reflector::history_replaced(const std::string& resource_version) {
  return cycle_from_newest(Error(cat("resourceVersion went back from ", status_.resource_version, " to ",
                                     resource_version, ": the server's history is another one")));
}

Step Reflector::rewatch() {
  // Spread over an interval, so that the watches of many nodes do not all end together.
  const auto spread = static_cast<double>((options_.watch_timeout_most - options_.watch_timeout_least).count());
  const auto timeout =
      options_.watch_timeout_least + std::chrono::seconds(static_cast<std::int64_t>(spread * random_()));
  return sent(ReflectorState::Watching,
              WatchRequest{.resource_version = status_.resource_version, .initial_events = false, .timeout = timeout});
}

Step Reflector::wait(Next next, std::optional<std::chrono::seconds> retry_after) {
  next_ = next;
  status_.state = ReflectorState::Waiting;
  collected_ = {};
  collected_at_.clear();
  base::Duration delay = backoff_.next();
  if (retry_after) delay = std::max(delay, std::min<base::Duration>(*retry_after, options_.longest_retry_after));
  return Wait{delay};
}

// The last resource version is worth nothing any more. At once, unless that was tried a moment ago.
Step Reflector::cycle_from_newest(const Error& error) {
  failed(error);
  status_.resource_version.clear();
  from_newest_ = true;
  const base::Instant now = clock_.now();
  if (last_at_once_ && now - *last_at_once_ < options_.at_once_spacing) return wait(Next::Cycle);
  last_at_once_ = now;
  return cycle();
}

Step Reflector::unserved() {
  sink_.replace(status_.kind, {});
  status_.synced = true;
  status_.state = ReflectorState::Unserved;
  next_ = Next::Cycle;
  return Wait{options_.unserved_retry};
}

void Reflector::on_item(Object object) {
  if (status_.state == ReflectorState::Listing && select_(object)) collected_.push_back(std::move(object));
}

Step Reflector::on_list_end(ListMeta meta) {
  if (status_.state == ReflectorState::Checking) {
    return went_back(meta.resource_version) ? history_replaced(meta.resource_version) : rewatch();
  }
  if (continue_token_.empty()) list_version_ = meta.resource_version;
  if (!meta.continue_token.empty()) return list_page(std::move(meta.continue_token));
  if (list_version_.empty()) return on_garbage(Error("a list without a resourceVersion"));
  synced(list_version_);
  return rewatch();
}

void Reflector::synced(std::string resource_version) {
  if (served_) ++status_.relists;
  served_ = true;
  status_.synced = true;
  status_.resource_version = std::move(resource_version);
  status_.last_event = clock_.wall();
  from_newest_ = false;
  without_watch_list_ = false;
  without_pages_ = false;
  collected_at_.clear();
  sink_.replace(status_.kind, std::exchange(collected_, {}));
}

void Reflector::seen(const std::string& resource_version) {
  ++status_.events;
  ++watch_events_;
  status_.last_event = clock_.wall();
  // During the initial events the order is not that of time: only their closing bookmark says where we are.
  if (status_.state == ReflectorState::Watching && !resource_version.empty() && !went_back(resource_version)) {
    status_.resource_version = resource_version;
  }
}

// KEP-5504: resource versions are decimal numbers that grow; anything else is not compared. One that is smaller than
// what this watch began with means that the server's history has been replaced (etcd restored from a backup).
bool Reflector::went_back(const std::string& resource_version) const {
  const auto now = base::parse_number<std::uint64_t>(resource_version);
  const auto last = base::parse_number<std::uint64_t>(status_.resource_version);
  return now && last && *now < *last;
}

Step Reflector::on_event(WatchEvent event) {
  if (event.type == WatchType::Error) {
    const int seconds = event.status.retry_after_seconds;
    return on_refused(event.status, seconds > 0 ? std::optional(std::chrono::seconds(seconds)) : std::nullopt);
  }
  if (status_.state == ReflectorState::InitialEvents) return on_initial_event(std::move(event));
  // Of an object that only stopped being selected, some servers send the version before.
  const bool comparable = event.type != WatchType::Deleted;
  if (comparable && went_back(event.resource_version)) {
    return history_replaced(event.resource_version);
  }
  seen(event.resource_version);
  if (event.type == WatchType::Bookmark || !event.object) return Proceed{};
  if (event.type == WatchType::Deleted || !select_(*event.object)) {
    sink_.erase(status_.kind, meta_of(*event.object).key);
  } else {
    sink_.upsert(std::move(*event.object));
  }
  return Proceed{};
}

Step Reflector::on_initial_event(WatchEvent event) {
  seen(event.resource_version);
  if (event.type == WatchType::Bookmark) {
    if (!event.initial_events_end) return Proceed{};
    if (event.resource_version.empty()) return on_garbage(Error("a bookmark without a resourceVersion"));
    status_.state = ReflectorState::Watching;
    synced(std::move(event.resource_version));
    return Proceed{};
  }
  if (!event.object) return Proceed{};
  const Key key = meta_of(*event.object).key;
  const bool selected = event.type != WatchType::Deleted && select_(*event.object);
  // The initial events name each object once. Only a change in their midst makes it worth knowing where each is.
  if (event.type != WatchType::Added || !collected_at_.empty()) uncollect(key);
  if (selected) collect(std::move(*event.object));
  return Proceed{};
}

void Reflector::collect(Object object) {
  if (!collected_at_.empty()) collected_at_[meta_of(object).key] = collected_.size();
  collected_.push_back(std::move(object));
}

void Reflector::uncollect(const Key& key) {
  if (collected_at_.empty()) {
    for (std::size_t i = 0; i < collected_.size(); ++i) collected_at_[meta_of(collected_[i]).key] = i;
  }
  const auto found = collected_at_.find(key);
  if (found == collected_at_.end()) return;
  const std::size_t at = found->second;
  collected_at_.erase(found);
  if (at + 1 != collected_.size()) {
    collected_[at] = std::move(collected_.back());
    collected_at_[meta_of(collected_[at]).key] = at;
  }
  collected_.pop_back();
}

Step Reflector::on_watch_end() {
  if (status_.state == ReflectorState::InitialEvents) {
    return on_disconnected(Error("the watch ended before its initial events did"));
  }
  const base::Duration lasted = clock_.now() - watch_began_;
  if (watch_events_ == 0 && lasted < options_.shortest_watch) {
    failed(Error("very short watch: it ended at once and without an event"));
    return wait(Next::Cycle);
  }
  return rewatch();
}

Step Reflector::on_refused(const ApiStatus& status, std::optional<std::chrono::seconds> retry_after) {
  const Error error = to_error(status);
  if (is_expired(status) || is_version_too_large(status)) {
    without_pages_ = !continue_token_.empty();
    return cycle_from_newest(error);
  }
  if (status.code == 404 && options_.may_be_unserved && !served_) return unserved();
  if (status_.state == ReflectorState::InitialEvents && refuses_watch_list(status)) {
    // No error in itself: an older server. If it refuses the list too, that is told.
    without_watch_list_ = true;
    return cycle();
  }
  Next next = Next::Cycle;
  if (may_pass(status) && status_.state == ReflectorState::Watching) next = Next::Rewatch;
  if (may_pass(status) && status_.state == ReflectorState::Checking) next = Next::Check;
  failed(error);
  return wait(next, retry_after);
}

Step Reflector::on_disconnected(const Error& error) {
  const bool was_synced = status_.state == ReflectorState::Watching || status_.state == ReflectorState::Checking;
  failed(error);
  return wait(was_synced ? Next::Check : Next::Cycle);
}

Step Reflector::on_stalled(const Error& error) {
  if (status_.state == ReflectorState::InitialEvents) without_watch_list_ = true;
  return on_disconnected(error);
}

Step Reflector::on_garbage(const Error& error) {
  failed(error);
  return wait(Next::Cycle);
}

void Reflector::failed(const Error& error) {
  ++status_.errors;
  status_.last_error = cat(to_string(status_.kind), ", ", to_string(status_.state), ": ", error.message());
  status_.last_error_at = clock_.wall();
}

}  // namespace fairlead::kube
