#include "tests/bench/cluster.h"

#include <utility>

#include "base/strings.h"
#include "tests/apiserver/mix.h"

namespace fairlead::tests::bench {
namespace {

constexpr std::uint32_t kServiceBase = (10U << 24) | (96U << 16) | 256;
constexpr std::uint32_t kPodBase = (10U << 24) | (128U << 16) | 256;

net::Ip address(std::uint32_t host_order) {
  return net::Ip::v4(static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
                     static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order));
}

std::string service_name(std::uint32_t index) { return base::cat("svc-", index); }
constexpr std::string_view kNamespace = "bench";

// As apiserver::mix_in() does to the API's form.
void mix_in(kube::Service& service, std::uint32_t index) {
  using apiserver::Mix;
  service.cluster_ips.push_back(apiserver::mixed_cluster_ip6(index));
  service.ip_families.push_back(net::Family::V6);
  const Mix mix = apiserver::mix_of(index);
  if (mix == Mix::NodePort || mix == Mix::LocalPolicy) {
    service.type = kube::ServiceType::NodePort;
    service.ports.front().node_port = apiserver::mixed_node_port(index);
  }
  if (mix == Mix::LocalPolicy) service.external_traffic_policy = kube::TrafficPolicy::Local;
  if (mix == Mix::Affinity) service.session_affinity = kube::SessionAffinity::ClientIp;
  if (mix == Mix::SourceRanges) {
    service.type = kube::ServiceType::LoadBalancer;
    service.load_balancer_source_ranges = apiserver::mixed_source_ranges();
    for (const net::Family family : {net::Family::V4, net::Family::V6}) {
      service.load_balancer_ips.push_back(apiserver::mixed_load_balancer_ip(index, family));
    }
  }
}

// As a source shares them.
std::vector<kube::SharedTopology> make_nodes() {
  std::vector<kube::SharedTopology> nodes;
  for (int i = 0; i < 100; ++i) nodes.emplace_back(kube::Topology{.node_name = base::cat("node", i)});
  return nodes;
}

kube::EndpointSlice make_slice(const ClusterSize& size, std::uint32_t index, net::Family family,
                               const std::vector<kube::SharedTopology>& nodes) {
  const bool ipv6 = family == net::Family::V6;
  kube::EndpointSlice slice;
  slice.meta.key = {std::string(kNamespace), service_name(index) + (ipv6 ? "-slice6" : "-slice")};
  slice.meta.resource_version = base::cat(size.services * (ipv6 ? 2 : 1) + index + 1);
  slice.service_name = service_name(index);
  slice.address_type = ipv6 ? kube::AddressType::Ipv6 : kube::AddressType::Ipv4;
  slice.ports = {{.name = "http", .protocol = kube::Protocol::Tcp, .port = 8080}};
  slice.endpoints.reserve(size.endpoints_per_service);
  for (std::uint32_t e = 0; e < size.endpoints_per_service; ++e) {
    const std::uint32_t n = index * size.endpoints_per_service + e;
    kube::Endpoint endpoint;
    endpoint.address = ipv6 ? apiserver::mixed_endpoint6(n) : address(kPodBase + n);
    endpoint.ready = true;
    endpoint.topology = nodes[n % nodes.size()];
    slice.endpoints.push_back(std::move(endpoint));
  }
  return slice;
}

}  // namespace

std::string_view to_string(ClusterKind kind) { return kind == ClusterKind::Plain ? "plain" : "mixed"; }

std::vector<net::Prefix> cluster_cidrs() {
  return {*net::Prefix::parse("10.128.0.0/9"), *net::Prefix::parse("fd00:10:128::/48")};
}

proxy::model::NodeView make_node_view(std::vector<net::Prefix> pod_ranges) {
  proxy::model::NodeView view;
  view.name = "node1";
  view.zone = "zone-1";
  view.addresses = {net::Ip::v4(172, 18, 0, 1), *net::Ip::parse("fd00:172:18::1")};
  view.service_cidrs = {*net::Prefix::parse("10.96.0.0/12"), *net::Prefix::parse("fd00:10:96::/108")};
  view.config.cluster_cidrs = std::move(pod_ranges);
  return view;
}

std::vector<kube::Object> make_services(const ClusterSize& size) {
  std::vector<kube::Object> objects;
  objects.reserve(size.services);
  for (std::uint32_t i = 0; i < size.services; ++i) {
    kube::Service service;
    service.meta.key = {std::string(kNamespace), service_name(i)};
    service.meta.resource_version = base::cat(i + 1);
    service.cluster_ips = {address(kServiceBase + i)};
    service.ip_families = {net::Family::V4};
    service.ports = {{.name = "http", .protocol = kube::Protocol::Tcp, .port = 80}};
    if (size.kind == ClusterKind::Mixed) mix_in(service, i);
    objects.emplace_back(std::move(service));
  }
  return objects;
}

std::vector<kube::Object> make_slices(const ClusterSize& size) {
  std::vector<kube::Object> objects;
  const std::vector<kube::SharedTopology> nodes = make_nodes();
  objects.reserve(std::size_t{size.services} * (size.kind == ClusterKind::Mixed ? 2 : 1));
  for (std::uint32_t i = 0; i < size.services; ++i) {
    objects.emplace_back(make_slice(size, i, net::Family::V4, nodes));
    if (size.kind == ClusterKind::Mixed) objects.emplace_back(make_slice(size, i, net::Family::V6, nodes));
  }
  return objects;
}

}  // namespace fairlead::tests::bench
