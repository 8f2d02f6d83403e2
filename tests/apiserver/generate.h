// generate: a cluster of any size, the same one every time, for benchmarks and scale tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apiserver/manifest.h"

namespace fairlead::tests::apiserver {

struct GenerateSpec {
  std::uint32_t services = 0;
  std::uint32_t endpoints = 0;  // per service
  std::uint32_t nodes = 100;
  std::uint32_t namespaces = 10;
  bool mixed = false;               // mix.h
  std::string node_stem = "node-";  // of node names
};

Result<GenerateSpec> parse_generate(std::string_view text);  // "SERVICES,ENDPOINTS[,NODES][,mixed]"

// Service svc-<i> in namespace ns-<i mod namespaces>: ClusterIP 10.96.0.0/12 + i + 10, port http 80/TCP -> 8080, and
// slices svc-<i>-<k> of at most 100 endpoints out of 10.128.0.0/9, endpoint n on node-<n mod nodes> in zone-<node mod
// 3>. With the Nodes and the ServiceCIDR that go with them. Mixed: a second family (slices svc-<i>-v6-<k>), and what
// mix.h says.
std::vector<Manifest> generate(const GenerateSpec& spec);

// The building blocks of `generate`.
struct SliceSpec {
  std::string ns;
  std::string service;
  std::string port_name = "http";
  std::uint16_t port = 8080;
  std::string protocol = "TCP";
};
base::Value make_slice(const SliceSpec& spec, std::uint32_t index, const base::Value::Array& endpoints, bool ipv6);
base::Value make_endpoint(std::string address, std::string node, std::string zone);
base::Value make_service(std::string ns, const std::string& name, std::string cluster_ip);
// Makes service `index` what mix.h says of it.
void mix_in(base::Value& service, std::uint32_t index);

}  // namespace fairlead::tests::apiserver
