#include "tests/apiserver/generate.h"

#include <algorithm>

#include "base/strings.h"
#include "tests/apiserver/mix.h"

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

Value list(std::vector<std::string> texts) {
  Value::Array items;
  for (std::string& text : texts) items.emplace_back(std::move(text));
  return Value(std::move(items));
}

Value make_node(const GenerateSpec& spec, std::uint32_t index) {
  const std::string name = cat(spec.node_stem, index);
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

Value make_cidr(bool mixed) {
  std::vector<std::string> cidrs{"10.96.0.0/12"};
  if (mixed) cidrs.emplace_back("fd00:10:96::/108");
  return object(
      {{"metadata", object({{"name", Value("kubernetes")}})}, {"spec", object({{"cidrs", list(std::move(cidrs))}})}});
}

// The slices of service `index` in one family.
void add_slices(std::vector<Manifest>& out, const GenerateSpec& spec, std::uint32_t index, bool ipv6) {
  const std::string service = cat("svc-", index);
  const SliceSpec slice{.ns = cat("ns-", index % spec.namespaces), .service = service};
  for (std::uint32_t start = 0; start < spec.endpoints; start += kSliceLimit) {
    Value::Array endpoints;
    for (std::uint32_t k = start; k < std::min(start + kSliceLimit, spec.endpoints); ++k) {
      const std::uint32_t n = index * spec.endpoints + k;
      const std::uint32_t node = n % spec.nodes;
      endpoints.push_back(make_endpoint(ipv6 ? mixed_endpoint6(n).to_string() : dotted(kEndpointBase + n),
                                        cat(spec.node_stem, node), cat("zone-", node % 3)));
    }
    Value made = make_slice(slice, start / kSliceLimit, endpoints, ipv6);
    if (ipv6) member(member(made, "metadata"), "name") = Value(cat(service, "-v6-", start / kSliceLimit));
    out.push_back({Resource::EndpointSlices, std::move(made)});
  }
}

}  // namespace

Result<GenerateSpec> parse_generate(std::string_view text) {
  GenerateSpec spec;
  std::vector<std::string_view> parts = base::split(text, ',');
  spec.mixed = parts.back() == "mixed";
  if (spec.mixed) parts.pop_back();
  const auto number = [&](std::size_t i) {
    return i < parts.size() ? base::parse_number<std::uint32_t>(parts[i]) : std::optional<std::uint32_t>();
  };
  const auto services = number(0);
  const auto endpoints = number(1);
  const auto nodes = parts.size() == 3 ? number(2) : std::optional(spec.nodes);
  const std::uint32_t most_services = spec.mixed ? kMostMixed : (1u << 20) - 20;  // 10.96.0.0/12
  constexpr std::uint64_t kMostEndpoints = (1u << 23) - 10;                       // 10.128.0.0/9
  if (!services || !endpoints || !nodes || *nodes == 0 || parts.size() > 3 || *services > most_services ||
      std::uint64_t{*services} * *endpoints > kMostEndpoints) {
    return Error(cat("\"", text, "\": SERVICES,ENDPOINTS[,NODES][,mixed] expected, at most ", most_services,
                     " services and ", kMostEndpoints, " endpoints in all"));
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

void mix_in(Value& service, std::uint32_t index) {
  Value& spec = member(service, "spec");
  const std::string v4 = *spec["clusterIP"].as_string();
  spec.set("clusterIPs", list(std::vector<std::string>{v4, mixed_cluster_ip6(index).to_string()}));
  spec.set("ipFamilies", list(std::vector<std::string>{"IPv4", "IPv6"}));
  spec.set("ipFamilyPolicy", Value("RequireDualStack"));
  const Mix mix = mix_of(index);
  if (mix == Mix::NodePort || mix == Mix::LocalPolicy) {
    spec.set("type", Value("NodePort"));
    member(spec, "ports").as_array()->front().set("nodePort", Value(int{mixed_node_port(index)}));
  }
  if (mix == Mix::LocalPolicy) spec.set("externalTrafficPolicy", Value("Local"));
  if (mix == Mix::Affinity) spec.set("sessionAffinity", Value("ClientIP"));
  if (mix == Mix::SourceRanges) {
    std::vector<std::string> ranges;
    for (const net::Prefix& range : mixed_source_ranges()) ranges.push_back(range.to_string());
    spec.set("type", Value("LoadBalancer"));
    spec.set("allocateLoadBalancerNodePorts", Value(false));
    spec.set("loadBalancerSourceRanges", list(std::move(ranges)));
    Value::Array ingress;
    for (const net::Family family : {net::Family::V4, net::Family::V6}) {
      ingress.push_back(object({{"ip", Value(mixed_load_balancer_ip(index, family).to_string())}}));
    }
    service.set("status", object({{"loadBalancer", object({{"ingress", Value(std::move(ingress))}})}}));
  }
}

std::vector<Manifest> generate(const GenerateSpec& spec) {
  std::vector<Manifest> out;
  for (std::uint32_t i = 0; i < spec.nodes; ++i) out.push_back({Resource::Nodes, make_node(spec, i)});
  out.push_back({Resource::ServiceCidrs, make_cidr(spec.mixed)});
  for (std::uint32_t i = 0; i < spec.services; ++i) {
    Value service = make_service(cat("ns-", i % spec.namespaces), cat("svc-", i), dotted(kServiceBase + i));
    if (spec.mixed) mix_in(service, i);
    out.push_back({Resource::Services, std::move(service)});
    add_slices(out, spec, i, false);
    if (spec.mixed) add_slices(out, spec, i, true);
  }
  return out;
}

}  // namespace fairlead::tests::apiserver
