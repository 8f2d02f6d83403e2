// A made-up cluster of N services x E endpoints as typed objects: the same numbers every time, and those of
// tests/apiserver/generate.h.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kube/objects.h"
#include "proxy/model/node.h"

namespace fairlead::tests::bench {

enum class ClusterKind : std::uint8_t {
  Plain,  // ClusterIP services of IPv4
  Mixed,  // tests/apiserver/mix.h
};
std::string_view to_string(ClusterKind kind);  // "plain", "mixed"

struct ClusterSize {
  std::uint32_t services = 0;
  std::uint32_t endpoints_per_service = 10;
  ClusterKind kind = ClusterKind::Plain;
};

// Services of one TCP port each (10.96.0.0/12), one slice per family with its endpoints (10.128.0.0/9); mixed, what
// mix.h says besides.
std::vector<kube::Object> make_services(const ClusterSize& size);
std::vector<kube::Object> make_slices(const ClusterSize& size);

// A node of such a cluster, that tells pods by `pod_ranges`.
proxy::model::NodeView make_node_view(std::vector<net::Prefix> pod_ranges);
std::vector<net::Prefix> cluster_cidrs();  // where the endpoints are

}  // namespace fairlead::tests::bench
