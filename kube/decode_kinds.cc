// Metadata, EndpointSlice, Endpoints, Node, ServiceCIDR; rules of kubernetes v1.36 pkg/proxy/endpointslicecache.go.
#include "kube/decode_kinds.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace fairlead::kube {
namespace {

constexpr std::string_view kSkipMirrorLabel = "endpointslice.kubernetes.io/skip-mirror";

// RFC 1123 subdomain: what an API server takes as a name.
bool well_formed_name(std::string_view name) {
  constexpr std::size_t kLongest = 253;
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= kLongest && alphanumeric(name.front()) && alphanumeric(name.back()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return alphanumeric(c) || c == '-' || c == '.'; });
}

Status check_name(const Field& field, const std::string& name) {
  if (well_formed_name(name)) return {};
  if (name.empty()) return field.error("is missing");
  return field.not_a("a name (lower-case letters, digits, '-' and '.', at most 253)");
}

Status check_string_map(const Field& metadata, std::string_view name) {
  const Field map = metadata.member(name);
  TRY(map.object({}));
  if (map.absent() || !metadata.strict()) return {};
  for (const auto& [key, ignored] : *map.value().as_object()) {
    const Field entry = map.member(key);
    if (!entry.absent() && entry.value().as_string() == nullptr) return entry.not_a("a string (quote it)");
  }
  return {};
}

Status check_family(const Field& address, AddressType type, const net::Ip& ip) {
  if (ip.is_unspecified()) return address.not_a("the address of an endpoint");
  if (type == AddressType::Ipv4 && !ip.is_v4()) return address.not_a("an IPv4 address, as addressType says");
  if (type == AddressType::Ipv6 && ip.is_v4()) return address.not_a("an IPv6 address, as addressType says");
  return {};
}

// addresses[0], the only one the API gives a meaning to; nothing when it is no address of the slice's family.
Result<std::optional<net::Ip>> decode_address(const Field& endpoint, AddressType type) {
  std::optional<net::Ip> out;
  const Field addresses = endpoint.member("addresses");
  bool first = true;
  const auto read_item = [&](const Field& item) -> Status {
    if (!first || type == AddressType::Fqdn) {
      first = false;
      TRY(item.text());
      return {};
    }
    first = false;
    out = TRY(item.ip());
    if (!out) return item.strict() ? item.not_a("an IPv4 or IPv6 address") : Status();
    Status fits = check_family(item, type, *out);
    if (!fits && item.strict()) return fits;
    if (!fits) out.reset();
    return {};
  };
  TRY(addresses.each(read_item));
  if (first && endpoint.strict()) return addresses.error("is missing (one address)");
  return out;
}

Result<std::vector<std::string>> decode_hint_names(const Field& hints, std::string_view list) {
  std::vector<std::string> out;
  const Field names = hints.member(list);
  const auto read_item = [&](const Field& item) -> Status {
    TRY(item.object({"name"}));
    const Field name = item.member("name");
    out.push_back(TRY(name.text()));
    return {};
  };
  TRY(names.each(read_item));
  return out;
}

Result<std::optional<Endpoint>> decode_endpoint(const Field& item, AddressType type) {
  TRY(item.object(
      {"addresses", "conditions", "hostname", "targetRef", "deprecatedTopology", "nodeName", "zone", "hints"}));
  const Field conditions = item.member("conditions");
  TRY(conditions.object({"ready", "serving", "terminating"}));
  const Field ready = conditions.member("ready");
  const Field serving = conditions.member("serving");
  const Field terminating = conditions.member("terminating");
  const Field node_name = item.member("nodeName");
  const Field hints = item.member("hints");
  TRY(hints.object({"forZones", "forNodes"}));

  Endpoint out;
  out.ready = TRY(ready.boolean());
  out.serving = TRY(serving.boolean());
  out.terminating = TRY(terminating.boolean());
  Topology topology;
  topology.node_name = TRY(node_name.text());
  topology.zone_hints = TRY(decode_hint_names(hints, "forZones"));
  topology.node_hints = TRY(decode_hint_names(hints, "forNodes"));
  out.topology = std::move(topology);
  const auto address = TRY(decode_address(item, type));
  if (!address) return std::optional<Endpoint>();
  out.address = *address;
  return std::optional<Endpoint>(std::move(out));
}

Result<std::vector<EndpointPort>> decode_endpoint_ports(const Field& list) {
  std::vector<EndpointPort> out;
  const auto read_item = [&](const Field& item) -> Status {
    TRY(item.object({"name", "protocol", "port", "appProtocol"}));
    const Field name = item.member("name");
    const Field protocol = item.member("protocol");
    const Field number = item.member("port");
    EndpointPort port;
    port.name = TRY(name.text());
    const auto known_protocol = TRY(protocol.choice(kProtocols, Protocol::Tcp));
    port.port = TRY(item.strict() ? number.port() : number.optional_port());
    if (!known_protocol) return {};
    port.protocol = *known_protocol;
    const bool twice = std::any_of(out.begin(), out.end(), [&](const EndpointPort& other) {
      return other.name == port.name && other.protocol == port.protocol;
    });
    if (twice && item.strict()) return name.error(base::cat("\"", port.name, "\" is the name of another port too"));
    out.push_back(std::move(port));
    return {};
  };
  TRY(list.each(read_item));
  return out;
}

