// A node whose kernel is in memory, and words for the tests of the dataplane on it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "net/nft/fake.h"
#include "proxy/dataplane/nftables/belief.h"
#include "proxy/dataplane/nftables/nftables.h"
#include "proxy/dataplane/nftables/test_states.h"

namespace fairlead::proxy::dataplane::nftables {

using namespace test;

inline const nft::TableId kV4{net::Family::V4, "fairlead"};
inline const nft::TableId kV6{net::Family::V6, "fairlead"};

struct Node {
  std::shared_ptr<nft::FakeNamespace> ns = std::make_shared<nft::FakeNamespace>();

  std::size_t find_above = 50000;

  // A start of the agent on this kernel.
  std::unique_ptr<Dataplane> start(std::size_t chunk = 4000) const {
    return make(std::make_unique<nft::FakeKernel>(ns), Options(), {net::Family::V4, net::Family::V6},
                {.chunk = chunk, .find_above = find_above});
  }
  // What the kernel holds, as a fresh reader sees it.
  std::string text() const {
    nft::FakeKernel kernel(ns);
    return read_belief(kernel).text();
  }

 private:
  static Belief read_belief(nft::Kernel& kernel) {
    return nftables::read_belief(kernel, {kV4, kV6}, {.mark = Options().masquerade_mark}, {}).value();
  }
};

inline std::vector<model::ServiceState> some_services() {
  return {service("dns", {cluster_ip("10.96.0.10", 53), node_port(30053)}, endpoints(3), model::Protocol::Udp),
          service("none", {cluster_ip("10.96.0.11", 80), node_port(30080)}, {}),
          service("six", {cluster_ip("fd00::10", 80)}, {endpoint("fd01::1", 80, true), endpoint("fd01::2", 80)}),
          service("web", {cluster_ip("10.96.0.12", 80)}, endpoints(5))};
}

// The kernel does not know which endpoints are local.
inline std::string believed(const Dataplane& dataplane) {
  std::string text = dump_text(dataplane);
  const std::string local = " (local)";
  for (auto at = text.find(local); at != std::string::npos; at = text.find(local, at)) text.erase(at, local.size());
  return text;
}

// What a fresh node holds after these services.
inline std::string fresh_text(const std::vector<model::ServiceState>& services) {
  Node node;
  EXPECT_TRUE(node.start()->replace({}, services).ok());
  return node.text();
}

// One of every kind of element.
inline std::vector<model::ServiceState> services_of_all_kinds() {
  model::Frontend balancer = cluster_ip("192.0.2.1", 80);
  balancer.kind = model::FrontendKind::LoadBalancerIp;
  balancer.pool = model::Pool::Local;
  balancer.short_circuit = true;
  balancer.restricted = true;
  model::Frontend off_cluster = cluster_ip("10.96.0.20", 80);
  off_cluster.masquerade = model::Masquerade::OffCluster;
  auto state = service("all", {off_cluster, balancer, node_port(30090)}, endpoints(3));
  state.ports[0].local_endpoints = {endpoint("10.0.0.1", 8080, true)};
  state.ports[0].allowed_sources = {prefix("10.0.0.0/8"), prefix("203.0.113.0/24")};
  auto sticky = state;
  sticky.key.name = "sticky";
  sticky.ports[0].affinity_seconds = 60;
  sticky.ports[0].frontends[0].address = ip("10.96.0.21");
  sticky.ports[0].frontends[1].address = ip("192.0.2.2");
  sticky.ports[0].frontends[2].port = 30091;
  return {state, sticky};
}

}  // namespace fairlead::proxy::dataplane::nftables
