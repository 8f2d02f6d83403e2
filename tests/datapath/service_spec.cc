#include "tests/datapath/service_spec.h"

#include <algorithm>

#include "base/strings.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using base::Value;
using net::Family;

constexpr const char* kNamespace = "default";

net::Ip numbered(Family family, std::string_view v4_stem, std::string_view v6_stem, unsigned number) {
  return *net::Ip::parse(family == Family::V4 ? cat(v4_stem, number) : cat(v6_stem, number));
}

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return result;
}

std::vector<Family> families_of(const ServiceSpec& service, Family run) {
  if (service.families == Families::Both) return {Family::V4, Family::V6};
  return {run};
}

std::string api_name(const ServiceSpec& service, const ServiceAddresses& addresses) {
  return cat(service.name, "-", addresses.number);
}

Value texts(const std::vector<net::Ip>& ips) {
  Value::Array list;
  for (const net::Ip& ip : ips) list.emplace_back(ip.to_string());
  return Value(std::move(list));
}

Value texts(const std::vector<std::string>& strings) {
  Value::Array list;
  for (const std::string& text : strings) list.emplace_back(text);
  return Value(std::move(list));
}

std::string_view type_name(Exposure exposure) {
  switch (exposure) {
    case Exposure::ClusterIp: return "ClusterIP";
    case Exposure::NodePort: return "NodePort";
    case Exposure::LoadBalancer: return "LoadBalancer";
  }
  return "";
}

Value service_ports(const ServiceSpec& service, const ServiceAddresses& addresses) {
  Value::Array list;
  for (std::size_t i = 0; i < service.ports.size(); ++i) {
    const PortSpec& port = service.ports[i];
    Value item;
    if (!port.name.empty()) item.set("name", Value(port.name));
    item.set("protocol", Value(upper(to_string(port.transport)))).set("port", Value(int{port.port}));
    item.set("targetPort", Value(int{port.target}));
    if (service.exposure != Exposure::ClusterIp)
      item.set("nodePort", Value(int{addresses.node_port(service.one_node_port ? 0 : i)}));
    list.push_back(std::move(item));
  }
  return Value(std::move(list));
}

Result<Value> source_ranges(const ServiceSpec& service, Family run, Testbed& testbed) {
  Value::Array list;
  for (const std::string& entry : service.allowed) {
    const std::string name(base::trim(entry));
    if (name.find('/') != name.npos) {
      list.emplace_back(entry);
      continue;
    }
    const Place* place = TRY(testbed.place(name));
    for (const Family family : families_of(service, run)) {
      std::string text = entry;
      text.replace(text.find(name), name.size(),
                   cat(place->ip(family).to_string(), family == Family::V4 ? "/32" : "/128"));
      list.emplace_back(text);
    }
  }
  return Value(std::move(list));
}

Value load_balancer_status(const ServiceSpec& service, const ServiceAddresses& addresses, Family run) {
  Value::Array ingress;
  for (const Family family : families_of(service, run)) {
    for (unsigned i = 0; i < service.load_balancer_ips; ++i) {
      Value entry;
      entry.set("ip", Value(addresses.load_balancer_ip(family, i).to_string()));
      if (!service.load_balancer_mode.empty()) entry.set("ipMode", Value(service.load_balancer_mode));
      ingress.push_back(std::move(entry));
    }
  }
  return Value().set("loadBalancer", Value().set("ingress", Value(std::move(ingress))));
}

void set_addresses(Value& spec, const ServiceSpec& service, const ServiceAddresses& addresses, Family run) {
  std::vector<net::Ip> cluster_ips;
  std::vector<net::Ip> external_ips;
  Value::Array ip_families;
  for (const Family family : families_of(service, run)) {
    cluster_ips.push_back(addresses.cluster_ip(family));
    external_ips.push_back(addresses.external_ip(family));
    ip_families.emplace_back(net::to_string(family));
  }
  spec.set("ipFamilies", Value(std::move(ip_families)));
  if (service.headless) {
    spec.set("clusterIP", Value("None")).set("clusterIPs", texts({"None"}));
  } else {
    spec.set("clusterIP", Value(cluster_ips.front().to_string())).set("clusterIPs", texts(cluster_ips));
  }
  if (service.external_ip) spec.set("externalIPs", texts(external_ips));
}

