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

// KEP-1436: it counts where there is something outside to come from (kubernetes v1.36 pkg/proxy/serviceport.go).
bool external_policy_is_local(const kube::Service& service) {
  if (service.external_traffic_policy != kube::TrafficPolicy::Local) return false;
  return service.type == kube::ServiceType::LoadBalancer || service.type == kube::ServiceType::NodePort ||
         !service.external_ips.empty();
}

// docs/adr/0004: whoever reaches a service from outside may have a route back only through this node. ClusterIPs are
// masqueraded for strangers, so that a network may route them to any node.
Masquerade masquerade_of(FrontendKind kind, Pool pool, net::Family family, const NodeView& node) {
  if (kind != FrontendKind::ClusterIp) return pool == Pool::Local ? Masquerade::Never : Masquerade::Always;
  if (node.config.masquerade_all) return Masquerade::Always;
  return tells_pods(node, family) ? Masquerade::OffCluster : Masquerade::Never;
}

// KEP-2086: refused when nobody in the cluster could answer, silence when only this node cannot.
WhenEmpty when_empty(Pool pool, bool any_endpoint) {
  return pool == Pool::Local && any_endpoint ? WhenEmpty::Drop : WhenEmpty::Reject;
}

bool contains(const std::vector<net::Ip>& list, const net::Ip& ip) {
  return std::find(list.begin(), list.end(), ip) != list.end();
}

bool takes_in_everything(const net::Prefix& range) { return range.length == 0; }

// Whether spec.loadBalancerSourceRanges restricts the load balancer's addresses of this family. A service whose ranges
// are all of the other family is closed to this one, unless they take in everybody there (docs/adr/0015).
bool restricts(const std::vector<net::Prefix>& ranges, net::Family family) {
  const bool any_of_family =
      std::any_of(ranges.begin(), ranges.end(), [&](const net::Prefix& range) { return range.family() == family; });
  return !ranges.empty() && std::none_of(ranges.begin(), ranges.end(), [&](const net::Prefix& range) {
    return takes_in_everything(range) && (range.family() == family || !any_of_family);
  });
}

// Who may use them then. Where the ranges take in the node, its load balancer addresses may be bound on it, and its own
// connections come from those (kubernetes v1.36 pkg/proxy/iptables/proxier.go, "allow from VIP").
std::vector<net::Prefix> allowed_sources(const kube::Service& service, net::Family family, const NodeView& node) {
  std::vector<net::Prefix> out;
  for (const net::Prefix& range : service.load_balancer_source_ranges) {
    if (range.family() == family) out.push_back(range);
  }
  const bool takes_in_node = std::any_of(out.begin(), out.end(), [&](const net::Prefix& range) {
    return std::any_of(node.addresses.begin(), node.addresses.end(),
                       [&](const net::Ip& ip) { return range.contains(ip); });
  });
  for (const net::Ip& ip : service.load_balancer_ips) {
    if (!takes_in_node || ip.family() != family) continue;
    out.push_back(net::Prefix::host(ip));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

// Every address and port that leads to this service port in one family. Two roles of one address and port are one
// frontend, by the order of FrontendKind.
std::vector<Frontend> frontends_of(const kube::Service& service, const kube::ServicePort& port,
                                   const net::Ip& cluster_ip, bool restricted, const NodeView& node) {
  std::vector<Frontend> out;
  const net::Family family = cluster_ip.family();
  const auto add = [&](FrontendKind kind, const net::Ip& address, std::uint16_t number) {
    for (const Frontend& other : out) {
      if (other.address == address && other.port == number) return;
    }
    const bool external_local = kind != FrontendKind::ClusterIp && external_policy_is_local(service);
    const Pool pool =
        kind == FrontendKind::ClusterIp ? internal_pool(service) : (external_local ? Pool::Local : Pool::Cluster);
    out.push_back({.kind = kind,
                   .address = address,
                   .port = number,
                   .pool = pool,
                   .when_empty = WhenEmpty::Reject,
                   .masquerade = masquerade_of(kind, pool, family, node),
                   .short_circuit = external_local,
                   .restricted = restricted && contains(service.load_balancer_ips, address)});
  };
  const auto add_all = [&](FrontendKind kind, const std::vector<net::Ip>& addresses) {
    for (const net::Ip& address : addresses) {
      if (address.family() == family && !address.is_unspecified()) add(kind, address, port.port);
    }
  };
  add(FrontendKind::ClusterIp, cluster_ip, port.port);
  if (port.node_port != 0) add(FrontendKind::NodePort, net::Ip(), port.node_port);
  if (node.config.external_ips) add_all(FrontendKind::ExternalIp, service.external_ips);
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
  const bool restricted = restricts(service.load_balancer_source_ranges, out.family);
  out.frontends = frontends_of(service, port, address, restricted, node);
  const auto any_frontend = [&](auto&& wanted) {
    return std::any_of(out.frontends.begin(), out.frontends.end(), wanted);
  };
  if (any_frontend([](const Frontend& f) { return f.restricted; })) {
    out.allowed_sources = allowed_sources(service, out.family, node);
  }
  if (service.session_affinity == kube::SessionAffinity::ClientIp)
    out.affinity_seconds = service.affinity_timeout_seconds;
  const Wanted wanted{
      .cluster = any_frontend([](const Frontend& f) { return f.pool == Pool::Cluster || f.short_circuit; }),
      .local = any_frontend([](const Frontend& f) { return f.pool == Pool::Local; })};
  const std::vector<Candidate> candidates = collect(slices, port.name, port.protocol, out.family, node);
  Selection selection = select(candidates, wanted, node);
  out.cluster_endpoints = std::move(selection.cluster);
  out.local_endpoints = std::move(selection.local);
  out.serving_endpoints = std::move(selection.serving);
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
  if (out.ports.empty()) return out;
  out.counts = count(service.ports, ordered, node);
  if (service.type == kube::ServiceType::LoadBalancer && external_policy_is_local(service)) {
    out.health_check_node_port = service.health_check_node_port;
  }
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

}  // namespace fairlead::proxy::model
