#include "proxy/dataplane/ebpf/plan.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

PoolPtr make_pool(const std::vector<model::Endpoint>& endpoints) {
  auto pool = std::make_shared<Pool>();
  pool->reserve(endpoints.size());
  for (const model::Endpoint& e : endpoints) {
    pool->push_back({to_addr16(e.address), to_be16(e.port), static_cast<std::uint16_t>(e.local ? bpf::SLOT_LOCAL : 0)});
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

}  // namespace

std::string to_string(const bpf::frontend_key& key) {
  const net::Ip ip = to_ip(key.addr);
  const std::string_view protocol = kube::to_string(static_cast<kube::Protocol>(key.proto));
  if (ip.is_unspecified()) {
    return base::cat("node port ", from_be16(key.port), "/", protocol, " (", net::to_string(ip.family()), ")");
  }
  return base::cat(net::host_port(ip, from_be16(key.port)), "/", protocol);
}

std::vector<Claim> plan(const model::ServiceState& service) {
  std::vector<Claim> claims;
  for (const model::PortState& port : service.ports) {
    PoolPtr pools[2];
    for (const model::Frontend& frontend : port.frontends) {
      PoolPtr& pool = pools[frontend.pool == model::Pool::Cluster ? 0 : 1];
      if (!pool) pool = make_pool(port.pool(frontend.pool));
      std::uint32_t flags = 0;
      if (frontend.masquerade == model::Masquerade::Always) flags |= bpf::FRONTEND_MASQUERADE;
      if (frontend.when_empty == model::WhenEmpty::Drop) flags |= bpf::FRONTEND_DROP_WHEN_EMPTY;
      claims.push_back({make_key(port, frontend), flags, pool});
    }
  }
  std::stable_sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) { return a.key < b.key; });
  claims.erase(std::unique(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) { return a.key == b.key; }),
               claims.end());
  claims.shrink_to_fit();
  return claims;
}

}  // namespace fairlead::proxy::dataplane::ebpf
