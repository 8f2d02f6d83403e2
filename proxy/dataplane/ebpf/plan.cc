#include "proxy/dataplane/ebpf/plan.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using model::Masquerade;

const PoolPtr& empty_pool() {
  static const PoolPtr pool = std::make_shared<const Pool>();
  return pool;
}

Target make_target(const model::Endpoint& e, std::uint16_t flags) {
  return {to_addr16(e.address), to_be16(e.port), static_cast<std::uint16_t>(flags | (e.local ? bpf::SLOT_LOCAL : 0))};
}

// Flows of UDP may stay with every endpoint that serves (docs/adr/0012); connections of TCP need nobody's leave.
PoolPtr make_pool(const model::PortState& port, model::Pool which) {
  const std::vector<model::Endpoint>& endpoints = port.pool(which);
  auto pool = std::make_shared<Pool>();
  pool->reserve(endpoints.size());
  for (const model::Endpoint& e : endpoints) pool->push_back(make_target(e, 0));
  if (port.protocol != model::Protocol::Udp) return pool;
  for (const model::Endpoint& e : port.serving_endpoints) {
    if (!std::binary_search(endpoints.begin(), endpoints.end(), e)) pool->push_back(make_target(e, bpf::SLOT_KEPT));
  }
  return pool;
}

bpf::frontend_key make_key(const model::PortState& port, const model::Frontend& frontend) {
  bpf::frontend_key key{};
  // The unspecified address of the port's family, so that IPv4 and IPv6 may have the same node port.
  key.addr = frontend.kind == model::FrontendKind::NodePort
                 ? to_addr16(port.family == net::Family::V4 ? net::Ip::v4(0, 0, 0, 0) : net::Ip())
                 : to_addr16(frontend.address);
  key.port = to_be16(frontend.port);
  key.proto = static_cast<std::uint8_t>(port.protocol);
  return key;
}

std::uint32_t make_flags(const model::PortState& port, const model::Frontend& frontend) {
  std::uint32_t flags = 0;
  if (frontend.masquerade == Masquerade::Always) flags |= bpf::FRONTEND_MASQUERADE;
  if (frontend.masquerade == Masquerade::OffCluster) flags |= bpf::FRONTEND_MASQUERADE_OFF_CLUSTER;
  if (frontend.when_empty == model::WhenEmpty::Drop) flags |= bpf::FRONTEND_DROP_WHEN_EMPTY;
  if (frontend.short_circuit) flags |= bpf::FRONTEND_SHORT_CIRCUIT;
  if (frontend.restricted) flags |= bpf::FRONTEND_RESTRICTED;
  if (port.affinity_seconds > 0) flags |= bpf::FRONTEND_AFFINITY;
  return flags;
}

class PortPlanner {
 public:
  explicit PortPlanner(const model::PortState& port) : port_(port) {}

  Claim claim(const model::Frontend& frontend) {
    Claim out{.key = make_key(port_, frontend),
              .flags = make_flags(port_, frontend),
              .pool = pool(frontend.pool),
              .cluster = frontend.short_circuit ? pool(model::Pool::Cluster) : empty_pool()};
    if (port_.affinity_seconds > 0) {
      out.affinity_seconds = port_.affinity_seconds;
      // The first is the ClusterIP: no two service ports have the same, and it stays when others come and go.
      out.affinity = make_key(port_, port_.frontends.front());
    }
    if (frontend.restricted) {
      if (!sources_) sources_ = std::make_shared<const Sources>(port_.allowed_sources);
      out.sources = sources_;
    }
    return out;
  }

 private:
  const PoolPtr& pool(model::Pool which) {
    PoolPtr& pool = pools_[which == model::Pool::Cluster ? 0 : 1];
    if (!pool) pool = make_pool(port_, which);
    return pool;
  }

  const model::PortState& port_;
  PoolPtr pools_[2];
  std::shared_ptr<const Sources> sources_;
};

// docs/adr/0007.
Claim address_claim(const net::Ip& address) {
  return {.key = {.addr = to_addr16(address), .port = 0, .proto = 0, .pad = 0},
          .flags = bpf::FRONTEND_ADDRESS,
          .pool = empty_pool(),
          .cluster = empty_pool()};
}

}  // namespace

std::uint32_t count_new(const Pool& pool) {
  const auto kept =
      std::find_if(pool.begin(), pool.end(), [](const Target& t) { return (t.flags & bpf::SLOT_KEPT) != 0; });
  return static_cast<std::uint32_t>(kept - pool.begin());
}

bool is_address_key(const bpf::frontend_key& key) { return key.port == 0 && key.proto == 0; }

std::string to_string(const bpf::frontend_key& key) {
  const net::Ip ip = to_ip(key.addr);
  if (is_address_key(key)) return base::cat(ip.to_string(), ", any other port");
  const std::string_view protocol = kube::to_string(static_cast<kube::Protocol>(key.proto));
  if (ip.is_unspecified()) {
    return base::cat("node port ", from_be16(key.port), "/", protocol, " (", net::to_string(ip.family()), ")");
  }
  return base::cat(net::host_port(ip, from_be16(key.port)), "/", protocol);
}

std::vector<Claim> plan(const model::ServiceState& service) {
  std::vector<Claim> claims;
  for (const model::PortState& port : service.ports) {
    PortPlanner planner(port);
    for (const model::Frontend& frontend : port.frontends) {
      claims.push_back(planner.claim(frontend));
      if (frontend.kind == model::FrontendKind::ClusterIp) claims.push_back(address_claim(frontend.address));
    }
  }
  std::stable_sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) { return a.key < b.key; });
  claims.erase(std::unique(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) { return a.key == b.key; }),
               claims.end());
  claims.shrink_to_fit();
  return claims;
}

}  // namespace fairlead::proxy::dataplane::ebpf