Result<Value> service_object(const ServiceSpec& service, const ServiceAddresses& addresses, Family run,
                             Testbed& testbed) {
  Value spec;
  if (!service.external_name.empty()) {
    spec.set("type", Value("ExternalName")).set("externalName", Value(service.external_name));
  } else {
    spec.set("type", Value(type_name(service.exposure)));
    set_addresses(spec, service, addresses, run);
  }
  spec.set("ports", service_ports(service, addresses));
  if (service.external_local) spec.set("externalTrafficPolicy", Value("Local"));
  if (service.internal_local) spec.set("internalTrafficPolicy", Value("Local"));
  if (service.health_check) spec.set("healthCheckNodePort", Value(int{addresses.health_check_node_port()}));
  if (!service.allowed.empty()) {
    spec.set("loadBalancerSourceRanges", TRY(source_ranges(service, run, testbed)));
  }
  if (service.affinity_seconds != 0) {
    Value client_ip;
    client_ip.set("timeoutSeconds", Value(std::uint64_t{service.affinity_seconds}));
    spec.set("sessionAffinity", Value("ClientIP"))
        .set("sessionAffinityConfig", Value().set("clientIP", std::move(client_ip)));
  }
  Value metadata;
  metadata.set("namespace", Value(kNamespace)).set("name", Value(api_name(service, addresses)));
  if (service.of_another_proxy) {
    metadata.set("labels", Value().set("service.kubernetes.io/service-proxy-name", Value("another")));
  }
  Value object;
  object.set("apiVersion", Value("v1"))
      .set("kind", Value("Service"))
      .set("metadata", std::move(metadata))
      .set("spec", std::move(spec));
  if (service.exposure == Exposure::LoadBalancer) {
    object.set("status", load_balancer_status(service, addresses, run));
  }
  return object;
}

Value hints(const std::vector<std::string>& names) {
  Value::Array list;
  for (const std::string& name : names) list.push_back(Value().set("name", Value(name)));
  return Value(std::move(list));
}

Result<Value> slice_endpoints(const SliceSpec& slice, Family family, Testbed& testbed) {
  Value::Array list;
  for (const EndpointSpec& endpoint : slice.endpoints) {
    const Place* place = TRY(testbed.place(endpoint.place));
    Value conditions{Value::Object{}};
    if (endpoint.ready) conditions.set("ready", Value(*endpoint.ready));
    if (endpoint.serving) conditions.set("serving", Value(*endpoint.serving));
    if (endpoint.terminating) conditions.set("terminating", Value(*endpoint.terminating));
    const std::string address = slice.fqdn ? place->name + ".example.com" : place->ip(family).to_string();
    Value item;
    item.set("addresses", texts({address})).set("conditions", std::move(conditions));
    if (place->node != 0) item.set("nodeName", Value(cat("node", place->node)));
    Value told{Value::Object{}};
    if (!endpoint.zones.empty()) told.set("forZones", hints(endpoint.zones));
    if (!endpoint.nodes.empty()) told.set("forNodes", hints(endpoint.nodes));
    if (!endpoint.zones.empty() || !endpoint.nodes.empty()) item.set("hints", std::move(told));
    list.push_back(std::move(item));
  }
  return Value(std::move(list));
}

Value slice_ports(const ServiceSpec& service, const SliceSpec& slice) {
  Value::Array list;
  for (const PortSpec& port : service.ports) {
    const auto own = slice.targets.find(port.name);
    Value item;
    if (!port.name.empty()) item.set("name", Value(port.name));
    item.set("protocol", Value(upper(to_string(port.transport))))
        .set("port", Value(int{own == slice.targets.end() ? port.target : own->second}));
    list.push_back(std::move(item));
  }
  return Value(std::move(list));
}

Value service_cidr(const std::string& name, const std::vector<std::string>& cidrs) {
  Value object;
  object.set("apiVersion", Value("networking.k8s.io/v1"))
      .set("kind", Value("ServiceCIDR"))
      .set("metadata", Value().set("name", Value(name)))
      .set("spec", Value().set("cidrs", texts(cidrs)));
  return object;
}

}  // namespace

const PortSpec* ServiceSpec::port(const std::string& port_name) const {
  for (const PortSpec& candidate : ports) {
    if (candidate.name == port_name || (port_name.empty() && ports.size() == 1)) return &candidate;
  }
  return nullptr;
}

std::vector<std::uint16_t> ServiceSpec::targets_of(const std::string& endpoint, const PortSpec& port) const {
  std::vector<std::uint16_t> ports_of_it;
  for (const SliceSpec& slice : slices) {
    const auto is_it = [&](const EndpointSpec& candidate) { return candidate.place == endpoint; };
    if (std::none_of(slice.endpoints.begin(), slice.endpoints.end(), is_it)) continue;
    const auto own = slice.targets.find(port.name);
    ports_of_it.push_back(own == slice.targets.end() ? port.target : own->second);
  }
  return ports_of_it;
}

EndpointSpec EndpointSpec::for_zones(std::vector<std::string> names) const {
  EndpointSpec hinted = *this;
  hinted.zones = std::move(names);
  return hinted;
}
EndpointSpec EndpointSpec::for_nodes(std::vector<std::string> names) const {
  EndpointSpec hinted = *this;
  hinted.nodes = std::move(names);
  return hinted;
}
EndpointSpec ready(std::string place) { return {.place = std::move(place)}; }
EndpointSpec not_ready(std::string place) { return {.place = std::move(place), .ready = false}; }
EndpointSpec serving_while_terminating(std::string place) {
  return {.place = std::move(place), .ready = false, .serving = true, .terminating = true};
}
EndpointSpec no_longer_serving(std::string place) {
  return {.place = std::move(place), .ready = false, .serving = false, .terminating = true};
}
EndpointSpec without_conditions(std::string place) { return {.place = std::move(place), .ready = std::nullopt}; }

