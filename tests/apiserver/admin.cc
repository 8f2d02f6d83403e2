// The /test/ paths: faults, mutations in bulk and statistics for scripts. Everything is JSON; docs: README.md.

#include <array>

#include "base/strings.h"
#include "tests/apiserver/core.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::Value;

constexpr std::array<std::pair<std::string_view, Break>, 13> kBreaks{{{"cut-mid-frame", Break::CutMidFrame},
                                                                      {"cut-mid-event", Break::CutMidEvent},
                                                                      {"garbage-frames", Break::GarbageFrames},
                                                                      {"garbage-events", Break::GarbageEvents},
                                                                      {"oversized-event", Break::OversizedEvent},
                                                                      {"unknown-event", Break::UnknownEvent},
                                                                      {"reset", Break::Reset},
                                                                      {"go-away", Break::GoAway},
                                                                      {"go-away-later", Break::GoAwayLater},
                                                                      {"end-watches", Break::EndWatches},
                                                                      {"expire-watches", Break::ExpireWatches},
                                                                      {"throttle-watches", Break::ThrottleWatches},
                                                                      {"fail-watches", Break::FailWatches}}};

// One member of a JSON object into a field: of the field's type, or an Error that names it.
Status read(const Value& value, bool& out) {
  if (value.as_bool() == nullptr) return Error("a boolean expected");
  out = *value.as_bool();
  return {};
}
Status read(const Value& value, std::string& out) {
  if (value.as_string() == nullptr) return Error("a string expected");
  out = *value.as_string();
  return {};
}
Status read(const Value& value, std::uint64_t& out) {
  if (value.as_int() == nullptr || *value.as_int() < -1) return Error("a number expected (-1: without end)");
  out = *value.as_int() < 0 ? Faults::kAlways : static_cast<std::uint64_t>(*value.as_int());
  return {};
}
Status read(const Value& value, int& out) {
  if (value.as_int() == nullptr || *value.as_int() < 0 || *value.as_int() > 100'000)
    return Error("a small number expected");
  out = static_cast<int>(*value.as_int());
  return {};
}
Status read(const Value& value, base::Duration& out) {
  const double seconds = value.as_double() != nullptr ? *value.as_double()
                         : value.as_int() != nullptr  ? static_cast<double>(*value.as_int())
                                                      : -1;
  if (seconds < 0) return Error("seconds expected");
  out = std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>(seconds));
  return {};
}

struct FaultOrder {
  Faults faults;
  base::Duration lasting{};
};

Result<FaultOrder> parse_faults(const Value& body) {
  FaultOrder order;
  Faults& f = order.faults;
  if (body.as_object() == nullptr) return Error("a JSON object expected");
  for (const auto& [key, value] : *body.as_object()) {
    Status status = key == "refuse"              ? read(value, f.refuse)
                    : key == "hang"              ? read(value, f.hang)
                    : key == "stall"             ? read(value, f.stall)
                    : key == "bytesPerSecond"    ? read(value, f.bytes_per_second)
                    : key == "errorCount"        ? read(value, f.error_count)
                    : key == "errorCode"         ? read(value, f.error_code)
                    : key == "retryAfterSeconds" ? read(value, f.retry_after_seconds)
                    : key == "errorResource"     ? read(value, f.error_resource)
                    : key == "errorVerb"         ? read(value, f.error_verb)
                    : key == "watchListOff"      ? read(value, f.watch_list_off)
                    : key == "expiredAsStatus"   ? read(value, f.expired_as_status)
                    : key == "lowerVersions"     ? read(value, f.lower_versions)
                    : key == "oversizedBytes"    ? read(value, f.oversized_bytes)
                    : key == "noBookmarks"       ? read(value, f.no_bookmarks)
                    : key == "forbid"            ? read(value, f.forbid)
                    : key == "forSeconds"        ? read(value, order.lasting)
                                                 : Status(Error("no such fault"));
    if (!status) return std::move(status).error().with_context(key);
  }
  return order;
}

