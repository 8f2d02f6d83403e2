#include "tests/datapath/scenario_cluster.h"

#include <cstdlib>

#include "base/strings.h"
#include "tests/datapath/in_process_driver.h"
#include "tests/datapath/probe/sockets.h"
#include "tests/datapath/scenarios.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using net::Family;

constexpr unsigned kBlockedHost = 110;

// Service addresses that the world outside reaches are routed to a node; routes_of(ExternalIp) and so on say so again.
Status add_routes(Testbed& testbed) {
  for (const std::string client : {"client", "blocked"}) {
    for (const char* to : {"192.0.2.0/24", "fd00:192:0:2::/64", "203.0.113.0/24", "fd00:203:0:113::/64", "10.96.0.0/16",
                           "fd00:10:96::/112", "10.97.0.0/16", "fd00:10:97::/112"}) {
      TRY(testbed.route_via_node(client, *net::Prefix::parse(to), 1));
    }
    for (const char* to : {"198.51.100.0/24", "fd00:198:51:100::/64"}) {
      TRY(testbed.route_via_node(client, *net::Prefix::parse(to), 2));
    }
  }
  return {};
}

Status add_second_addresses(Testbed& testbed) {
  for (unsigned node = 1; node <= testbed.nodes(); ++node) {
    for (const Family family : {Family::V4, Family::V6}) {
      const net::Ip address = ScenarioCluster::second_address(node, family);
      TRY(testbed.add_address(cat("node", node), address));
      const auto length = static_cast<std::uint8_t>(family == Family::V4 ? 32 : 128);
      TRY(testbed.route_via_node("client", {address, length}, node));
    }
  }
  return {};
}

}  // namespace

bool ScenarioCluster::in_process() {
  const char* chosen = std::getenv("FAIRLEAD_TEST_DRIVER");
  return chosen != nullptr && std::string_view(chosen) == "in-process";
}

bool ScenarioCluster::kernel_has_sctp() { return probe::open_socket(AF_INET, Transport::Sctp).has_value(); }

net::Ip ScenarioCluster::second_address(unsigned node, Family family) {
  return *net::Ip::parse(cat(family == Family::V4 ? "172.19.0." : "fd00:172:19::", node));
}

Status ScenarioCluster::use(const std::string& dataplane, Operator setup) {
  if (!testbed_) TRY(build());
  if (driver_ && dataplane_ == dataplane && setup_ == setup) return {};
  TRY(stop_driver());
  dataplane_ = dataplane;
  setup_ = setup;
  if (in_process()) {
    driver_ = TRY(in_process_driver(*testbed_, dataplane, config_of(setup)));
  } else {
    driver_ = TRY(AgentDriver::create(*testbed_, dataplane, flags_of(setup)));
  }
  return {};
}

Status ScenarioCluster::remove() {
  Status stopped = stop_driver();
  testbed_.reset();
  return stopped;
}

Status ScenarioCluster::stop_driver() {
  const std::unique_ptr<Driver> driver = std::move(driver_);
  return driver ? driver->stop() : Status();
}

Status ScenarioCluster::build() {
  auto testbed = TRY(Testbed::create({.pod_link = pod_link_}));
  for (const Place* pod : testbed->pods()) TRY(testbed->serve(pod->name, pod_listeners(kernel_has_sctp())));
  for (unsigned node = 1; node <= testbed->nodes(); ++node) {
    TRY(testbed->serve(cat("node", node),
                       {cat("[::]:", kHostNetworkPort, "/tcp"), cat("[::]:", kHostNetworkPort, "/udp")}));
  }
  TRY(testbed->add_host("blocked", kBlockedHost));
  TRY(add_routes(*testbed));
  TRY(add_second_addresses(*testbed));
  testbed_ = std::move(testbed);
  return {};
}

}  // namespace fairlead::testbed
