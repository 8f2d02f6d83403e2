// decode_kinds: one function per Kubernetes kind, from a Field; decode.h is what others include.
#pragma once

#include <vector>

#include "kube/field.h"
#include "kube/objects.h"

namespace fairlead::kube {

Result<Service> decode_service(const Field& object);
Result<EndpointSlice> decode_endpoint_slice(const Field& object);
Result<Node> decode_node(const Field& object);
Result<ServiceCidr> decode_service_cidr(const Field& object);

// As the endpointslice mirroring controller does it: one slice per subset and family, addresses ready,
// notReadyAddresses not. None when the skip-mirror label says so. Names are fixed (<name>-ipv4, <name>-2-ipv6) where
// the controller draws random ones, so that a re-read yields the same objects.
Result<std::vector<EndpointSlice>> decode_endpoints(const Field& object);

// metadata. Strict: the name is required and well-formed; a namespaced object without a namespace is in "default".
enum class Scope : std::uint8_t { Namespaced, Cluster };
Result<Meta> decode_meta(const Field& object, Scope scope);
// metadata.<map> (labels or annotations) [name]; "" when absent.
Result<std::string> metadata_entry(const Field& object, std::string_view map, std::string_view name);
bool has_label(const Field& object, std::string_view name);

inline constexpr std::pair<std::string_view, Protocol> kProtocols[] = {
    {"TCP", Protocol::Tcp}, {"UDP", Protocol::Udp}, {"SCTP", Protocol::Sctp}};

}  // namespace fairlead::kube