Result<std::vector<net::Prefix>> decode_prefixes(const Field& list) {
  std::vector<net::Prefix> out;
  const auto read_item = [&](const Field& item) -> Status {
    if (const auto prefix = TRY(item.prefix())) out.push_back(*prefix);
    return {};
  };
  TRY(list.each(read_item));
  return out;
}

Status decode_node_spec(const Field& spec, Node* out) {
  TRY(spec.object({"podCIDR", "podCIDRs", "providerID", "unschedulable", "taints", "configSource", "externalID"}));
  const Field cidrs = spec.member("podCIDRs");
  out->pod_cidrs = TRY(decode_prefixes(cidrs));
  const Field cidr = spec.member("podCIDR");
  const auto single = TRY(cidr.prefix());
  if (out->pod_cidrs.empty() && single) out->pod_cidrs.push_back(*single);
  const Field taints = spec.member("taints");
  return taints.each([&](const Field& item) -> Status {
    TRY(item.object({"key", "value", "effect", "timeAdded"}));
    const Field key = item.member("key");
    const Field value = item.member("value");
    const Field effect = item.member("effect");
    out->taints.push_back({TRY(key.text()), TRY(value.text()), TRY(effect.text())});
    return {};
  });
}

Status decode_node_addresses(const Field& status, Node* out) {
  const Field addresses = status.member("addresses");
  return addresses.each([&](const Field& item) -> Status {
    TRY(item.object({"type", "address"}));
    const Field type = item.member("type");
    const Field address = item.member("address");
    const std::string kind = TRY(type.text());
    if (kind != "InternalIP" && kind != "ExternalIP") return {};  // Hostname, InternalDNS, ...
    const auto ip = TRY(address.ip());
    if (!ip) return {};
    (kind == "InternalIP" ? out->internal_ips : out->external_ips).push_back(*ip);
    return {};
  });
}

// One list of one subset, split by family.
Status add_subset_addresses(const Field& list, bool ready, std::array<EndpointSlice, 2>* slices) {
  return list.each([&](const Field& item) -> Status {
    TRY(item.object({"ip", "hostname", "nodeName", "targetRef"}));
    const Field ip = item.member("ip");
    const Field node_name = item.member("nodeName");
    const auto address = TRY(ip.ip());
    if (!address || address->is_unspecified()) {
      return item.strict() ? ip.not_a("the address of an endpoint") : Status();
    }
    Endpoint endpoint;
    endpoint.address = *address;
    endpoint.ready = ready;
    endpoint.topology = Topology{.node_name = TRY(node_name.text())};
    (*slices)[address->is_v4() ? 0 : 1].endpoints.push_back(std::move(endpoint));
    return {};
  });
}

// The slices of one subset, at most one per family; `prototype` carries what all slices of the object share.
Status add_subset(const Field& subset, const EndpointSlice& prototype, std::size_t number,
                  std::vector<EndpointSlice>* out) {
  TRY(subset.object({"addresses", "notReadyAddresses", "ports"}));
  std::array<EndpointSlice, 2> slices = {prototype, prototype};
  const std::string stem = number == 1 ? prototype.service_name : base::cat(prototype.service_name, "-", number);
  slices[0].meta.key.name = stem + "-ipv4";
  slices[1].meta.key.name = stem + "-ipv6";
  slices[1].address_type = AddressType::Ipv6;
  const Field ready = subset.member("addresses");
  const Field not_ready = subset.member("notReadyAddresses");
  const Field ports = subset.member("ports");
  TRY(add_subset_addresses(ready, true, &slices));
  TRY(add_subset_addresses(not_ready, false, &slices));
  const std::vector<EndpointPort> decoded_ports = TRY(decode_endpoint_ports(ports));
  for (EndpointSlice& slice : slices) {
    if (slice.endpoints.empty()) continue;
    slice.ports = decoded_ports;
    out->push_back(std::move(slice));
  }
  return {};
}

}  // namespace

