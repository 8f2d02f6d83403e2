// Servers: what the agent shows, and where: metrics and health over TCP, status over the unix socket. Loop thread.
//
// A TCP address that is taken is tried again every few seconds, as kube-proxy does: it is no reason to stop serving
// Services, but an Event. The status socket is ours alone, so that failing is an error.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/controller.h"
#include "agent/events.h"
#include "agent/health.h"
#include "agent/http_server.h"
#include "agent/metrics.h"
#include "agent/options.h"
#include "agent/service_health.h"
#include "agent/status.h"
#include "base/clock.h"
#include "base/loop.h"

namespace fairlead::agent {

class Servers {
 public:
  struct Parts {
    base::Loop& loop;
    const base::Clock& clock;
    Identity& identity;  // gets the addresses as they are chosen
    Controller& controller;
    Metrics& metrics;
    Health& health;
    Events& events;
    const ServiceHealth& service_health;
    const kube::HttpClient* api;  // nullptr: there is no API server
    std::function<SourceStatus()> source_status;
    std::function<std::string()> configz;  // JSON; may be empty
    // Why no pod can be wired now; "" when one can. Empty: the pod network is not ours.
    std::function<std::string()> pod_network_refusal{};
    std::vector<std::string> arguments;  // of the command line
  };
  static Result<std::unique_ptr<Servers>> start(Parts parts, const Options& options);

 private:
  struct Tcp {
    std::string what;
    Listen at;
    HttpRoutes routes;
    std::string& address;  // in identity
    Event (*failed)(const std::string& node, const std::string& error);
    std::unique_ptr<HttpServer> server;
    base::Loop::Handle retry = base::Loop::none();
  };

  explicit Servers(Parts parts) : parts_(std::move(parts)) {}
  HttpRoutes metrics_routes();
  HttpResponse metrics();
  std::string flagz() const;
  std::string statusz() const;
  HttpRoutes health_routes();
  HttpRoutes status_routes();
  HttpResponse pod_network() const;
  void listen(Tcp& tcp);

  Parts parts_;
  std::unique_ptr<Tcp> metrics_;
  std::unique_ptr<Tcp> healthz_;
  std::unique_ptr<HttpServer> status_;
};

}  // namespace fairlead::agent
