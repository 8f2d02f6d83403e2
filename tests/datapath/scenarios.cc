#include "tests/datapath/scenarios.h"

#include "base/strings.h"

namespace fairlead::testbed {
namespace {

constexpr std::uint16_t kMain = 8080;
constexpr std::uint16_t kSecond = 8443;
constexpr std::uint32_t kBulk = 1 << 20;
constexpr std::uint32_t kLargeDatagram = 2000;  // more than one packet on a link of 1500 bytes

// One endpoint on each node.
std::vector<std::string> one_per_node() { return {"pod1a", "pod2a", "pod3a"}; }

PortSpec tcp(std::string name = "", std::uint16_t port = 80, std::uint16_t target = kMain) {
  return {.name = std::move(name), .port = port, .transport = Transport::Tcp, .target = target};
}
PortSpec udp(std::string name = "", std::uint16_t port = 80, std::uint16_t target = kMain) {
  return {.name = std::move(name), .port = port, .transport = Transport::Udp, .target = target};
}
PortSpec sctp(std::string name = "", std::uint16_t port = 80, std::uint16_t target = kMain) {
  return {.name = std::move(name), .port = port, .transport = Transport::Sctp, .target = target};
}

// A Service with TCP "t" and UDP "u" on port 80.
ServiceBuilder both_protocols() { return service("web").with_port(tcp("t")).with_port(udp("u")); }

std::vector<Scenario> cluster_ip_scenarios() {
  return {
      {"ClusterIpReachesEveryEndpoint",
       {{.given = {service("web").with_endpoints({"pod1b", "pod2a", "pod3a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip()).answered_by({"pod1b", "pod2a", "pod3a"}).seen_as(Seen::Client),
                 from("pod2b").to(cluster_ip()).answered_by({"pod1b", "pod2a", "pod3a"}).seen_as(Seen::Client),
             }}}},
      {"ClusterIpServesProcessesOfTheNode",
       {{.given = {both_protocols().with_endpoints(one_per_node())},
         .expect =
             {
                 from("node1").to(cluster_ip("t")).answered_by(one_per_node()).seen_as(Seen::Client),
                 from("node1").to(cluster_ip("u")).answered_by(one_per_node()).seen_as(Seen::Client),
                 from("node3").to(cluster_ip("t")).answered_by(one_per_node()).seen_as(Seen::Client),
             }}}},
      {"ClusterIpServesConnectedUdp",
       {{.given = {service("web").with_port(udp()).with_endpoints({"pod1b", "pod2a"})},
         .expect = {from("pod1a").to(cluster_ip()).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client)}}}},
      {"ClusterIpServesUnconnectedUdpUnderItsOwnAddress",
       {{.given = {service("web").with_port(udp()).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip()).unconnected().answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client),
                 from("node1").to(cluster_ip()).unconnected().answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client),
             }}}},
      {"AConnectionStaysWithItsEndpoint",
       {{.given = {service("web").with_endpoints(one_per_node())},
         .expect = {from("pod1b").to(cluster_ip()).with_requests(10).answered_by(one_per_node())}}}},
      {"APodReachesItself",
       {{.given = {both_protocols().with_endpoints({"pod1a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by({"pod1a"}),
                 from("pod1a").to(cluster_ip("u")).answered_by({"pod1a"}),
             }}}},
      {"AMappedSocketIsAnIpv4Client",
       {{.given = {both_protocols().with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).over_a_mapped_socket().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).over_a_mapped_socket().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).over_a_mapped_socket().unconnected().answered_by({"pod1b", "pod2a"}),
             }}},
       Needs::IPv4},
      {"AnEndpointMayBeANode",
       {{.given = {service("web").with_port(tcp("", 443, kHostNetworkPort)).with_endpoints({"node2"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip()).answered_by({"node2"}),
                 from("node1").to(cluster_ip()).answered_by({"node2"}),
                 from("node2").to(cluster_ip()).answered_by({"node2"}),
             }}}},
  };
}

