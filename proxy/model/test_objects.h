// Objects for the tests of this folder: a Service "web", its slices, and this node, "node1" in "zone-a".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/model/resolve.h"

namespace fairlead::proxy::model::test {

using kube::EndpointSlice;
using kube::Service;
using kube::ServiceType;
using kube::TrafficPolicy;
using net::Family;
using net::Ip;
using net::Prefix;

inline const NodeView kNode{.name = "node1", .zone = "zone-a"};
inline constexpr std::uint16_t kPort = 80;
inline constexpr std::uint16_t kTarget = 8080;

inline Ip ip(std::string_view text) { return *Ip::parse(text); }
inline Prefix prefix(std::string_view text) { return *Prefix::parse(text); }

inline Service web() {
  Service service;
  service.meta.key = {"default", "web"};
  service.cluster_ips = {ip("10.96.0.1")};
  service.ip_families = {Family::V4};
  service.ports = {{"", Protocol::Tcp, kPort, 0}};
  return service;
}
inline Service dual_stack_web() {
  Service service = web();
  service.cluster_ips = {ip("10.96.0.1"), ip("fd00:10:96::1")};
  service.ip_families = {Family::V4, Family::V6};
  return service;
}
// With a frontend of every kind.
inline Service exposed_web(ServiceType type = ServiceType::LoadBalancer) {
  Service service = web();
  service.type = type;
  service.ports[0].node_port = 30080;
  service.external_ips = {ip("192.0.2.7")};
  service.load_balancer_ips = {ip("198.51.100.9")};
  return service;
}

inline kube::Endpoint at(std::string_view address, std::string node = "node2") {
  kube::Endpoint endpoint;
  endpoint.address = ip(address);
  endpoint.topology = kube::Topology{.node_name = std::move(node)};
  return endpoint;
}
inline kube::Endpoint not_ready(kube::Endpoint endpoint) {
  endpoint.ready = endpoint.serving = false;
  return endpoint;
}
// Terminating, and still serving.
inline kube::Endpoint draining(kube::Endpoint endpoint) {
  endpoint.ready = false;
  endpoint.serving = endpoint.terminating = true;
  return endpoint;
}
// Terminating, and done.
inline kube::Endpoint gone(kube::Endpoint endpoint) {
  endpoint.ready = endpoint.serving = false;
  endpoint.terminating = true;
  return endpoint;
}

// Of IPv6 when the first endpoint is.
inline EndpointSlice slice(std::string name, std::vector<kube::Endpoint> endpoints) {
  EndpointSlice out;
  out.meta.key = {"default", std::move(name)};
  out.service_name = "web";
  if (!endpoints.empty() && !endpoints.front().address.is_v4()) out.address_type = kube::AddressType::Ipv6;
  out.ports = {{"", Protocol::Tcp, kTarget}};
  out.endpoints = std::move(endpoints);
  return out;
}

inline ServiceState resolved(const Service& service, const std::vector<EndpointSlice>& slices,
                             const NodeView& node = kNode) {
  std::vector<const EndpointSlice*> pointers;
  pointers.reserve(slices.size());
  for (const EndpointSlice& one : slices) pointers.push_back(&one);
  return resolve(service, pointers, node);
}

inline Frontend cluster_ip(std::string_view address, std::uint16_t port = kPort) {
  return {.kind = FrontendKind::ClusterIp, .address = ip(address), .port = port};
}
inline Frontend from_outside(FrontendKind kind, const Ip& address, std::uint16_t port = kPort) {
  return {.kind = kind, .address = address, .port = port, .masquerade = Masquerade::Always};
}

// The frontend of that kind, which there must be one of.
inline Frontend frontend_of(const PortState& port, FrontendKind kind) {
  for (const Frontend& frontend : port.frontends) {
    if (frontend.kind == kind) return frontend;
  }
  return {.kind = kind, .address = ip("255.255.255.255"), .port = 0};
}
// "10.244.1.10:8080 ...", in order.
inline std::string places(const std::vector<Endpoint>& endpoints) {
  std::string out;
  for (const Endpoint& endpoint : endpoints) {
    out += (out.empty() ? "" : " ") + net::host_port(endpoint.address, endpoint.port);
  }
  return out;
}

}  // namespace fairlead::proxy::model::test
