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

bool has(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
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
    if (service.exposure != Exposure::ClusterIp) item.set("nodePort", Value(int{addresses.node_port(i)}));
    list.push_back(std::move(item));
  }
  return Value(std::move(list));
}

Value service_object(const ServiceSpec& service, const ServiceAddresses& addresses, Family run) {
  std::vector<net::Ip> cluster_ips;
  std::vector<net::Ip> external_ips;
  Value::Array ip_families;
  Value::Array ingress;
  for (const Family family : families_of(service, run)) {
    cluster_ips.push_back(addresses.cluster_ip(family));
    external_ips.push_back(addresses.external_ip(family));
    ip_families.emplace_back(net::to_string(family));
    ingress.push_back(Value().set("ip", Value(addresses.load_balancer_ip(family).to_string())));
  }
  Value spec;
  spec.set("type", Value(type_name(service.exposure)))
      .set("clusterIP", Value(cluster_ips.front().to_string()))
      .set("clusterIPs", texts(cluster_ips))
      .set("ipFamilies", Value(std::move(ip_families)))
      .set("ports", service_ports(service, addresses));
  if (service.external_ip) spec.set("externalIPs", texts(external_ips));
  Value object;
  object.set("apiVersion", Value("v1"))
      .set("kind", Value("Service"))
      .set("metadata", Value().set("namespace", Value(kNamespace)).set("name", Value(api_name(service, addresses))))
      .set("spec", std::move(spec));
  if (service.exposure == Exposure::LoadBalancer) {
    object.set("status", Value().set("loadBalancer", Value().set("ingress", Value(std::move(ingress)))));
  }
  return object;
}

Result<Value> slice_endpoints(const SliceSpec& slice, Family family, Testbed& testbed) {
  Value::Array list;
  for (const bool ready : {true, false}) {
    for (const std::string& name : ready ? slice.ready : slice.not_ready) {
      const Place* place = TRY(testbed.place(name));
      Value item;
      item.set("addresses", texts({place->ip(family)}))
          .set("conditions", Value().set("ready", Value(ready)))
          .set("nodeName", Value(cat("node", place->node)));
      list.push_back(std::move(item));
    }
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

}  // namespace

const PortSpec* ServiceSpec::port(const std::string& port_name) const {
  for (const PortSpec& candidate : ports) {
    if (candidate.name == port_name || (port_name.empty() && ports.size() == 1)) return &candidate;
  }
  return nullptr;
}

std::uint16_t ServiceSpec::target_of(const std::string& endpoint, const PortSpec& port) const {
  for (const SliceSpec& slice : slices) {
    if (!has(slice.ready, endpoint)) continue;
    const auto own = slice.targets.find(port.name);
    return own == slice.targets.end() ? port.target : own->second;
  }
  return 0;
}

net::Ip ServiceAddresses::cluster_ip(Family family) const {
  if (family == Family::V6) return *net::Ip::parse(cat("fd00:10:96::", number + 1));  // up to 9999
  return *net::Ip::parse(cat("10.96.", number / 250, ".", number % 250 + 1));
}

net::Ip ServiceAddresses::external_ip(Family family) const {
  return numbered(family, "198.51.100.", "fd00:198:51:100::", number % 250 + 1);
}

net::Ip ServiceAddresses::load_balancer_ip(Family family) const {
  return numbered(family, "192.0.2.", "fd00:192:0:2::", number % 250 + 1);
}

std::uint16_t ServiceAddresses::node_port(std::size_t port_index) const {
  return static_cast<std::uint16_t>(30000 + number % 500 * 5 + port_index);
}

Result<std::vector<base::Value>> manifests(const ServiceSpec& service, const ServiceAddresses& addresses, Family family,
                                           Testbed& testbed) {
  std::vector<Value> objects{service_object(service, addresses, family)};
  const std::string name = api_name(service, addresses);
  for (const Family of : families_of(service, family)) {
    for (std::size_t i = 0; i < service.slices.size(); ++i) {
      Value metadata;
      metadata.set("namespace", Value(kNamespace))
          .set("name", Value(cat(name, "-", of == Family::V4 ? "v4-" : "v6-", i)))
          .set("labels", Value().set("kubernetes.io/service-name", Value(name)));
      Value slice;
      slice.set("apiVersion", Value("discovery.k8s.io/v1"))
          .set("kind", Value("EndpointSlice"))
          .set("metadata", std::move(metadata))
          .set("addressType", Value(net::to_string(of)))
          .set("ports", slice_ports(service, service.slices[i]))
          .set("endpoints", TRY(slice_endpoints(service.slices[i], of, testbed)));
      objects.push_back(std::move(slice));
    }
  }
  return objects;
}

std::vector<base::Value> node_manifests(Testbed& testbed) {
  std::vector<Value> objects;
  for (const Place* place : testbed.places()) {
    if (place->name != cat("node", place->node)) continue;
    Value::Array addresses;
    for (const Family family : {Family::V4, Family::V6}) {
      addresses.push_back(
          Value().set("type", Value("InternalIP")).set("address", Value(place->ip(family).to_string())));
    }
    Value::Array cidrs{Value(cat("10.244.", place->node, ".0/24")), Value(cat("fd00:10:244:", place->node, "::/64"))};
    Value object;
    object.set("apiVersion", Value("v1"))
        .set("kind", Value("Node"))
        .set("metadata", Value().set("name", Value(place->name)))
        .set("spec", Value().set("podCIDRs", Value(std::move(cidrs))))
        .set("status", Value().set("addresses", Value(std::move(addresses))));
    objects.push_back(std::move(object));
  }
  return objects;
}

std::string list_document(std::vector<base::Value> objects) {
  Value list;
  list.set("apiVersion", Value("v1")).set("kind", Value("List")).set("items", Value(std::move(objects)));
  return base::to_json(list, base::JsonStyle::Indented);
}

}  // namespace fairlead::testbed
