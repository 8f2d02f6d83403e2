#include "tests/apiserver/api.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::parse_number;
using base::Value;

constexpr std::size_t kKeptRecords = 2000;
constexpr std::size_t kKeptPages = 100;

bool is_health_path(std::string_view path) { return path == "/livez" || path == "/healthz" || path == "/readyz"; }

Response version_response() {
  Value version;
  version.set("major", Value("1")).set("minor", Value("36")).set("gitVersion", Value("v1.36.2-fairlead-test"));
  return json_response(200, version);
}

bool is_events_path(std::string_view path) {
  return path.ends_with("/events") && (path.starts_with("/api/v1/") || path.starts_with("/apis/events.k8s.io/v1/"));
}

Response object_response(int status, Encoding encoding, const ApiObject& object) {
  Response response{.status = status, .headers = {{"content-type", std::string(content_type(encoding, false))}}};
  response.pieces.push_back(encode_object(encoding, object));
  return response;
}

// RFC 7386.
void merge_patch(Value& target, const Value& patch) {
  if (patch.as_object() == nullptr) {
    target = patch;
    return;
  }
  for (const auto& [key, value] : *patch.as_object()) {
    if (value.is_null()) {
      remove_member(target, key);
    } else {
      merge_patch(member(target, key), value);
    }
  }
}

// "" and "0" are 0 with `any`; an Error names what is allowed.
struct Version {
  std::uint64_t number = 0;
  bool given = false;
};
Result<Version> parse_version(std::string_view text) {
  if (text.empty()) return Version{};
  const auto number = parse_number<std::uint64_t>(text);
  if (!number) return Error(cat("resourceVersion: Invalid value: \"", text, "\": a number expected"));
  return Version{.number = *number, .given = true};
}

// The combinations that apimachinery's ValidateListOptions refuses.
std::optional<StatusReply> check_watch_options(const Request& request, bool watch_list_enabled) {
  const bool initial_given = !request.param("sendInitialEvents").empty();
  const std::string_view match = request.param("resourceVersionMatch");
  if (initial_given && !watch_list_enabled) {
    return invalid(
        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden "
        "for watch unless the WatchList feature gate is enabled");
  }
  if (initial_given && match != "NotOlderThan") {
    return invalid(
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires "
        "setting resourceVersionMatch to NotOlderThan");
  }
  if (!initial_given && !match.empty()) {
    return invalid(
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is "
        "forbidden for watch unless sendInitialEvents is provided");
  }
  if (request.flag("sendInitialEvents") && !request.flag("allowWatchBookmarks")) {
    return invalid("ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents requires allowWatchBookmarks");
  }
  return std::nullopt;
}

}  // namespace

Api::Api(base::Loop& loop, Cluster& cluster, Options options)
    : loop_(loop), cluster_(cluster), options_(std::move(options)) {
  cluster_.on_event = [this](const ClusterEvent& event) { publish(event); };
}

std::optional<Api::Target> Api::parse_path(std::string_view path) {
  for (const Resource resource : kResources) {
    const ResourceInfo& about = info(resource);
    if (!path.starts_with(about.prefix)) continue;
    std::vector<std::string_view> parts = base::split(path.substr(about.prefix.size()), '/');
    parts.erase(parts.begin());
    Target target{.resource = resource, .ns = {}, .name = {}};
    if (about.namespaced && parts.size() >= 3 && parts[0] == "namespaces") {
      target.ns = percent_decode(parts[1]);
      parts.erase(parts.begin(), parts.begin() + 2);
    }
    if (parts.size() == 3 && parts[2] == "status") parts.pop_back();
    if (parts.empty() || parts.size() > 2 || parts[0] != about.plural) continue;
    if (parts.size() == 2) target.name = percent_decode(parts[1]);
    if (!target.name.empty() && about.namespaced && target.ns.empty()) continue;
    return target;
  }
  return std::nullopt;
}

