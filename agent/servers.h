// Servers: what the agent shows, and where: metrics and health over TCP, status over the unix socket. Loop thread.
//
// A TCP address that is taken is tried again every few seconds, as kube-proxy does: it is no reason to stop serving
// Services. The status socket is ours alone, so that failing is an error.
#pragma once

#include <memory>
#include <string>

#include "agent/controller.h"
#include "agent/health.h"
#include "agent/http_server.h"
#include "agent/metrics.h"
#include "agent/options.h"
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
    std::function<SourceStatus()> source_status;
  };
  static Result<std::unique_ptr<Servers>> start(Parts parts, const Options& options);

 private:
  struct Tcp {
    std::string what;
    Listen at;
    HttpRoutes routes;
    std::string& address;  // in identity
    std::unique_ptr<HttpServer> server;
    base::Loop::Handle retry = base::Loop::none();
  };

  explicit Servers(Parts parts) : parts_(std::move(parts)) {}
  HttpRoutes metrics_routes();
  HttpRoutes health_routes();
  HttpRoutes status_routes();
  void listen(Tcp& tcp);

  Parts parts_;
  std::unique_ptr<Tcp> metrics_;
  std::unique_ptr<Tcp> healthz_;
  std::unique_ptr<HttpServer> status_;
};

}  // namespace fairlead::agent