Result<Meta> decode_meta(const Field& object, Scope scope) {
  if (object.value().as_object() == nullptr) return object.not_a("an object");
  const Field metadata = object.member("metadata");
  TRY(metadata.object({"name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation",
                       "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations",
                       "ownerReferences", "finalizers", "managedFields"}));
  TRY(check_string_map(metadata, "labels"));
  TRY(check_string_map(metadata, "annotations"));
  const Field name = metadata.member("name");
  const Field ns = metadata.member("namespace");
  const Field uid = metadata.member("uid");
  const Field version = metadata.member("resourceVersion");
  Meta out;
  out.key.name = TRY(name.text());
  out.key.ns = TRY(ns.text());
  out.uid = TRY(uid.text());
  out.resource_version = TRY(version.text());
  if (out.key.name.empty()) return name.error("is missing");
  if (!object.strict()) return out;
  TRY(check_name(name, out.key.name));
  if (scope == Scope::Cluster) {
    out.key.ns.clear();
  } else if (out.key.ns.empty()) {
    out.key.ns = "default";
  } else {
    TRY(check_name(ns, out.key.ns));
  }
  return out;
}

Result<std::string> metadata_entry(const Field& object, std::string_view map, std::string_view name) {
  const Field metadata = object.member("metadata");
  const Field entries = metadata.member(map);
  const Field entry = entries.member(name);
  return entry.text();
}

bool has_label(const Field& object, std::string_view name) {
  const base::Value::Object* labels = object.value()["metadata"]["labels"].as_object();
  return labels != nullptr &&
         std::any_of(labels->begin(), labels->end(), [&](const auto& l) { return l.first == name; });
}

Result<EndpointSlice> decode_endpoint_slice(const Field& object) {
  EndpointSlice out;
  out.meta = TRY(decode_meta(object, Scope::Namespaced));
  TRY(object.object({"addressType", "endpoints", "ports"}));
  out.service_name = TRY(metadata_entry(object, "labels", kServiceNameLabel));
  out.has_headless_label = has_label(object, kHeadlessLabel);
  out.last_change_trigger_time = TRY(metadata_entry(object, "annotations", kLastChangeTriggerAnnotation));
  const Field type = object.member("addressType");
  if (type.strict() && type.absent()) return type.error("is missing (IPv4, IPv6, FQDN)");
  // An unknown type of the future is as unusable as FQDN.
  out.address_type = TRY(type.choice<AddressType>(
                             {{"IPv4", AddressType::Ipv4}, {"IPv6", AddressType::Ipv6}, {"FQDN", AddressType::Fqdn}},
                             AddressType::Ipv4))
                         .value_or(AddressType::Fqdn);
  const Field ports = object.member("ports");
  out.ports = TRY(decode_endpoint_ports(ports));
  const Field endpoints = object.member("endpoints");
  if (const auto* items = endpoints.value().as_array()) out.endpoints.reserve(items->size());
  const auto read_item = [&](const Field& item) -> Status {
    if (auto endpoint = TRY(decode_endpoint(item, out.address_type))) out.endpoints.push_back(std::move(*endpoint));
    return {};
  };
  TRY(endpoints.each(read_item));
  return out;
}

Result<Node> decode_node(const Field& object) {
  Node out;
  out.meta = TRY(decode_meta(object, Scope::Cluster));
  const Field metadata = object.member("metadata");
  const Field labels = metadata.member("labels");
  if (const base::Value::Object* entries = labels.value().as_object()) {
    for (const auto& [key, ignored] : *entries) {
      const Field entry = labels.member(key);
      out.labels[key] = TRY(entry.text());
    }
  }
  out.deleting = !metadata.value()["deletionTimestamp"].is_null();
  const Field spec = object.member("spec");
  TRY(decode_node_spec(spec, &out));
  const Field status = object.member("status");
  TRY(status.object({"addresses"}));
  TRY(decode_node_addresses(status, &out));
  return out;
}

Result<ServiceCidr> decode_service_cidr(const Field& object) {
  ServiceCidr out;
  out.meta = TRY(decode_meta(object, Scope::Cluster));
  const Field spec = object.member("spec");
  TRY(spec.object({"cidrs"}));
  const Field cidrs = spec.member("cidrs");
  out.cidrs = TRY(decode_prefixes(cidrs));
  return out;
}

Result<std::vector<EndpointSlice>> decode_endpoints(const Field& object) {
  EndpointSlice prototype;
  prototype.meta = TRY(decode_meta(object, Scope::Namespaced));
  TRY(object.object({"subsets"}));
  prototype.service_name = prototype.meta.key.name;  // Endpoints carry the name of their Service
  prototype.has_headless_label = has_label(object, kHeadlessLabel);
  prototype.last_change_trigger_time = TRY(metadata_entry(object, "annotations", kLastChangeTriggerAnnotation));
  std::vector<EndpointSlice> out;
  std::size_t number = 0;
  const Field subsets = object.member("subsets");
  const auto read_item = [&](const Field& subset) { return add_subset(subset, prototype, ++number, &out); };
  TRY(subsets.each(read_item));
  if (TRY(metadata_entry(object, "labels", kSkipMirrorLabel)) == "true") out.clear();
  return out;
}

}  // namespace fairlead::kube
