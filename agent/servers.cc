#include "agent/servers.h"

#include <utility>

#include "agent/process_stats.h"
#include "agent/time_text.h"
#include "base/log.h"
#include "base/strings.h"

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
                                    .failed = metrics_server_failed,
                                    .server = nullptr});
    servers->listen(*servers->metrics_);
  }
  if (options.healthz) {
    servers->healthz_.reset(new Tcp{.what = "health",
                                    .at = *options.healthz,
                                    .routes = servers->health_routes(),
                                    .address = own.identity.healthz_address,
                                    .failed = health_server_failed,
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
    parts_.events.emit(tcp.failed(parts_.identity.node, server.error().message()));
    tcp.retry = parts_.loop.every(kListenAgainAfter, [this, &tcp] { listen(tcp); });
  }
}

// Times of client-go's zpages ("Tue Jan  2 15:04:05 UTC 2026") are for people; so are these.
std::string Servers::statusz() const {
  const Ledger& ledger = parts_.controller.ledger();
  const auto up = std::chrono::duration_cast<std::chrono::seconds>(parts_.clock.wall() - ledger.started()).count();
  return base::cat("fairlead-agent statusz\nWarning: This endpoint is not meant to be machine parseable.\n\nStarted: ",
                   format_rfc3339(ledger.started()), "\nUp: ", up, "s\nBinary version: ", parts_.identity.version,
                   "\nDataplane: ", parts_.identity.dataplane,
                   "\nPaths: /configz /flagz /healthz /metrics /proxyMode /statusz\n");
}

std::string Servers::flagz() const {
  std::string out = "fairlead-agent flagz\nWarning: This endpoint is not meant to be machine parseable.\n\n";
  for (const std::string& argument : parts_.arguments) out += argument + "\n";
  return out;
}

HttpResponse Servers::metrics() {
  const Controller& controller = parts_.controller;
  const Ledger& ledger = controller.ledger();
  Gauges gauges{.services = controller.store().services().size(),
                .endpoints = controller.store().endpoint_count(),
                .failing_services = ledger.failing().size(),
                .service_changes_pending = ledger.totals().service_events_pending,
                .endpoint_changes_pending = ledger.totals().slice_events_pending,
                .source_connected = false,
                .synced = ledger.synced(),
                .without_local = controller.facts().without_local()};
  const SourceStatus source = parts_.source_status();
  gauges.source_connected = source.connected;
  if (parts_.api != nullptr) {
    const auto url = kube::parse_server_url(source.where);
    gauges.api_host = url ? url->authority() : source.where;
    gauges.api_answers = parts_.api->counters().answers;
  }
  return {.content_type = Metrics::kContentType, .body = parts_.metrics.text(gauges)};
}

HttpRoutes Servers::metrics_routes() {
  HttpRoutes routes = {{"/metrics", [this](const HttpRequest&) { return metrics(); }},
                       {"/healthz", [](const HttpRequest&) { return HttpResponse{.body = "ok"}; }},
                       {"/flagz", [this](const HttpRequest&) { return HttpResponse{.body = flagz()}; }},
                       {"/statusz", [this](const HttpRequest&) { return HttpResponse{.body = statusz()}; }},
                       {"/proxyMode", [this](const HttpRequest&) {
                          if (parts_.identity.dataplane.empty()) {
                            return HttpResponse{.code = 503, .body = "not chosen yet\n"};
                          }
                          return HttpResponse{.body = parts_.identity.dataplane};
                        }}};
  if (parts_.configz) {
    routes.emplace("/configz", [this](const HttpRequest&) { return json(parts_.configz()); });
  }
  return routes;
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

// What the CNI binary's STATUS asks: 200, or 503 and why.
HttpResponse Servers::pod_network() const {
  const std::string refusal =
      parts_.pod_network_refusal ? parts_.pod_network_refusal() : "this agent does not wire pods (--cni-conf-dir)";
  return {.code = refusal.empty() ? 200 : 503, .body = refusal};
}

HttpRoutes Servers::status_routes() {
  return {{"/v1/status",
           [this](const HttpRequest&) {
             return json(status_json(parts_.identity, parts_.controller, parts_.source_status(),
                                     parts_.service_health.ports(), parts_.clock));
           }},
          {"/v1/pod-network", [this](const HttpRequest&) { return pod_network(); }},
          {"/v1/services", [this](const HttpRequest& request) {
             const auto ns = request.query.find("namespace");
             ServicesJson pieces(parts_.controller, ns == request.query.end() ? "" : ns->second, parts_.clock);
             return HttpResponse{.content_type = "application/json",
                                 .body = {},
                                 .more = [pieces](std::string& out) mutable { return pieces.append_piece(out); }};
           }}};
}

}  // namespace fairlead::agent