bool Api::authenticated(const Request& request) const {
  if (options_.tokens.empty() && !options_.client_certificates) return true;
  if (options_.client_certificates && !request.client_name.empty()) return true;
  constexpr std::string_view kBearer = "Bearer ";
  std::string_view given = request.header("authorization");
  if (!given.starts_with(kBearer)) return false;
  given.remove_prefix(kBearer.size());
  return std::find(options_.tokens.begin(), options_.tokens.end(), given) != options_.tokens.end();
}

std::optional<StatusReply> Api::refuse(const Request& request, const std::optional<Target>& target) {
  if (!authenticated(request)) return unauthorized();
  if (faults_.forbid) return forbidden(cat(request.method, " ", request.path));
  if (!target || faults_.error_count == 0) return std::nullopt;
  const bool watch = request.flag("watch");
  if (!faults_.error_resource.empty() && faults_.error_resource != info(target->resource).plural) return std::nullopt;
  if (!faults_.error_verb.empty() && (faults_.error_verb == "watch") != watch) return std::nullopt;
  if (faults_.error_count != Faults::kAlways) --faults_.error_count;
  if (faults_.error_code == 429) return too_many_requests(faults_.retry_after_seconds);
  return StatusReply{.code = faults_.error_code,
                     .reason = "",
                     .message = "injected by the test",
                     .retry_after_seconds = faults_.error_code == 503 ? faults_.retry_after_seconds : 0,
                     .cause_reason = ""};
}

void Api::answer(Connection& connection, std::int32_t stream, Response response) {
  requests_.back().status = response.status;
  connection.respond(stream, std::move(response));
}

void Api::handle(Connection& connection, std::int32_t stream, const Request& request) {
  requests_.push_back({.method = request.method,
                       .path = request.path,
                       .query = request.query,
                       .headers = request.headers,
                       .client_name = request.client_name,
                       .connection = connection.id(),
                       .status = 0});
  if (requests_.size() > kKeptRecords) requests_.pop_front();

  // A stalled stream is not a dead connection: what is asked to tell the two apart is answered.
  if (is_health_path(request.path)) {
    Response response = text_response(200, "ok");
    response.exempt = true;
    return answer(connection, stream, std::move(response));
  }
  if (request.path == "/version") return answer(connection, stream, version_response());
  if (request.path.starts_with("/test/") && admin) {
    Response response = admin(request);
    response.exempt = true;
    return answer(connection, stream, std::move(response));
  }
  const auto encoding = negotiate(request.header("accept"), options_.protobuf);
  const std::optional<Target> target = parse_path(request.path);
  if (const auto reply = refuse(request, target)) {
    return answer(connection, stream, status_response(encoding.value_or(Encoding::Json), *reply));
  }
  if (!encoding) {
    const StatusReply reply{.code = 406,
                            .reason = "NotAcceptable",
                            .message =
                                "only the following media types are "
                                "accepted: application/json, application/vnd.kubernetes.protobuf"};
    return answer(connection, stream, status_response(Encoding::Json, reply));
  }
  if (is_events_path(request.path)) return answer(connection, stream, handle_event(request, *encoding));
  if (!target) {
    const StatusReply reply{
        .code = 404, .reason = "NotFound", .message = "the server could not find the requested resource"};
    return answer(connection, stream, status_response(*encoding, reply));
  }
  if (!target->name.empty() || request.method == "POST") {
    return answer(connection, stream, handle_object(request, *target, *encoding));
  }
  if (request.method != "GET") {
    const StatusReply reply{
        .code = 405, .reason = "MethodNotAllowed", .message = cat(request.method, " is not supported here")};
    return answer(connection, stream, status_response(*encoding, reply));
  }
  if (request.flag("watch")) return start_watch(connection, stream, request, *target, *encoding);
  answer(connection, stream, handle_list(request, *target, *encoding));
}

