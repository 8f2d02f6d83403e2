#include "kube/objects.h"

#include <ostream>

namespace fairlead::kube {

std::string Key::to_string() const { return ns.empty() ? name : ns + "/" + name; }

bool is_service_address(const net::Ip& ip) { return !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast(); }

std::ostream& operator<<(std::ostream& out, const Key& key) { return out << key.to_string(); }

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::Tcp: return "TCP";
    case Protocol::Udp: return "UDP";
    case Protocol::Sctp: return "SCTP";
  }
  return "?";
}

std::optional<Protocol> parse_protocol(std::string_view text) {
  if (text == "TCP") return Protocol::Tcp;
  if (text == "UDP") return Protocol::Udp;
  if (text == "SCTP") return Protocol::Sctp;
  return std::nullopt;
}

std::string_view to_string(ServiceType type) {
  switch (type) {
    case ServiceType::ClusterIp: return "ClusterIP";
    case ServiceType::NodePort: return "NodePort";
    case ServiceType::LoadBalancer: return "LoadBalancer";
    case ServiceType::ExternalName: return "ExternalName";
  }
  return "?";
}

SharedTopology::SharedTopology(Topology value)
    : value_(value == Topology() ? nullptr : std::make_shared<const Topology>(std::move(value))) {}

const Topology& SharedTopology::operator*() const {
  static const Topology empty;
  return value_ == nullptr ? empty : *value_;
}

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::Service: return "Service";
    case Kind::EndpointSlice: return "EndpointSlice";
    case Kind::Node: return "Node";
    case Kind::ServiceCidr: return "ServiceCIDR";
  }
  return "?";
}

Kind kind_of(const Object& object) { return static_cast<Kind>(object.index()); }

const Meta& meta_of(const Object& object) {
  return std::visit([](const auto& value) -> const Meta& { return value.meta; }, object);
}

bool selected(const Object& object) {
  if (const auto* service = std::get_if<Service>(&object)) return !service->has_proxy_name_label && !service->headless;
  if (const auto* slice = std::get_if<EndpointSlice>(&object)) return !slice->has_headless_label;
  return true;
}

}  // namespace fairlead::kube