Result<std::vector<EndpointSpec>> parse_endpoints(const Value& body) {
  const Value::Array* items = body["endpoints"].as_array();
  if (items == nullptr) return Error("endpoints: a list of {address, node, zone} expected");
  std::vector<EndpointSpec> endpoints;
  for (const Value& item : *items) {
    EndpointSpec endpoint;
    if (const std::string* plain = item.as_string()) {
      endpoint.address = *plain;
    } else {
      TRY_CONTEXT(read(item["address"], endpoint.address), "endpoints[].address");
      if (!item["node"].is_null()) TRY_CONTEXT(read(item["node"], endpoint.node), "endpoints[].node");
      if (!item["zone"].is_null()) TRY_CONTEXT(read(item["zone"], endpoint.zone), "endpoints[].zone");
    }
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

Status set_endpoints(Core& core, const Value& body) {
  std::string ns = "default";
  std::string service;
  if (!body["namespace"].is_null()) TRY_CONTEXT(read(body["namespace"], ns), "namespace");
  TRY_CONTEXT(read(body["service"], service), "service");
  return core.set_endpoints(ns, service, TRY(parse_endpoints(body)));
}

Value stats_value(const Stats& stats) {
  Value out;
  out.set("connections", Value(stats.connections))
      .set("openConnections", Value(stats.open_connections))
      .set("openWatches", Value(stats.open_watches))
      .set("lists", Value(stats.lists))
      .set("watches", Value(stats.watches))
      .set("eventsPosted", Value(stats.events_posted))
      .set("resourceVersion", Value(std::to_string(stats.version)))
      .set("cpuSeconds", Value(std::chrono::duration<double>(stats.cpu).count()));
  return out;
}

Value string_map(const std::map<std::string, std::string>& map) {
  Value out{Value::Object()};
  for (const auto& [key, value] : map) out.set(key, Value(value));
  return out;
}

Value requests_value(const std::deque<RequestRecord>& records) {
  Value::Array out;
  for (const RequestRecord& record : records) {
    Value one;
    one.set("method", Value(record.method))
        .set("path", Value(record.path))
        .set("query", string_map(record.query))
        .set("accept", Value(record.headers.contains("accept") ? record.headers.at("accept") : std::string()))
        .set("connection", Value(record.connection))
        .set("status", Value(record.status));
    out.push_back(std::move(one));
  }
  return Value(std::move(out));
}

// An Error is the client's: 400. What would hit the answer itself goes to `after`.
Status post(Core& core, std::string_view what, const Value& body, std::function<void()>& after) {
  if (what == "faults") {
    FaultOrder order = TRY(parse_faults(body));
    after = [&core, order] { (void)core.set_faults(order.faults, order.lasting); };
    return {};
  }
  if (what == "break") {
    const std::string* name = body["what"].as_string();
    std::string allowed;
    for (const auto& [text, kind] : kBreaks) {
      if (name != nullptr && *name == text) {
        after = [&core, kind = kind] { core.break_now(kind); };
        return {};
      }
      allowed += cat(allowed.empty() ? "" : ", ", text);
    }
    return Error(cat("what: one of ", allowed, " expected"));
  }
  if (what == "restart") {
    std::uint64_t first = 1;
    if (!body["firstVersion"].is_null()) TRY_CONTEXT(read(body["firstVersion"], first), "firstVersion");
    after = [&core, first] { core.restart(first); };
    return {};
  }
  if (what == "tokens") {
    std::vector<std::string> tokens;
    if (body["tokens"].as_array() == nullptr) return Error("tokens: a list of strings expected");
    for (const Value& token : *body["tokens"].as_array()) TRY_CONTEXT(read(token, tokens.emplace_back()), "tokens[]");
    core.api().set_tokens(std::move(tokens));
    return {};
  }
  if (what == "endpoints") return set_endpoints(core, body);
  if (what == "compact") return core.compact(), Status();
  if (what == "advance") return core.cluster().advance(), Status();
  if (what == "bookmarks") return core.api().send_bookmarks(), Status();
  return Error(cat("no such path: /test/", what));
}

Response reply(Core& core, const Status& status) {
  if (!status) {
    Value error;
    error.set("error", Value(status.error().message()));
    return json_response(400, error);
  }
  Value done;
  done.set("resourceVersion", Value(std::to_string(core.cluster().version())));
  return json_response(200, done);
}

}  // namespace

Response handle_admin(Core& core, const Request& request) {
  const std::string_view what = std::string_view(request.path).substr(std::string_view("/test/").size());
  if (request.method == "GET" && what == "stats") return json_response(200, stats_value(core.stats()));
  if (request.method == "GET" && what == "requests") return json_response(200, requests_value(core.api().requests()));
  if (request.method != "POST") return reply(core, Error(cat("no such path: ", request.method, " ", request.path)));
  if (what == "manifests") {
    auto manifests = parse_manifests(request.body);
    if (!manifests) return reply(core, std::move(manifests).error());
    return reply(core, core.load(std::move(*manifests)));
  }
  auto body = base::parse_json(request.body.empty() ? std::string_view("{}") : std::string_view(request.body));
  if (!body) return reply(core, std::move(body).error());
  std::function<void()> after;
  Response response = reply(core, post(core, what, *body, after));
  response.after = std::move(after);
  return response;
}

}  // namespace fairlead::tests::apiserver
