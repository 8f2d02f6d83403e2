#include "proxy/model/resolve.h"

#include <algorithm>
#include <optional>

#include "proxy/model/endpoints.h"

namespace fairlead::proxy::model {
namespace {

// Headless and ExternalName services yield nothing, and neither does one that was not given an address yet.
bool yields_nothing(const kube::Service& service) {
  return service.headless || service.type == kube::ServiceType::ExternalName || service.cluster_ips.empty();
}

// The service's address in `family`, which is also what makes it exist in that family (kubernetes v1.36
// pkg/proxy/serviceport.go). Without ipFamilies (an API server before dual-stack) only clusterIP, the first, counts.
std::optional<net::Ip> cluster_ip(const kube::Service& service, net::Family family) {
  const auto& families = service.ip_families;
  if (!families.empty() && std::find(families.begin(), families.end(), family) == families.end()) return std::nullopt;
  const std::size_t considered = families.empty() ? 1 : service.cluster_ips.size();
  for (std::size_t i = 0; i < considered; ++i) {
    const net::Ip& ip = service.cluster_ips[i];
    if (ip.family() == family && !ip.is_unspecified()) return ip;
  }
  return std::nullopt;
}

// KEP-2086, internalTrafficPolicy: clusterIP traffic stays on the node.
Pool internal_pool(const kube::Service& service) {
  return service.internal_traffic_policy == kube::TrafficPolicy::Local ? Pool::Local : Pool::Cluster;
}

// KEP-1436, externalTrafficPolicy: Local is served as Cluster until a Frontend can express its
// short-circuit, by which clients in the cluster reach the cluster set. Nothing is lost but the client's address.
Pool external_pool(const kube::Service&) { return Pool::Cluster; }

// docs/adr/0004: whoever reaches a service from outside may have a route back only through this node.
bool masquerades(FrontendKind kind) { return kind != FrontendKind::ClusterIp; }

// KEP-2086: refused when nobody in the cluster could answer, silence when only this node cannot.
WhenEmpty when_empty(Pool pool, bool any_endpoint) {
  return pool == Pool::Local && any_endpoint ? WhenEmpty::Drop : WhenEmpty::Reject;
}

// Every address and port that leads to this service port in one family. Two roles of one address and port are one
// frontend, by the order of FrontendKind. (Source ranges of load balancer addresses, and
// session affinity, will be further members of Frontend and PortState, filled in here and in resolve_port.)
std::vector<Frontend> frontends_of(const kube::Service& service, const kube::ServicePort& port,
                                   const net::Ip& cluster_ip) {
  std::vector<Frontend> out;
  const auto add = [&](FrontendKind kind, const net::Ip& address, std::uint16_t number) {
    for (const Frontend& other : out) {
      if (other.address == address && other.port == number) return;
    }
    const Pool pool = kind == FrontendKind::ClusterIp ? internal_pool(service) : external_pool(service);
    out.push_back({kind, address, number, pool, WhenEmpty::Reject, masquerades(kind)});
  };
  const auto add_all = [&](FrontendKind kind, const std::vector<net::Ip>& addresses) {
    for (const net::Ip& address : addresses) {
      if (address.family() == cluster_ip.family() && !address.is_unspecified()) add(kind, address, port.port);
    }
  };
  add(FrontendKind::ClusterIp, cluster_ip, port.port);
  if (port.node_port != 0) add(FrontendKind::NodePort, net::Ip(), port.node_port);
  add_all(FrontendKind::ExternalIp, service.external_ips);
  add_all(FrontendKind::LoadBalancerIp, service.load_balancer_ips);
  std::sort(out.begin(), out.end());
  return out;
}

PortState resolve_port(const kube::Service& service, const kube::ServicePort& port, const net::Ip& address,
                       const std::vector<const kube::EndpointSlice*>& slices, const NodeView& node) {
  PortState out;
  out.name = port.name;
  out.protocol = port.protocol;
  out.family = address.family();
  out.frontends = frontends_of(service, port, address);
  const auto draws_from = [&](Pool pool) {
    return std::any_of(out.frontends.begin(), out.frontends.end(), [&](const Frontend& f) { return f.pool == pool; });
  };
  const std::vector<Candidate> candidates = collect(slices, port.name, port.protocol, out.family, node);
  Selection selection = select(candidates, {draws_from(Pool::Cluster), draws_from(Pool::Local)}, node);
  out.cluster_endpoints = std::move(selection.cluster);
  out.local_endpoints = std::move(selection.local);
  for (Frontend& frontend : out.frontends) frontend.when_empty = when_empty(frontend.pool, selection.any);
  return out;
}

std::vector<const kube::EndpointSlice*> in_key_order(std::vector<const kube::EndpointSlice*> slices) {
  const auto before = [](const kube::EndpointSlice* a, const kube::EndpointSlice* b) {
    return a->meta.key < b->meta.key;
  };
  if (!std::is_sorted(slices.begin(), slices.end(), before)) std::sort(slices.begin(), slices.end(), before);
  return slices;
}

}  // namespace

ServiceState resolve(const kube::Service& service, const std::vector<const kube::EndpointSlice*>& slices,
                     const NodeView& node) {
  ServiceState out;
  out.key = service.meta.key;
  out.type = service.type;
  if (yields_nothing(service)) return out;
  const auto ordered = in_key_order(slices);
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    const std::optional<net::Ip> address = cluster_ip(service, family);
    if (!address) continue;
    for (const kube::ServicePort& port : service.ports) {
      out.ports.push_back(resolve_port(service, port, *address, ordered, node));
    }
  }
  if (!out.ports.empty()) out.counts = count(ordered, node);
  return out;
}

Changes resolve_changes(const kube::Store& store, const kube::Dirty& dirty, const NodeView& node) {
  Changes out;
  for (const Key& key : dirty.services) {
    const kube::Service* service = store.service(key);
    if (service == nullptr) {
      out.deleted.push_back(key);
    } else if (!dirty.node) {
      out.upserted.push_back(resolve(*service, store.slices_of(key), node));
    }
  }
  if (dirty.node) out.upserted = resolve_all(store, node);
  return out;
}

std::vector<ServiceState> resolve_all(const kube::Store& store, const NodeView& node) {
  std::vector<ServiceState> out;
  out.reserve(store.services().size());
  for (const auto& [key, service] : store.services()) out.push_back(resolve(service, store.slices_of(key), node));
  return out;
}

NodeView node_view(const kube::Store& store, std::string_view node_name) {
  NodeView out{std::string(node_name), {}};
  if (const kube::Node* node = store.node()) {
    const auto zone = node->labels.find(std::string(kube::kZoneLabel));
    if (zone != node->labels.end()) out.zone = zone->second;
  }
  return out;
}

}  // namespace fairlead::proxy::model
