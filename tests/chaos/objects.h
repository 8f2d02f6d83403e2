// objects: kube's typed objects back into the API's form, as the test API server takes them. Decoding what comes out
// yields the same object again.
#pragma once

#include <vector>

#include "base/json.h"
#include "kube/objects.h"

namespace fairlead::tests::chaos {

// A Service, and what kube::Service leaves out because a node has no use for it.
struct ServiceDraft {
  kube::Service service;
  std::vector<net::Ip> proxied_ips;  // status.loadBalancer.ingress with ipMode Proxy
  bool operator==(const ServiceDraft&) const = default;
};

base::Value to_value(const ServiceDraft& draft);
base::Value to_value(const kube::EndpointSlice& slice);
base::Value to_value(const kube::Node& node);
base::Value to_value(const kube::ServiceCidr& cidr);

}  // namespace fairlead::tests::chaos
