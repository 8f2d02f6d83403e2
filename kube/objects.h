// Kubernetes API objects, cut down to what a node needs, as plain comparable values.
//
// Both decoders (protobuf and JSON/YAML) produce exactly these; nothing behind this header sees the wire.
// "Absent" is kept apart from "false" where the API gives absence a meaning (EndpointConditions).
#pragma once

#include <compare>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "net/ip.h"

namespace fairlead::kube {

// namespace/name; namespace is empty for cluster-scoped kinds.
struct Key {
  std::string ns;
  std::string name;
  auto operator<=>(const Key&) const = default;
  std::string to_string() const;  // "ns/name", or "name"
};
std::ostream& operator<<(std::ostream& out, const Key& key);

// Well-known labels and annotations.
inline constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";
inline constexpr std::string_view kServiceProxyNameLabel = "service.kubernetes.io/service-proxy-name";
inline constexpr std::string_view kHeadlessLabel = "service.kubernetes.io/headless";
inline constexpr std::string_view kZoneLabel = "topology.kubernetes.io/zone";
inline constexpr std::string_view kLastChangeTriggerAnnotation = "endpoints.kubernetes.io/last-change-trigger-time";

enum class Protocol : std::uint8_t { Tcp = 6, Udp = 17, Sctp = 132 };  // IP protocol numbers
std::string_view to_string(Protocol protocol);                         // "TCP", "UDP", "SCTP"
std::optional<Protocol> parse_protocol(std::string_view text);         // exact API spelling

// Whether a Service can be reached at it: not an unspecified, loopback or multicast address. A service on 127.0.0.1
// would take the node's own loopback traffic (kubernetes v1.36 pkg/apis/core/validation ValidateNonSpecialIP).
bool is_service_address(const net::Ip& ip);

struct Meta {
  Key key;
  std::string uid;
  std::string resource_version;
  bool operator==(const Meta&) const = default;
};

enum class ServiceType : std::uint8_t { ClusterIp, NodePort, LoadBalancer, ExternalName };
std::string_view to_string(ServiceType type);
enum class TrafficPolicy : std::uint8_t { Cluster, Local };
enum class SessionAffinity : std::uint8_t { None, ClientIp };

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::Tcp;
  std::uint16_t port = 0;
  std::uint16_t node_port = 0;  // 0: none
  bool operator==(const ServicePort&) const = default;
};

struct Service {
  Meta meta;
  ServiceType type = ServiceType::ClusterIp;
  bool headless = false;              // spec.clusterIP is "None"
  bool has_proxy_name_label = false;  // kServiceProxyNameLabel is present: someone else's service
  std::vector<net::Ip> cluster_ips;   // spec.clusterIPs, else spec.clusterIP; never "None"
  std::vector<net::Family> ip_families;
  std::vector<ServicePort> ports;
  std::vector<net::Ip> external_ips;
  std::vector<net::Ip> load_balancer_ips;  // status.loadBalancer.ingress[].ip with ipMode VIP or absent
  std::vector<net::Prefix> load_balancer_source_ranges;
  TrafficPolicy internal_traffic_policy = TrafficPolicy::Cluster;
  TrafficPolicy external_traffic_policy = TrafficPolicy::Cluster;
  SessionAffinity session_affinity = SessionAffinity::None;
  std::uint32_t affinity_timeout_seconds = 10800;
  std::uint16_t health_check_node_port = 0;  // 0: none
  bool publish_not_ready_addresses = false;  // acts through the slices; kept for the manifest source's own mirroring
  bool operator==(const Service&) const = default;
};

enum class AddressType : std::uint8_t { Ipv4, Ipv6, Fqdn };

struct EndpointPort {
  std::string name;
  Protocol protocol = Protocol::Tcp;
  std::uint16_t port = 0;  // 0: absent in the object; matches nothing
  bool operator==(const EndpointPort&) const = default;
};

// Where an endpoint runs, and for whose clients it is meant.
struct Topology {
  std::string node_name{};
  std::vector<std::string> zone_hints{};
  std::vector<std::string> node_hints{};
  bool operator==(const Topology&) const = default;
};

// A Topology by value that copies share: a cluster has far more endpoints than places for them. Never null.
class SharedTopology {
 public:
  SharedTopology() = default;
  SharedTopology(Topology value);
  const Topology& operator*() const;
  const Topology* operator->() const { return &**this; }
  bool operator==(const SharedTopology& other) const { return value_ == other.value_ || **this == *other; }
  bool is_shared() const { return value_.use_count() > 1; }  // REQUIRES that no other thread has a copy

 private:
  std::shared_ptr<const Topology> value_;  // null: an empty one
};

struct Endpoint {
  net::Ip address;  // addresses[0], the only one the API gives a meaning to
  std::optional<bool> ready;
  std::optional<bool> serving;
  std::optional<bool> terminating;
  SharedTopology topology{};
  bool operator==(const Endpoint&) const = default;
};

struct EndpointSlice {
  Meta meta;
  std::string service_name;  // kServiceNameLabel; empty: belongs to no service
  bool has_headless_label = false;
  AddressType address_type = AddressType::Ipv4;
  std::vector<EndpointPort> ports;
  std::vector<Endpoint> endpoints;
  std::string last_change_trigger_time;  // RFC 3339, or empty
  bool operator==(const EndpointSlice&) const = default;
};

struct Taint {
  std::string key;
  std::string value;
  std::string effect;
  bool operator==(const Taint&) const = default;
};

struct Node {
  Meta meta;
  std::map<std::string, std::string> labels;
  std::vector<net::Ip> internal_ips;  // status.addresses of type InternalIP, in order
  std::vector<net::Ip> external_ips;
  std::vector<net::Prefix> pod_cidrs;
  std::vector<Taint> taints;
  bool deleting = false;  // metadata.deletionTimestamp is set
  bool operator==(const Node&) const = default;
};

struct ServiceCidr {
  Meta meta;
  std::vector<net::Prefix> cidrs;
  bool operator==(const ServiceCidr&) const = default;
};

enum class Kind : std::uint8_t { Service, EndpointSlice, Node, ServiceCidr };
inline constexpr std::size_t kKindCount = 4;
std::string_view to_string(Kind kind);  // "Service", "EndpointSlice", ...

// Alternatives stand in the order of Kind, so that object.index() is its kind.
using Object = std::variant<Service, EndpointSlice, Node, ServiceCidr>;
Kind kind_of(const Object& object);
const Meta& meta_of(const Object& object);

// Whether kube-proxy's watch selectors let the object through (kubernetes v1.36 cmd/kube-proxy/app/server.go): no
// Service with kServiceProxyNameLabel, no headless Service, no slice with kHeadlessLabel. The one place of this rule is
// the sources: the API server applies the same selectors, the manifest source calls this. An object that stops being
// selected is erased from the Sink.
bool selected(const Object& object);

}  // namespace fairlead::kube
