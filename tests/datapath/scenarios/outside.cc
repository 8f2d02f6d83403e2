// Clients from outside, and clients that no socket hook sees.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {

namespace {

constexpr std::uint32_t kBulk = 1 << 20;
constexpr std::uint32_t kLargeDatagram = 2000;  // more than one packet on a link of 1500 bytes

}  // namespace

std::vector<Scenario> external_addresses() {
  return {
      {"NodePortServesTheClientThroughEveryNode",
       "8.1/20 8.1/27 8.2/node-port",
       {{.given = {service("web").as(Exposure::NodePort).with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(node_port(1)).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(node_port(2)).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(node_port(3)).answered_by(one_per_node()).seen_as(Seen::Node),
             }}}},
      {"NodePortServesUdp",
       "8.1/20 8.2/node-port",
       {{.given = {service("web").with_port(udp()).as(Exposure::NodePort).with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(node_port(1)).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(node_port(1)).unconnected().answered_by(one_per_node()).seen_as(Seen::Node),
             }}}},
      {"NodePortServesPods",
       "8.1/27 8.2/node-port",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(node_port(1, "t")).answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(3, "t")).answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(1, "u")).answered_by({"pod1b", "pod2a"}),
             }}}},
      {"NodePortServesProcessesOfTheNode",
       "8.1/21 8.2/node-port",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("node1").to(node_port(1, "t")).answered_by({"pod1b", "pod2a"}),
                 from("node1").to(node_port(2, "t")).answered_by({"pod1b", "pod2a"}),
                 from("node1").to(node_port(1, "u")).answered_by({"pod1b", "pod2a"}),
             }}}},
      {"ExternalIpIsServed",
       "8.1/27 8.2/external-ip",
       {{.given = {both_protocols().with_external_ip().with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(external_ip("t")).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(external_ip("u")).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("pod1b").to(external_ip("t")).answered_by(one_per_node()),
                 from("node3").to(external_ip("t")).answered_by(one_per_node()),
             }}}},
      {"LoadBalancerIpIsServed",
       "8.1/27 8.2/load-balancer",
       {{.given = {both_protocols().as(Exposure::LoadBalancer).with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(load_balancer_ip("t")).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(load_balancer_ip("u")).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("pod2b").to(load_balancer_ip("t")).answered_by(one_per_node()),
                 from("client").to(node_port(2, "t")).answered_by(one_per_node()).seen_as(Seen::Node),
             }}}},
      {"LargeTransfersArriveIntact",
       "8.2/networking",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect =
             {
                 from("client").to(node_port(1, "t")).of_bytes(kBulk).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("t")).of_bytes(kBulk).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("t")).outside_the_cgroup().of_bytes(kBulk).answered_by({"pod1a", "pod2a"}),
             }}}},
      {"LargeDatagramsReachAClusterIp",
       "8.2/large-requests",
       {{.given = {service("web").with_port(udp()).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("pod1b").to(cluster_ip()).of_bytes(kLargeDatagram).answered_by({"pod1a", "pod2a"})}}}},
      {"LargeDatagramsReachANodePort",
       "8.2/large-requests",
       {{.given = {service("web").with_port(udp()).as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("client").to(node_port(1)).of_bytes(kLargeDatagram).answered_by({"pod1a", "pod2a"})}}}},
  };
}

std::vector<Scenario> outside_the_cgroup() {
  return {
      {"AProcessOutsideTheCgroupReachesAClusterIp",
       "8.1/3",
       {{.given = {both_protocols().with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().unconnected().answered_by({"pod1b", "pod2a"}),
                 from("node1").to(cluster_ip("t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
             }}}},
      {"AProcessOutsideTheCgroupReachesANodePort",
       "8.1/20 8.1/21",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(node_port(1, "t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(3, "t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(1, "u")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("node1").to(node_port(2, "t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
             }}}},
      {"APodOutsideTheCgroupReachesItself",
       "8.1/2",
       {{.given = {both_protocols().with_endpoints({"pod1a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).outside_the_cgroup().answered_by({"pod1a"}).seen_as(Seen::Node),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().answered_by({"pod1a"}).seen_as(Seen::Node),
             }}}},
  };
}

}  // namespace fairlead::testbed::table