Response Api::handle_event(const Request& request, Encoding encoding) {
  if (request.method != "POST") return status_response(encoding, bad_request("events: only POST is supported"));
  ++stats_.events_posted;
  events_.push_back(request.body);
  if (events_.size() > kKeptRecords) events_.pop_front();
  const std::string_view type = request.header("content-type");
  Response response{.status = 201, .headers = {{"content-type", std::string(type)}}};
  response.pieces.push_back({.head = request.body});
  return response;
}

Response Api::handle_object(const Request& request, const Target& target, Encoding encoding) {
  const kube::Key key{.ns = target.ns, .name = target.name};
  const ObjectPtr existing = target.name.empty() ? nullptr : cluster_.find(target.resource, key);
  if (request.method == "GET") {
    if (!existing) return status_response(encoding, not_found(target.resource, target.name));
    return object_response(200, encoding, *existing);
  }
  if (request.method == "DELETE") {
    if (!cluster_.erase(target.resource, key))
      return status_response(encoding, not_found(target.resource, target.name));
    return status_response(encoding, {.code = 200, .reason = "", .message = ""});
  }
  if (request.method == "PUT" || request.method == "POST" || request.method == "PATCH") {
    return write_object(request, target, encoding);
  }
  return status_response(encoding, {.code = 405, .reason = "MethodNotAllowed", .message = request.method});
}

Response Api::write_object(const Request& request, const Target& target, Encoding encoding) {
  auto parsed = base::parse_json(request.body);
  if (!parsed) return status_response(encoding, bad_request(parsed.error().message()));
  if (parsed->as_object() == nullptr) return status_response(encoding, bad_request("the body must be a JSON object"));
  Value value = std::move(*parsed);
  if (const std::string* kind = value["kind"].as_string(); kind != nullptr && *kind != info(target.resource).kind) {
    return status_response(encoding, bad_request(cat("kind: ", info(target.resource).kind, " expected, not ", *kind)));
  }
  kube::Key key{.ns = target.ns, .name = target.name};
  if (request.method == "PATCH") {
    const ObjectPtr existing = cluster_.find(target.resource, key);
    if (!existing) return status_response(encoding, not_found(target.resource, target.name));
    Value merged = existing->value();
    merge_patch(merged, value);
    value = std::move(merged);
  }
  Value& meta = member(value, "metadata");
  if (!key.name.empty() && meta["name"].is_null()) member(meta, "name") = Value(key.name);
  if (!key.ns.empty() && meta["namespace"].is_null()) member(meta, "namespace") = Value(key.ns);
  const std::string* name = meta["name"].as_string();
  if (name == nullptr || (!key.name.empty() && *name != key.name)) {
    return status_response(encoding, bad_request("metadata.name: must be the name of the path"));
  }
  key.name = *name;
  const ObjectPtr existing = cluster_.find(target.resource, key);
  if (existing && request.method == "POST") {
    return status_response(
        encoding, {.code = 409, .reason = "AlreadyExists", .message = cat("\"", key.name, "\" already exists")});
  }
  const std::string* version = meta["resourceVersion"].as_string();
  if (existing && version != nullptr && *version != std::to_string(existing->version())) {
    return status_response(
        encoding, {.code = 409,
                   .reason = "Conflict",
                   .message = "the object has been modified; please apply your changes to the latest version"});
  }
  auto stored = cluster_.upsert(target.resource, std::move(value));
  if (!stored) return status_response(encoding, invalid(stored.error().message()));
  return object_response(existing ? 200 : 201, encoding, **stored);
}

std::vector<ObjectPtr> Api::select(Resource resource, const Selector& selector) const {
  std::vector<ObjectPtr> selected;
  for (const auto& [key, object] : cluster_.objects(resource)) {
    if (selector.matches(*object)) selected.push_back(object);
  }
  return selected;
}

