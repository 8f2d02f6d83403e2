#include "tests/chaos/objects.h"

#include <string>
#include <utility>

namespace fairlead::tests::chaos {
namespace {

using base::Value;

template <typename Items, typename Text>
Value texts(const Items& items, Text text) {
  Value::Array out;
  for (const auto& item : items) out.emplace_back(text(item));
  return Value(std::move(out));
}

Value addresses(const std::vector<net::Ip>& ips) {
  return texts(ips, [](const net::Ip& ip) { return ip.to_string(); });
}

Value prefixes(const std::vector<net::Prefix>& list) {
  return texts(list, [](const net::Prefix& prefix) { return prefix.to_string(); });
}

Value metadata(const kube::Meta& meta, Value labels) {
  Value out;
  out.set("name", Value(meta.key.name));
  if (!meta.key.ns.empty()) out.set("namespace", Value(meta.key.ns));
  out.set("uid", Value(meta.uid));
  if (!labels.is_null()) out.set("labels", std::move(labels));
  return out;
}

Value document(const char* api_version, const char* kind, Value meta) {
  Value out;
  out.set("apiVersion", Value(api_version)).set("kind", Value(kind)).set("metadata", std::move(meta));
  return out;
}

const char* policy(kube::TrafficPolicy policy) { return policy == kube::TrafficPolicy::Local ? "Local" : "Cluster"; }

Value service_ports(const std::vector<kube::ServicePort>& ports) {
  Value::Array out;
  for (const kube::ServicePort& port : ports) {
    Value item;
    if (!port.name.empty()) item.set("name", Value(port.name));
    item.set("protocol", Value(kube::to_string(port.protocol))).set("port", Value(int{port.port}));
    if (port.node_port != 0) item.set("nodePort", Value(int{port.node_port}));
    out.push_back(std::move(item));
  }
  return Value(std::move(out));
}

Value ingress(const ServiceDraft& draft) {
  Value::Array out;
  for (const net::Ip& ip : draft.service.load_balancer_ips) out.push_back(Value().set("ip", Value(ip.to_string())));
  for (const net::Ip& ip : draft.proxied_ips) {
    out.push_back(Value().set("ip", Value(ip.to_string())).set("ipMode", Value("Proxy")));
  }
  return Value(std::move(out));
}

Value names(const std::vector<std::string>& list) {
  Value::Array out;
  for (const std::string& name : list) out.push_back(Value().set("name", Value(name)));
  return Value(std::move(out));
}

Value endpoint_value(const kube::Endpoint& endpoint) {
  Value conditions{Value::Object()};
  if (endpoint.ready) conditions.set("ready", Value(*endpoint.ready));
  if (endpoint.serving) conditions.set("serving", Value(*endpoint.serving));
  if (endpoint.terminating) conditions.set("terminating", Value(*endpoint.terminating));
  Value out;
  out.set("addresses", addresses({endpoint.address})).set("conditions", std::move(conditions));
  const kube::Topology& topology = *endpoint.topology;
  if (!topology.node_name.empty()) out.set("nodeName", Value(topology.node_name));
  Value hints;
  if (!topology.zone_hints.empty()) hints.set("forZones", names(topology.zone_hints));
  if (!topology.node_hints.empty()) hints.set("forNodes", names(topology.node_hints));
  if (!hints.is_null()) out.set("hints", std::move(hints));
  return out;
}

}  // namespace

Value to_value(const ServiceDraft& draft) {
  const kube::Service& service = draft.service;
  const bool affinity = service.session_affinity == kube::SessionAffinity::ClientIp;
  Value spec;
  spec.set("type", Value(kube::to_string(service.type)));
  if (service.headless) {
    spec.set("clusterIP", Value("None")).set("clusterIPs", Value(Value::Array{Value("None")}));
  } else if (!service.cluster_ips.empty()) {
    spec.set("clusterIP", Value(service.cluster_ips.front().to_string()));
    spec.set("clusterIPs", addresses(service.cluster_ips));
  }
  if (service.type == kube::ServiceType::ExternalName) spec.set("externalName", Value("elsewhere.example"));
  spec.set("ipFamilies",
           texts(service.ip_families, [](net::Family family) { return std::string(net::to_string(family)); }))
      .set("ports", service_ports(service.ports))
      .set("externalIPs", addresses(service.external_ips))
      .set("loadBalancerSourceRanges", prefixes(service.load_balancer_source_ranges))
      .set("internalTrafficPolicy", Value(policy(service.internal_traffic_policy)))
      .set("externalTrafficPolicy", Value(policy(service.external_traffic_policy)))
      .set("sessionAffinity", Value(affinity ? "ClientIP" : "None"))
      .set(
          "sessionAffinityConfig",
          Value().set("clientIP", Value().set("timeoutSeconds", Value(std::int64_t{service.affinity_timeout_seconds}))))
      .set("publishNotReadyAddresses", Value(service.publish_not_ready_addresses));
  if (service.health_check_node_port != 0) spec.set("healthCheckNodePort", Value(int{service.health_check_node_port}));
  Value labels;
  if (service.has_proxy_name_label) labels.set(std::string(kube::kServiceProxyNameLabel), Value("another-proxy"));
  Value out = document("v1", "Service", metadata(service.meta, std::move(labels)));
  out.set("spec", std::move(spec));
  out.set("status", Value().set("loadBalancer", Value().set("ingress", ingress(draft))));
  return out;
}

Value to_value(const kube::EndpointSlice& slice) {
  Value labels{Value::Object()};
  if (!slice.service_name.empty()) labels.set(std::string(kube::kServiceNameLabel), Value(slice.service_name));
  if (slice.has_headless_label) labels.set(std::string(kube::kHeadlessLabel), Value(""));
  Value meta = metadata(slice.meta, std::move(labels));
  if (!slice.last_change_trigger_time.empty()) {
    meta.set("annotations",
             Value().set(std::string(kube::kLastChangeTriggerAnnotation), Value(slice.last_change_trigger_time)));
  }
  Value::Array ports;
  for (const kube::EndpointPort& port : slice.ports) {
    Value item;
    item.set("name", Value(port.name)).set("protocol", Value(kube::to_string(port.protocol)));
    if (port.port != 0) item.set("port", Value(int{port.port}));
    ports.push_back(std::move(item));
  }
  Value::Array endpoints;
  for (const kube::Endpoint& endpoint : slice.endpoints) endpoints.push_back(endpoint_value(endpoint));
  Value out = document("discovery.k8s.io/v1", "EndpointSlice", std::move(meta));
  out.set("addressType", Value(slice.address_type == kube::AddressType::Ipv6 ? "IPv6" : "IPv4"))
      .set("ports", Value(std::move(ports)))
      .set("endpoints", Value(std::move(endpoints)));
  return out;
}

Value to_value(const kube::Node& node) {
  Value labels{Value::Object()};
  for (const auto& [key, value] : node.labels) labels.set(key, Value(value));
  Value::Array list;
  for (const net::Ip& ip : node.internal_ips) {
    list.push_back(Value().set("type", Value("InternalIP")).set("address", Value(ip.to_string())));
  }
  Value out = document("v1", "Node", metadata(node.meta, std::move(labels)));
  out.set("spec", Value().set("podCIDRs", prefixes(node.pod_cidrs)))
      .set("status", Value().set("addresses", Value(std::move(list))));
  return out;
}

Value to_value(const kube::ServiceCidr& cidr) {
  Value out = document("networking.k8s.io/v1", "ServiceCIDR", metadata(cidr.meta, {}));
  out.set("spec", Value().set("cidrs", prefixes(cidr.cidrs)));
  return out;
}

}  // namespace fairlead::tests::chaos
