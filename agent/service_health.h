// ServiceHealth: the HTTP servers of spec.healthCheckNodePort (kubernetes v1.36 pkg/proxy/healthcheck), which tell a
// load balancer whether this node has endpoints of a Service whose externalTrafficPolicy is Local.
//
// Any path, any method: 200 while the node has a ready endpoint and the dataplane keeps up, else 503; whether the Node
// itself is being removed makes no difference here. Loop thread. A port that is taken is tried again every few seconds.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/health.h"
#include "agent/http_server.h"
#include "agent/service_facts.h"
#include "base/loop.h"
#include "net/links.h"

namespace fairlead::agent {

// Where the ports are opened.
struct HealthAddress {
  net::Ip address;  // :: and 0.0.0.0: any
  OnAnyV6 families = OnAnyV6::V6Only;
  auto operator<=>(const HealthAddress&) const = default;
};

// NodeState::node_port_addresses in terms of sockets: any address of a family, or those of `local` that they take in.
// Both families open: one socket for both.
std::vector<HealthAddress> health_addresses(const std::vector<net::Prefix>& node_port_addresses,
                                            const std::vector<net::Ip>& local);

HttpResponse health_answer(const Key& service, std::uint32_t local_endpoints, bool proxy_healthy);

class ServiceHealth {
 public:
  struct Parts {
    base::Loop& loop;
    const Health& health;
    const FactBook& book;
    // Once per port that cannot be opened, until it could.
    std::function<void(const Key& service, std::uint16_t port, const Error& error)> failed;
  };
  explicit ServiceHealth(Parts parts) : parts_(std::move(parts)) {}

  void update(const FactBook::Applied& change);

  struct Port {
    std::uint16_t number = 0;
    std::string error;  // empty: open
  };
  std::map<Key, Port> ports() const;

 private:
  struct Entry {
    std::uint16_t port = 0;
    std::uint32_t local_endpoints = 0;
    std::map<HealthAddress, std::unique_ptr<HttpServer>> servers;
    std::string error;
  };
  void look_at_addresses();
  void close_unwanted(Entry& entry);
  void open_missing(const Key& service, Entry& entry);
  void open_all_missing();
  Result<std::unique_ptr<HttpServer>> open(const Key& service, const Entry& entry, const HealthAddress& at);

  Parts parts_;
  std::vector<HealthAddress> addresses_;
  std::map<Key, Entry> entries_;
  std::optional<net::LinkWatch> links_;  // while the addresses depend on the node's
  base::Loop::Handle links_changed_ = base::Loop::none();
  base::Loop::Handle retry_ = base::Loop::none();
};

}  // namespace fairlead::agent