Response Api::handle_list(const Request& request, const Target& target, Encoding encoding) {
  ++stats_.lists;
  const std::size_t limit = parse_number<std::size_t>(request.param("limit")).value_or(0);
  if (const std::string_view token = request.param("continue"); !token.empty()) {
    auto page = pages_.extract(std::string(token));
    if (page.empty()) {
      return status_response(encoding,
                             {.code = 410,
                              .reason = "Expired",
                              .message = "The provided continue parameter is too old to display a consistent list"});
    }
    return list_page(target.resource, encoding, page.mapped().version, std::move(page.mapped().rest), limit);
  }
  const auto version = parse_version(request.param("resourceVersion"));
  if (!version) return status_response(encoding, bad_request(version.error().message()));
  if (version->number > cluster_.version()) {
    return status_response(encoding, too_large(version->number, cluster_.version()));
  }
  if (request.param("resourceVersionMatch") == "Exact" && version->number != cluster_.version()) {
    return status_response(encoding, expired(request.param("resourceVersion"), cluster_.compacted()));
  }
  auto selector = Selector::parse(target.resource, request.param("labelSelector"), request.param("fieldSelector"));
  if (!selector) return status_response(encoding, bad_request(selector.error().message()));
  selector->require_namespace(target.ns);
  // From the watch cache ("0") a list comes whole, whatever the limit.
  const bool whole = version->given && version->number == 0;
  return list_page(target.resource, encoding, cluster_.version(), select(target.resource, *selector),
                   whole ? 0 : limit);
}

Response Api::list_page(Resource resource, Encoding encoding, std::uint64_t version, std::vector<ObjectPtr> items,
                        std::size_t limit) {
  ListHeader header{.version = version, .continue_token = {}, .remaining = {}};
  if (limit > 0 && items.size() > limit) {
    const auto cut = items.begin() + static_cast<std::ptrdiff_t>(limit);
    Page page{.version = version, .rest = {cut, items.end()}};
    items.erase(cut, items.end());
    header.remaining = static_cast<std::int64_t>(page.rest.size());
    header.continue_token = base64(cat("page-", ++next_page_));
    if (pages_.size() >= kKeptPages) pages_.clear();
    pages_[header.continue_token] = std::move(page);
  }
  return {.status = 200,
          .headers = {{"content-type", std::string(content_type(encoding, false))}},
          .pieces = encode_list(encoding, resource, header, items)};
}

void Api::start_watch(Connection& connection, std::int32_t stream, const Request& request, const Target& target,
                      Encoding encoding) {
  const auto refuse_with = [&](const StatusReply& reply) {
    answer(connection, stream, status_response(encoding, reply));
  };
  if (const auto reply = check_watch_options(request, options_.watch_list && !faults_.watch_list_off)) {
    return refuse_with(*reply);
  }
  const auto version = parse_version(request.param("resourceVersion"));
  if (!version) return refuse_with(bad_request(version.error().message()));
  auto selector = Selector::parse(target.resource, request.param("labelSelector"), request.param("fieldSelector"));
  if (!selector) return refuse_with(bad_request(selector.error().message()));
  selector->require_namespace(target.ns);
  const bool initial = request.flag("sendInitialEvents");
  if (initial && version->number > cluster_.version())
    return refuse_with(too_large(version->number, cluster_.version()));
  const bool too_old = !initial && version->number > 0 && version->number < cluster_.compacted();
  const StatusReply too_old_reply = expired(request.param("resourceVersion"), cluster_.compacted());
  if (too_old && faults_.expired_as_status) return refuse_with(too_old_reply);

  ++stats_.watches;
  Watch watch;
  watch.connection = &connection;
  watch.stream = stream;
  watch.resource = target.resource;
  watch.encoding = encoding;
  watch.selector = std::move(*selector);
  watch.bookmarks = request.flag("allowWatchBookmarks");
  // Nothing up to here is sent twice. A version of the future waits for the future, silently, as upstream's cacher
  // does.
  const bool existing = initial || version->number == 0;
  watch.after = existing ? cluster_.version() : version->number;
  if (faults_.lower_versions) watch.after = std::min(watch.after, cluster_.version());
  Response response{.status = 200,
                    .headers = {{"content-type", std::string(content_type(encoding, true))}},
                    .pieces = {},
                    .keep_open = !too_old};
  if (too_old) {
    response.pieces.push_back(encode_error_event(encoding, too_old_reply));
  } else {
    response.pieces = initial_pieces(watch, existing, initial);
  }
  if (!too_old) {
    const auto seconds = parse_number<std::uint32_t>(request.param("timeoutSeconds")).value_or(1800);
    watch.timeout = loop_.after(std::min<base::Duration>(std::chrono::seconds(seconds), options_.longest_watch),
                                [&connection, stream] { connection.finish(stream); });
    watch.after = std::max(watch.after, cluster_.version());
    watches_.insert_or_assign({connection.id(), stream}, std::move(watch));
  }
  answer(connection, stream, std::move(response));
}