net::Ip ServiceAddresses::cluster_ip(Family family) const {
  const unsigned range = second_range ? 97 : 96;
  if (family == Family::V6) return *net::Ip::parse(cat("fd00:10:", range, "::", number + 1));  // up to 9999
  return *net::Ip::parse(cat("10.", range, ".", number / 250, ".", number % 250 + 1));
}

net::Ip unallocated_cluster_ip(Family family) {
  return *net::Ip::parse(family == Family::V4 ? "10.96.255.254" : "fd00:10:96::fffe");
}

net::Ip ServiceAddresses::external_ip(Family family) const {
  return numbered(family, "198.51.100.", "fd00:198:51:100::", number % 250 + 1);
}

net::Ip ServiceAddresses::load_balancer_ip(Family family, unsigned which) const {
  return which == 0 ? numbered(family, "192.0.2.", "fd00:192:0:2::", number % 250 + 1)
                    : numbered(family, "203.0.113.", "fd00:203:0:113::", number % 250 + 1);
}

std::uint16_t ServiceAddresses::node_port(std::size_t port_index) const {
  return static_cast<std::uint16_t>(30000 + number % 480 * 5 + port_index);
}

std::uint16_t ServiceAddresses::health_check_node_port() const {
  return static_cast<std::uint16_t>(32500 + number % 250);
}

Result<std::vector<base::Value>> manifests(const ServiceSpec& service, const ServiceAddresses& addresses, Family family,
                                           Testbed& testbed) {
  std::vector<Value> objects{TRY(service_object(service, addresses, family, testbed))};
  const std::string name = api_name(service, addresses);
  for (const Family of : families_of(service, family)) {
    for (std::size_t i = 0; i < service.slices.size(); ++i) {
      const SliceSpec& spec = service.slices[i];
      Value labels = Value().set("kubernetes.io/service-name", Value(name));
      if (spec.headless) labels.set("service.kubernetes.io/headless", Value(""));
      Value metadata;
      metadata.set("namespace", Value(kNamespace))
          .set("name", Value(cat(name, "-", of == Family::V4 ? "v4-" : "v6-", i)))
          .set("labels", std::move(labels));
      Value slice;
      slice.set("apiVersion", Value("discovery.k8s.io/v1"))
          .set("kind", Value("EndpointSlice"))
          .set("metadata", std::move(metadata))
          .set("addressType", spec.fqdn ? Value("FQDN") : Value(net::to_string(of)))
          .set("ports", slice_ports(service, spec))
          .set("endpoints", TRY(slice_endpoints(spec, of, testbed)));
      objects.push_back(std::move(slice));
    }
  }
  return objects;
}

std::vector<base::Value> cluster_manifests(const ClusterSpec& cluster, Testbed& testbed) {
  std::vector<Value> objects;
  for (const Place* place : testbed.places()) {
    if (place->name != cat("node", place->node)) continue;
    Value::Array addresses;
    for (const Family family : {Family::V4, Family::V6}) {
      addresses.push_back(
          Value().set("type", Value("InternalIP")).set("address", Value(place->ip(family).to_string())));
    }
    Value metadata;
    metadata.set("name", Value(place->name));
    const auto zone = cluster.zones.find(place->node);
    if (zone != cluster.zones.end()) {
      metadata.set("labels", Value().set("topology.kubernetes.io/zone", Value(zone->second)));
    }
    const std::vector<std::string> cidrs{cat("10.244.", place->node, ".0/24"),
                                         cat("fd00:10:244:", place->node, "::/64")};
    Value object;
    object.set("apiVersion", Value("v1"))
        .set("kind", Value("Node"))
        .set("metadata", std::move(metadata))
        .set("spec", Value().set("podCIDRs", texts(cidrs)))
        .set("status", Value().set("addresses", Value(std::move(addresses))));
    objects.push_back(std::move(object));
  }
  std::string zones;
  for (const auto& [node, zone] : cluster.zones) zones += cat(node, zone);
  objects.push_back(service_cidr("kubernetes", {"10.96.0.0/16", "fd00:10:96::/112"}));
  if (cluster.second_range) objects.push_back(service_cidr("second", {"10.97.0.0/16", "fd00:10:97::/112"}));
  // Nobody's; another one whenever a zone changes, so that every agent has a change to report.
  objects.push_back(service_cidr("zones", {cat("100.64.", std::hash<std::string>()(zones) % 256, ".0/24")}));
  return objects;
}

std::string list_document(std::vector<base::Value> objects) {
  Value list;
  list.set("apiVersion", Value("v1")).set("kind", Value("List")).set("items", Value(std::move(objects)));
  return base::to_json(list, base::JsonStyle::Indented);
}

}  // namespace fairlead::testbed
