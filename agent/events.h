// Events: what kube-proxy writes into the cluster's events (events.k8s.io/v1, kubernetes v1.36 cmd/kube-proxy and
// pkg/proxy/healthcheck), under its name, so that those who look for them find them.
//
// Best effort, loop thread, never blocking: one at a time, few of them waiting. The API server's silence or a 5xx is
// tried again as client-go's recorder does; a refusal (403 without the permission to create events) is told once.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/loop.h"
#include "kube/http.h"
#include "kube/objects.h"

namespace fairlead::agent {

struct Event {
  enum class Type : std::uint8_t { Normal, Warning };
  Type type = Type::Normal;
  std::string kind;  // "Node", "Service": what it is about
  kube::Key about;
  std::string uid;
  std::string reason;
  std::string action;
  std::string note{};
  bool operator==(const Event&) const = default;
};

// The ones that kube-proxy writes.
Event starting(const std::string& node);
Event health_server_failed(const std::string& node, const std::string& error);
Event metrics_server_failed(const std::string& node, const std::string& error);
Event service_health_failed(const std::string& node, const kube::Key& service, const std::string& uid,
                            std::uint16_t port, const std::string& error);

// Where an event is created: events about cluster-scoped objects live in "default".
std::string event_path(const Event& event);
std::string event_json(const Event& event, const std::string& node, base::WallTime at);

class Events {
 public:
  static constexpr std::size_t kMostWaiting = 50;
  static constexpr unsigned kAttempts = 12;
  struct Pace {
    base::Duration between = std::chrono::milliseconds(100);
    base::Duration again = std::chrono::seconds(10);  // after an attempt that failed
  };

  // `http` nullptr: there is no API server, and nothing is written.
  Events(base::Loop& loop, const base::Clock& clock, kube::HttpClient* http, std::string node, Pace pace)
      : loop_(loop), clock_(clock), http_(http), node_(std::move(node)), pace_(pace) {}

  void emit(Event event);  // one too many, or the same as one that waits, is dropped

 private:
  struct Waiting {
    Event event;
    std::string json;
  };
  void send();
  void answered(const Status& end);
  void next(base::Duration delay);

  base::Loop& loop_;
  const base::Clock& clock_;
  kube::HttpClient* http_;
  const std::string node_;
  const Pace pace_;
  std::deque<Waiting> waiting_;  // the first one may be on its way
  unsigned attempts_ = 0;        // of the first one
  int status_ = 0;               // of its answer
  bool told_ = false;            // of a refusal
  std::unique_ptr<kube::HttpStream> stream_;
  base::Loop::Handle timer_ = base::Loop::none();
};

}  // namespace fairlead::agent