std::vector<Scenario> port_scenarios() {
  return {
      {"EveryPortLeadsToItsOwnTarget",
       {{.given = {service("web")
                       .with_port(tcp("http", 80, kMain))
                       .with_port(tcp("https", 443, kSecond))
                       .with_endpoints({"pod1a", "pod2a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("http")).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("https")).answered_by({"pod1a", "pod2a"}),
             }}}},
      {"TcpAndUdpMayShareAPortNumber",
       {{.given = {service("dns")
                       .with_port(tcp("dns-tcp", 53, kSecond))
                       .with_port(udp("dns", 53, kMain))
                       .with_endpoints({"pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("dns-tcp", "dns")).answered_by({"pod2a"}),
                 from("pod1a").to(cluster_ip("dns", "dns")).answered_by({"pod2a"}),
             }}}},
      {"APortMayResolveDifferentlyPerSlice",
       {{.given = {service("web")
                       .with_port(tcp("http"))
                       .with_slice({.ready = {"pod1a"}, .not_ready = {}, .targets = {{"http", kMain}}})
                       .with_slice({.ready = {"pod2a"}, .not_ready = {}, .targets = {{"http", kSecond}}})},
         .expect = {from("pod1b").to(cluster_ip("http")).answered_by({"pod1a", "pod2a"})}}}},
      {"ServicesDoNotMix",
       {{.given = {service("web").with_endpoints({"pod1a", "pod2a"}), service("shop").with_endpoints({"pod3a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip()).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("", "shop")).answered_by({"pod3a"}),
             }}}},
      {"DualStackServesBothFamilies",
       {{.given = {both_protocols().in_both_families().as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("t")).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("u")).answered_by({"pod1a", "pod2a"}),
                 from("client").to(node_port(3, "t")).answered_by({"pod1a", "pod2a"}),
             }}}},
      {"ClusterIpServesSctp",
       {{.given = {service("web").with_port(sctp("", kMain, kMain)).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("pod1b").to(cluster_ip()).answered_by({"pod1a", "pod2a"})}}},
       Needs::Sctp},
      {"NodePortServesSctp",
       {{.given = {service("web").with_port(sctp()).as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("client").to(node_port(3)).answered_by({"pod1a", "pod2a"})}}},
       Needs::Sctp},
  };
}

std::vector<Scenario> external_scenarios() {
  return {
      {"NodePortServesTheClientThroughEveryNode",
       {{.given = {service("web").as(Exposure::NodePort).with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(node_port(1)).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(node_port(2)).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(node_port(3)).answered_by(one_per_node()).seen_as(Seen::Node),
             }}}},
      {"NodePortServesUdp",
       {{.given = {service("web").with_port(udp()).as(Exposure::NodePort).with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(node_port(1)).answered_by(one_per_node()).seen_as(Seen::Node),
                 from("client").to(node_port(1)).unconnected().answered_by(one_per_node()).seen_as(Seen::Node),
             }}}},
      {"NodePortServesPods",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(node_port(1, "t")).answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(3, "t")).answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(1, "u")).answered_by({"pod1b", "pod2a"}),
             }}}},
      {"NodePortServesProcessesOfTheNode",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("node1").to(node_port(1, "t")).answered_by({"pod1b", "pod2a"}),
                 from("node1").to(node_port(2, "t")).answered_by({"pod1b", "pod2a"}),
                 from("node1").to(node_port(1, "u")).answered_by({"pod1b", "pod2a"}),
             }}}},
      {"ExternalIpIsServed",
       {{.given = {both_protocols().with_external_ip().with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(external_ip("t")).answered_by(one_per_node()).seen_as(Seen::Node, 2),
                 from("client").to(external_ip("u")).answered_by(one_per_node()).seen_as(Seen::Node, 2),
                 from("pod1b").to(external_ip("t")).answered_by(one_per_node()),
                 from("node3").to(external_ip("t")).answered_by(one_per_node()),
             }}}},
      {"LoadBalancerIpIsServed",
       {{.given = {both_protocols().as(Exposure::LoadBalancer).with_endpoints(one_per_node())},
         .expect =
             {
                 from("client").to(load_balancer_ip("t")).answered_by(one_per_node()).seen_as(Seen::Node, 1),
                 from("client").to(load_balancer_ip("u")).answered_by(one_per_node()).seen_as(Seen::Node, 1),
                 from("pod2b").to(load_balancer_ip("t")).answered_by(one_per_node()),
                 from("client").to(node_port(2, "t")).answered_by(one_per_node()).seen_as(Seen::Node),
             }}}},
      {"LargeTransfersArriveIntact",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect =
             {
                 from("client").to(node_port(1, "t")).of_bytes(kBulk).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("t")).of_bytes(kBulk).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("t")).outside_the_cgroup().of_bytes(kBulk).answered_by({"pod1a", "pod2a"}),
             }}}},
      {"LargeDatagramsReachAClusterIp",
       {{.given = {service("web").with_port(udp()).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("pod1b").to(cluster_ip()).of_bytes(kLargeDatagram).answered_by({"pod1a", "pod2a"})}}}},
      {"LargeDatagramsReachANodePort",
       {{.given = {service("web").with_port(udp()).as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("client").to(node_port(1)).of_bytes(kLargeDatagram).answered_by({"pod1a", "pod2a"})}}}},
  };
}

