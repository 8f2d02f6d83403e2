#include "agent/servers.h"

#include <utility>

#include "base/log.h"

namespace fairlead::agent {
namespace {

constexpr base::Duration kListenAgainAfter = std::chrono::seconds(5);

HttpResponse json(std::string body) { return {.content_type = "application/json", .body = std::move(body)}; }

}  // namespace

Result<std::unique_ptr<Servers>> Servers::start(Parts parts, const Options& options) {
  std::unique_ptr<Servers> servers(new Servers(std::move(parts)));
  Parts& own = servers->parts_;
  servers->status_ = TRY(HttpServer::listen_unix(own.loop, options.status_socket, servers->status_routes()));
  if (options.metrics) {
    servers->metrics_.reset(new Tcp{.what = "metrics",
                                    .at = *options.metrics,
                                    .routes = servers->metrics_routes(),
                                    .address = own.identity.metrics_address,
                                    .server = nullptr});
    servers->listen(*servers->metrics_);
  }
  if (options.healthz) {
    servers->healthz_.reset(new Tcp{.what = "health",
                                    .at = *options.healthz,
                                    .routes = servers->health_routes(),
                                    .address = own.identity.healthz_address,
                                    .server = nullptr});
    servers->listen(*servers->healthz_);
  }
  return servers;
}

void Servers::listen(Tcp& tcp) {
  auto server = HttpServer::listen_tcp(parts_.loop, tcp.at.address, tcp.at.port, tcp.routes);
  if (server) {
    tcp.server = std::move(*server);
    tcp.address = tcp.server->address();
    if (tcp.retry) base::log::info("listening after all", {{"for", tcp.what}, {"address", tcp.address}});
    tcp.retry.reset();
    return;
  }
  if (!tcp.retry) {
    base::log::error("trying again every 5s", {{"for", tcp.what}, {"err", server.error().message()}});
    tcp.retry = parts_.loop.every(kListenAgainAfter, [this, &tcp] { listen(tcp); });
  }
}

HttpRoutes Servers::metrics_routes() {
  return {{"/metrics",
           [this](const HttpRequest&) {
             const Controller& controller = parts_.controller;
             const Ledger& ledger = controller.ledger();
             const Gauges gauges{.services = controller.store().services().size(),
                                 .endpoints = count_endpoints(controller.store()),
                                 .failing_services = ledger.failing().size(),
                                 .service_changes_pending = ledger.totals().service_events_pending,
                                 .endpoint_changes_pending = ledger.totals().slice_events_pending,
                                 .source_connected = parts_.source_status().connected,
                                 .synced = ledger.synced()};
             return HttpResponse{.content_type = Metrics::kContentType, .body = parts_.metrics.text(gauges)};
           }},
          {"/healthz", [](const HttpRequest&) { return HttpResponse{.body = "ok"}; }},
          {"/proxyMode", [this](const HttpRequest&) {
             if (parts_.identity.dataplane.empty()) return HttpResponse{.code = 503, .body = "not chosen yet\n"};
             return HttpResponse{.body = parts_.identity.dataplane};
           }}};
}

HttpRoutes Servers::health_routes() {
  return {{"/healthz",
           [this](const HttpRequest&) {
             HttpResponse response = parts_.health.healthz();
             parts_.metrics.count_healthz(response.code);
             return response;
           }},
          {"/livez", [this](const HttpRequest&) {
             HttpResponse response = parts_.health.livez();
             parts_.metrics.count_livez(response.code);
             return response;
           }}};
}

HttpRoutes Servers::status_routes() {
  return {{"/v1/status",
           [this](const HttpRequest&) {
             return json(status_json(parts_.identity, parts_.controller, parts_.source_status(), parts_.clock));
           }},
          {"/v1/services", [this](const HttpRequest& request) {
             const auto ns = request.query.find("namespace");
             ServicesJson pieces(parts_.controller, ns == request.query.end() ? "" : ns->second, parts_.clock);
             return HttpResponse{.content_type = "application/json",
                                 .body = {},
                                 .more = [pieces](std::string& out) mutable { return pieces.append_piece(out); }};
           }}};
}

}  // namespace fairlead::agent
