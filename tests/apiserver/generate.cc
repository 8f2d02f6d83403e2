#include "tests/apiserver/generate.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::Value;

constexpr std::uint32_t kServiceBase = (10u << 24) | (96u << 16) | 10u;
constexpr std::uint32_t kEndpointBase = (10u << 24) | (128u << 16) | 1u;
constexpr std::uint32_t kNodeBase = (192u << 24) | (168u << 16) | 1u;
constexpr std::uint32_t kSliceLimit = 100;  // --max-endpoints-per-slice

std::string dotted(std::uint32_t ip) {
  return cat(ip >> 24, '.', (ip >> 16) & 255, '.', (ip >> 8) & 255, '.', ip & 255);
}

Value object(std::initializer_list<std::pair<const char*, Value>> members) {
  Value out{Value::Object()};
  for (const auto& [key, value] : members) out.set(key, value);
  return out;
}

Value list(Value item) {
  Value::Array items;
  items.push_back(std::move(item));
  return Value(std::move(items));
}

Value make_node(std::uint32_t index) {
  const std::string name = cat("node-", index);
  const std::string cidr = cat(dotted(kEndpointBase - 1 + index * 256), "/24");
  return object(
      {{"metadata", object({{"name", Value(name)},
                            {"labels", object({{"kubernetes.io/hostname", Value(name)},
                                               {"topology.kubernetes.io/zone", Value(cat("zone-", index % 3))}})}})},
       {"spec", object({{"podCIDR", Value(cidr)}, {"podCIDRs", list(Value(cidr))}})},
       {"status", object({{"addresses", list(object({{"type", Value("InternalIP")},
                                                     {"address", Value(dotted(kNodeBase + index))}}))},
                          {"conditions", list(object({{"type", Value("Ready")}, {"status", Value("True")}}))}})}});
}

Value make_cidr() {
  return object({{"metadata", object({{"name", Value("kubernetes")}})},
                 {"spec", object({{"cidrs", list(Value("10.96.0.0/12"))}})}});
}

}  // namespace

Result<GenerateSpec> parse_generate(std::string_view text) {
  GenerateSpec spec;
  const std::vector<std::string_view> parts = base::split(text, ',');
  const auto number = [&](std::size_t i) {
    return i < parts.size() ? base::parse_number<std::uint32_t>(parts[i]) : std::optional<std::uint32_t>();
  };
  const auto services = number(0);
  const auto endpoints = number(1);
  const auto nodes = parts.size() == 3 ? number(2) : std::optional(spec.nodes);
  constexpr std::uint32_t kMostServices = (1u << 20) - 20;   // 10.96.0.0/12
  constexpr std::uint64_t kMostEndpoints = (1u << 23) - 10;  // 10.128.0.0/9
  if (!services || !endpoints || !nodes || *nodes == 0 || parts.size() > 3 || *services > kMostServices ||
      std::uint64_t{*services} * *endpoints > kMostEndpoints) {
    return Error(cat("\"", text, "\": SERVICES,ENDPOINTS[,NODES] expected, at most ", kMostServices, " services and ",
                     kMostEndpoints, " endpoints in all"));
  }
  spec.services = *services;
  spec.endpoints = *endpoints;
  spec.nodes = *nodes;
  return spec;
}

Value make_endpoint(std::string address, std::string node, std::string zone) {
  Value endpoint = object(
      {{"addresses", list(Value(std::move(address)))},
       {"conditions", object({{"ready", Value(true)}, {"serving", Value(true)}, {"terminating", Value(false)}})}});
  if (!node.empty()) endpoint.set("nodeName", Value(std::move(node)));
  if (!zone.empty()) endpoint.set("zone", Value(std::move(zone)));
  return endpoint;
}

Value make_slice(const SliceSpec& spec, std::uint32_t index, const Value::Array& endpoints, bool ipv6) {
  return object({{"metadata", object({{"name", Value(cat(spec.service, "-", index))},
                                      {"namespace", Value(spec.ns)},
                                      {"labels", object({{"kubernetes.io/service-name", Value(spec.service)},
                                                         {"endpointslice.kubernetes.io/managed-by",
                                                          Value("endpointslice-controller.k8s.io")}})}})},
                 {"addressType", Value(ipv6 ? "IPv6" : "IPv4")},
                 {"endpoints", Value(endpoints)},
                 {"ports", list(object({{"name", Value(spec.port_name)},
                                        {"protocol", Value(spec.protocol)},
                                        {"port", Value(int{spec.port})}}))}});
}

Value make_service(std::string ns, const std::string& name, std::string cluster_ip) {
  return object({{"metadata", object({{"name", Value(name)}, {"namespace", Value(std::move(ns))}})},
                 {"spec", object({{"clusterIP", Value(std::move(cluster_ip))},
                                  {"ports", list(object({{"name", Value("http")},
                                                         {"protocol", Value("TCP")},
                                                         {"port", Value(80)},
                                                         {"targetPort", Value(8080)}}))},
                                  {"selector", object({{"app", Value(name)}})}})}});
}

std::vector<Manifest> generate(const GenerateSpec& spec) {
  std::vector<Manifest> out;
  for (std::uint32_t i = 0; i < spec.nodes; ++i) out.push_back({Resource::Nodes, make_node(i)});
  out.push_back({Resource::ServiceCidrs, make_cidr()});
  for (std::uint32_t i = 0; i < spec.services; ++i) {
    const SliceSpec slice{.ns = cat("ns-", i % spec.namespaces), .service = cat("svc-", i)};
    out.push_back({Resource::Services, make_service(slice.ns, slice.service, dotted(kServiceBase + i))});
    for (std::uint32_t start = 0; start < spec.endpoints; start += kSliceLimit) {
      Value::Array endpoints;
      for (std::uint32_t k = start; k < std::min(start + kSliceLimit, spec.endpoints); ++k) {
        const std::uint32_t n = i * spec.endpoints + k;
        const std::uint32_t node = n % spec.nodes;
        endpoints.push_back(make_endpoint(dotted(kEndpointBase + n), cat("node-", node), cat("zone-", node % 3)));
      }
      out.push_back({Resource::EndpointSlices, make_slice(slice, start / kSliceLimit, endpoints, false)});
    }
  }
  return out;
}

}  // namespace fairlead::tests::apiserver
