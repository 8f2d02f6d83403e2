#include "tests/bench/cluster.h"

#include <utility>

#include "base/strings.h"

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

}  // namespace

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
    objects.emplace_back(std::move(service));
  }
  return objects;
}

std::vector<kube::Object> make_slices(const ClusterSize& size) {
  std::vector<kube::Object> objects;
  objects.reserve(size.services);
  for (std::uint32_t i = 0; i < size.services; ++i) {
    kube::EndpointSlice slice;
    slice.meta.key = {std::string(kNamespace), service_name(i) + "-slice"};
    slice.meta.resource_version = base::cat(size.services + i + 1);
    slice.service_name = service_name(i);
    slice.ports = {{.name = "http", .protocol = kube::Protocol::Tcp, .port = 8080}};
    slice.endpoints.reserve(size.endpoints_per_service);
    for (std::uint32_t e = 0; e < size.endpoints_per_service; ++e) {
      kube::Endpoint endpoint;
      endpoint.address = address(kPodBase + i * size.endpoints_per_service + e);
      endpoint.ready = true;
      endpoint.node_name = base::cat("node", e % 100 + 1);
      slice.endpoints.push_back(std::move(endpoint));
    }
    objects.emplace_back(std::move(slice));
  }
  return objects;
}

}  // namespace fairlead::tests::bench