std::deque<Piece> Api::initial_pieces(const Watch& watch, bool existing, bool end_bookmark) const {
  std::deque<Piece> pieces;
  if (existing) {
    for (const ObjectPtr& object : select(watch.resource, watch.selector)) {
      pieces.push_back(encode_event(watch.encoding, EventType::Added, *object));
    }
  } else {
    const auto& history = cluster_.history();
    const auto first =
        std::upper_bound(history.begin(), history.end(), watch.after,
                         [](std::uint64_t version, const ClusterEvent& event) { return version < event.version; });
    for (auto it = first; it != history.end(); ++it) {
      if (auto piece = event_piece(watch, *it)) pieces.push_back(*std::move(piece));
    }
  }
  if (end_bookmark) pieces.push_back(encode_bookmark(watch.encoding, watch.resource, cluster_.version(), true));
  return pieces;
}

// An object that starts or stops matching the selector arrives as ADDED or DELETED
// (cacher/cache_watcher.go convertToWatchEvent); a DELETED one shows its last matching state at the event's version.
std::optional<Piece> Api::event_piece(const Watch& watch, const ClusterEvent& event) const {
  if (event.resource != watch.resource || event.version <= watch.after) return std::nullopt;
  const bool before = event.before && watch.selector.matches(*event.before);
  const bool after = event.after && watch.selector.matches(*event.after);
  if (after) return encode_event(watch.encoding, before ? EventType::Modified : EventType::Added, *event.after);
  if (before) return encode_event(watch.encoding, EventType::Deleted, *event.before->at_version(event.version));
  return std::nullopt;
}

void Api::publish(const ClusterEvent& event) {
  for_each_watch([&](const Watch& watch) {
    if (auto piece = event_piece(watch, event)) watch.connection->push(watch.stream, *std::move(piece));
  });
}

void Api::send_bookmarks() {
  if (faults_.no_bookmarks) return;
  for_each_watch([&](const Watch& watch) {
    if (!watch.bookmarks || watch.after > cluster_.version()) return;
    watch.connection->push(watch.stream, encode_bookmark(watch.encoding, watch.resource, cluster_.version(), false));
  });
}

void Api::for_each_watch(const std::function<void(const Watch&)>& visit) {
  std::vector<std::pair<std::uint64_t, std::int32_t>> ids;
  for (const auto& [id, watch] : watches_) ids.push_back(id);
  for (const auto& id : ids) {
    if (const auto it = watches_.find(id); it != watches_.end()) visit(it->second);
  }
}

void Api::forget(const Connection& connection, std::int32_t stream) { watches_.erase({connection.id(), stream}); }

void Api::forget(std::uint64_t connection_id) {
  std::erase_if(watches_, [&](const auto& entry) { return entry.first.first == connection_id; });
}

Stats Api::stats() const {
  Stats stats = stats_;
  stats.open_watches = watches_.size();
  stats.version = cluster_.version();
  return stats;
}

}  // namespace fairlead::tests::apiserver
