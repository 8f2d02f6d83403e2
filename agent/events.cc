#include "agent/events.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "agent/time_text.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::cat;
using base::Value;

constexpr const char* kController = "kube-proxy";
constexpr std::size_t kMaxNote = 1024;  // kubernetes v1.36 pkg/apis/core/validation/events.go
constexpr std::size_t kMaxInstance = 128;

Event about_node(const std::string& node, Event::Type type, std::string reason, std::string note) {
  return {.type = type,
          .kind = "Node",
          .about = {{}, node},
          .uid = node,  // as kubelet and kube-proxy have it: `kubectl describe node` looks for that
          .reason = std::move(reason),
          .action = "StartKubeProxy",
          .note = std::move(note)};
}

std::string namespace_of(const Event& event) { return event.about.ns.empty() ? "default" : event.about.ns; }

// meta/v1 MicroTime takes six digits, no more and no fewer.
std::string micro_time(base::WallTime at) {
  std::string text = format_rfc3339(at);
  return text.substr(0, text.size() - std::string_view("000Z").size()) + "Z";
}

std::string hex(std::int64_t number) {
  char buffer[16];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, static_cast<std::uint64_t>(number), 16).ptr;
  return {buffer, end};
}

}  // namespace

Event starting(const std::string& node) { return about_node(node, Event::Type::Normal, "Starting", ""); }

Event health_server_failed(const std::string& node, const std::string& error) {
  return about_node(node, Event::Type::Warning, "FailedToStartProxierHealthcheck", error);
}

Event metrics_server_failed(const std::string& node, const std::string& error) {
  return about_node(node, Event::Type::Warning, "FailedToStartMetricServer", error);
}

Event service_health_failed(const std::string& node, const kube::Key& service, const std::string& uid,
                            std::uint16_t port, const std::string& error) {
  return {.type = Event::Type::Warning,
          .kind = "Service",
          .about = service,
          .uid = uid,
          .reason = "FailedToStartServiceHealthcheck",
          .action = "Listen",
          .note = cat("node ", node, " failed to start healthcheck \"", service.to_string(), "\" on port ", port, ": ",
                      error)};
}

std::string event_path(const Event& event) {
  return cat("/apis/events.k8s.io/v1/namespaces/", namespace_of(event), "/events");
}

std::string event_json(const Event& event, const std::string& node, base::WallTime at) {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
  Value metadata;
  metadata.set("name", Value(cat(event.about.name, ".", hex(ns)))).set("namespace", Value(namespace_of(event)));
  Value regarding;
  regarding.set("kind", Value(event.kind)).set("apiVersion", Value("v1")).set("name", Value(event.about.name));
  if (!event.about.ns.empty()) regarding.set("namespace", Value(event.about.ns));
  if (!event.uid.empty()) regarding.set("uid", Value(event.uid));
  Value out;
  out.set("apiVersion", Value("events.k8s.io/v1"))
      .set("kind", Value("Event"))
      .set("metadata", std::move(metadata))
      .set("eventTime", Value(micro_time(at)))
      .set("reportingController", Value(kController))
      .set("reportingInstance", Value(cat(kController, "-", node).substr(0, kMaxInstance)))
      .set("action", Value(event.action))
      .set("reason", Value(event.reason))
      .set("regarding", std::move(regarding))
      .set("note", Value(event.note.substr(0, kMaxNote)))
      .set("type", Value(event.type == Event::Type::Normal ? "Normal" : "Warning"));
  return base::to_json(out);
}

void Events::emit(Event event) {
  if (http_ == nullptr || waiting_.size() == kMostWaiting) return;
  const bool known =
      std::any_of(waiting_.begin(), waiting_.end(), [&](const Waiting& each) { return each.event == event; });
  if (known) return;
  std::string json = event_json(event, node_, clock_.wall());
  waiting_.push_back({std::move(event), std::move(json)});
  if (waiting_.size() == 1) next(base::Duration::zero());
}

void Events::next(base::Duration delay) {
  timer_ = loop_.after(delay, [this] { send(); });
}

void Events::send() {
  status_ = 0;
  ++attempts_;
  const Waiting& first = waiting_.front();
  stream_ = http_->post({.path = event_path(first.event), .accept = "application/json"}, first.json,
                        {.on_head = [this](const kube::HttpHead& head) { status_ = head.status; },
                         .on_body = {},
                         .on_end = [this](const Status& end) { answered(end); }});
}

void Events::answered(const Status& end) {
  stream_.reset();
  const bool again = status_ == 0 || status_ == 429 || status_ >= 500;
  if (again && attempts_ < kAttempts) return next(pace_.again);
  if (status_ / 100 != 2 && !std::exchange(told_, true)) {
    base::log::warn("cannot write events, going on without",
                    {{"reason", waiting_.front().event.reason},
                     {"err", end ? cat("the API server answers ", status_) : end.error().message()}});
  }
  waiting_.pop_front();
  attempts_ = 0;
  if (!waiting_.empty()) next(pace_.between);
}

}  // namespace fairlead::agent
