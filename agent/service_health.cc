#include "agent/service_health.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using net::Family;
using net::Ip;
using net::Prefix;

constexpr base::Duration kListenAgainAfter = std::chrono::seconds(5);

Ip any_of_family(Family family) { return family == Family::V4 ? Ip::v4(0, 0, 0, 0) : Ip(); }

bool takes_all(const std::vector<Prefix>& prefixes, Family family) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const Prefix& prefix) { return prefix.family() == family && prefix.length == 0; });
}

// A socket needs an interface beside it.
bool is_link_local_v6(const Ip& ip) { return !ip.is_v4() && ip.bytes()[0] == 0xfe && (ip.bytes()[1] & 0xc0) == 0x80; }

std::vector<Ip> local_addresses() {
  auto addresses = net::local_addresses();
  if (addresses) return std::move(*addresses);
  base::log::warn("cannot list local addresses for health check ports", {{"err", addresses.error().message()}});
  return {};
}

}  // namespace

std::vector<HealthAddress> health_addresses(const std::vector<Prefix>& node_port_addresses,
                                            const std::vector<Ip>& local) {
  if (takes_all(node_port_addresses, Family::V4) && takes_all(node_port_addresses, Family::V6)) {
    return {{Ip(), OnAnyV6::Both}};
  }
  std::vector<HealthAddress> out;
  for (const Family family : {Family::V4, Family::V6}) {
    if (takes_all(node_port_addresses, family)) out.push_back({any_of_family(family)});
  }
  for (const Ip& ip : local) {
    const bool taken = !ip.is_loopback() && !is_link_local_v6(ip) && !takes_all(node_port_addresses, ip.family()) &&
                       std::any_of(node_port_addresses.begin(), node_port_addresses.end(),
                                   [&](const Prefix& prefix) { return prefix.contains(ip); });
    if (taken) out.push_back({ip});
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

// Byte for byte what kube-proxy writes: some readers match text.
HttpResponse health_answer(const Key& service, std::uint32_t local_endpoints, bool proxy_healthy) {
  const auto quoted = [](const std::string& text) { return base::to_json(base::Value(text)); };
  std::string body = base::cat(
      "{\n\t\"service\": {\n\t\t\"namespace\": ", quoted(service.ns), ",\n\t\t\"name\": ", quoted(service.name),
      "\n\t},\n\t\"localEndpoints\": ", local_endpoints, ",\n\t\"serviceProxyHealthy\": ", proxy_healthy, "\n}");
  return {.code = local_endpoints > 0 && proxy_healthy ? 200 : 503,
          .content_type = "application/json",
          .body = std::move(body),
          .headers = {{"X-Load-Balancing-Endpoint-Weight", base::cat(local_endpoints)}}};
}

void ServiceHealth::update(const FactBook::Applied& change) {
  if (change.addresses) look_at_addresses();
  for (const Key& key : change.services) {
    const ServiceFacts facts = parts_.book.applied(key);
    if (facts.health_check_node_port == 0) {
      entries_.erase(key);
      continue;
    }
    Entry& entry = entries_[key];
    if (entry.port != facts.health_check_node_port) {
      entry.servers.clear();
      entry.error.clear();
    }
    entry.port = facts.health_check_node_port;
    entry.local_endpoints = facts.local_endpoints;
  }
  // Only now: a port may have gone from one service to another.
  for (const Key& key : change.services) {
    if (const auto it = entries_.find(key); it != entries_.end()) open_missing(it->first, it->second);
  }
}

void ServiceHealth::look_at_addresses() {
  const std::vector<Prefix>& wanted = parts_.book.node_port_addresses();
  const bool selective = !(takes_all(wanted, Family::V4) && takes_all(wanted, Family::V6));
  if (!selective) {
    links_changed_.reset();
    links_.reset();
  } else if (!links_) {
    if (auto watch = net::LinkWatch::open()) {
      links_ = std::move(*watch);
      links_changed_ = parts_.loop.watch(links_->fd(), base::Interest::Read, [this](base::Ready) {
        (void)links_->drain().has_value();  // whatever it was: look
        look_at_addresses();
      });
    } else {
      base::log::warn("health check ports will not follow this node's addresses", {{"err", watch.error().message()}});
    }
  }
  std::vector<HealthAddress> addresses = health_addresses(wanted, selective ? local_addresses() : std::vector<Ip>());
  if (addresses == addresses_) return;
  addresses_ = std::move(addresses);
  for (auto& [key, entry] : entries_) close_unwanted(entry);
  open_all_missing();
}

void ServiceHealth::close_unwanted(Entry& entry) {
  std::erase_if(entry.servers, [&](const auto& each) {
    return !std::binary_search(addresses_.begin(), addresses_.end(), each.first);
  });
}

void ServiceHealth::open_all_missing() {
  retry_.reset();
  for (auto& [key, entry] : entries_) open_missing(key, entry);
}

void ServiceHealth::open_missing(const Key& service, Entry& entry) {
  std::string failed;
  for (const HealthAddress& at : addresses_) {
    if (entry.servers.contains(at)) continue;
    auto server = open(service, entry, at);
    if (server) {
      entry.servers.emplace(at, std::move(*server));
      continue;
    }
    failed = server.error().message();
    if (entry.error.empty() && parts_.failed) parts_.failed(service, entry.port, server.error());
    entry.error = failed;
  }
  if (failed.empty() && !entry.error.empty()) {
    base::log::info("the health check port is open after all",
                    {{"service", service.to_string()}, {"port", base::cat(entry.port)}});
  }
  entry.error = failed;
  if (!failed.empty() && !retry_) retry_ = parts_.loop.after(kListenAgainAfter, [this] { open_all_missing(); });
}

Result<std::unique_ptr<HttpServer>> ServiceHealth::open(const Key& service, const Entry& entry,
                                                        const HealthAddress& at) {
  const HttpHandler answer = [this, &service, &entry](const HttpRequest&) {
    return health_answer(service, entry.local_endpoints, parts_.health.healthy());
  };
  auto server = HttpServer::listen_for_all(parts_.loop, at.address, entry.port, at.families, answer);
  // A node without IPv6 still has the other half.
  if (!server && at.families == OnAnyV6::Both && server.error().errno_value() == EAFNOSUPPORT) {
    return HttpServer::listen_for_all(parts_.loop, any_of_family(Family::V4), entry.port, at.families, answer);
  }
  return server;
}

std::map<Key, ServiceHealth::Port> ServiceHealth::ports() const {
  std::map<Key, Port> out;
  for (const auto& [key, entry] : entries_) out.emplace(key, Port{entry.port, entry.error});
  return out;
}

}  // namespace fairlead::agent