std::vector<Scenario> bypass_scenarios() {
  return {
      {"AProcessOutsideTheCgroupReachesAClusterIp",
       {{.given = {both_protocols().with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().unconnected().answered_by({"pod1b", "pod2a"}),
                 from("node1").to(cluster_ip("t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
             }}}},
      {"AProcessOutsideTheCgroupReachesANodePort",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(node_port(1, "t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(3, "t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(node_port(1, "u")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
                 from("node1").to(node_port(2, "t")).outside_the_cgroup().answered_by({"pod1b", "pod2a"}),
             }}}},
      {"APodOutsideTheCgroupReachesItself",
       {{.given = {both_protocols().with_endpoints({"pod1a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).outside_the_cgroup().answered_by({"pod1a"}),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().answered_by({"pod1a"}),
             }}}},
  };
}

std::vector<Scenario> empty_scenarios() {
  const ServiceBuilder exposed = both_protocols().as(Exposure::LoadBalancer).with_external_ip();
  return {
      {"AServiceWithoutEndpointsRefuses",
       {{.given = {exposed},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).refused(),
                 from("pod1a").to(cluster_ip("u")).refused(),
                 from("node1").to(cluster_ip("t")).refused(),
                 from("node1").to(cluster_ip("u")).refused(),
                 from("client").to(node_port(1, "t")).refused(),
                 from("client").to(node_port(1, "u")).refused(),
                 from("pod1a").to(node_port(2, "t")).refused(),
                 from("client").to(external_ip("t")).refused(),
                 from("client").to(load_balancer_ip("t")).refused(),
                 from("client").to(load_balancer_ip("u")).refused(),
             }}}},
      {"AServiceWithoutEndpointsRefusesOutsideTheCgroup",
       {{.given = {both_protocols()},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).outside_the_cgroup().refused(),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().refused(),
             }}}},
      {"EndpointsThatAreNotReadyAreLeftOut",
       {{.given = {service("web").with_slice({.ready = {"pod1a"}, .not_ready = {"pod2a", "pod3a"}, .targets = {}})},
         .expect = {from("pod1b").to(cluster_ip()).answered_by({"pod1a"})}},
        {.given = {service("web").with_slice({.ready = {}, .not_ready = {"pod1a", "pod2a"}, .targets = {}})},
         .expect = {from("pod1b").to(cluster_ip()).refused()}}}},
  };
}

std::vector<Scenario> change_scenarios() {
  const ServiceBuilder web = both_protocols().as(Exposure::NodePort);
  const auto all_see = [](const std::vector<std::string>& endpoints) -> std::vector<Check> {
    return {from("pod1b").to(cluster_ip("t")).answered_by(endpoints),
            from("pod1b").to(cluster_ip("u")).answered_by(endpoints),
            from("client").to(node_port(3, "t")).answered_by(endpoints),
            from("client").to(node_port(3, "u")).answered_by(endpoints)};
  };
  return {
      {"EndpointsComeAndGo",
       {{.given = {web.with_endpoints({"pod1a", "pod2a"})}, .expect = all_see({"pod1a", "pod2a"})},
        {.given = {web.with_endpoints({"pod1a", "pod2a", "pod3a"})}, .expect = all_see({"pod1a", "pod2a", "pod3a"})},
        {.given = {web.with_endpoints({"pod3a"})}, .expect = all_see({"pod3a"})}}},
      {"TheLastEndpointGoesAndAnotherComes",
       {{.given = {web.with_endpoints({"pod1a"})}, .expect = all_see({"pod1a"})},
        {.given = {web},
         .expect = {from("pod1b").to(cluster_ip("t")).refused(), from("client").to(node_port(3, "u")).refused()}},
        {.given = {web.with_endpoints({"pod2a"})}, .expect = all_see({"pod2a"})}}},
      {"ADeletedServiceAnswersNobody",
       {{.given = {web.with_endpoints({"pod1a"}), service("shop").with_endpoints({"pod1a"})},
         .expect = all_see({"pod1a"})},
        {.given = {service("shop").with_endpoints({"pod1a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("t")).unanswered(),
                 from("pod1b").to(cluster_ip("u")).unanswered(),
                 from("pod1b").to(cluster_ip("t")).outside_the_cgroup().unanswered(),
                 from("client").to(node_port(3, "t")).unanswered(),
                 from("pod1b").to(cluster_ip("", "shop")).answered_by({"pod1a"}),
             }}}},
      {"AServiceThatLosesItsNodePortKeepsItsClusterIp",
       {{.given = {web.with_endpoints({"pod1a"})}, .expect = all_see({"pod1a"})},
        {.given = {web.as(Exposure::ClusterIp).with_endpoints({"pod1a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("t")).answered_by({"pod1a"}),
                 from("client").to(node_port(3, "t")).unanswered(),
             }}}},
  };
}

}  // namespace

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = [] {
    std::vector<Scenario> rows;
    for (auto part : {cluster_ip_scenarios(), port_scenarios(), external_scenarios(), bypass_scenarios(),
                      empty_scenarios(), change_scenarios()}) {
      rows.insert(rows.end(), part.begin(), part.end());
    }
    return rows;
  }();
  return all;
}

std::vector<std::string> pod_listeners(bool with_sctp) {
  std::vector<std::string> listeners;
  for (const std::uint16_t port : {kMain, kSecond}) {
    for (const std::string transport : {"tcp", "udp", "sctp"}) {
      if (transport != "sctp" || with_sctp) listeners.push_back(base::cat("[::]:", port, "/", transport));
    }
  }
  return listeners;
}

}  // namespace fairlead::testbed
