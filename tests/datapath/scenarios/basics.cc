// ClusterIPs and ports, with the cluster at rest.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {

std::vector<Scenario> cluster_ips() {
  return {
      {"ClusterIpReachesEveryEndpoint",
       "8.1/1 8.1/3 8.2/source-preserved",
       {{.given = {service("web").with_endpoints({"pod1b", "pod2a", "pod3a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip()).answered_by({"pod1b", "pod2a", "pod3a"}).seen_as(Seen::Client),
                 from("pod2b").to(cluster_ip()).answered_by({"pod1b", "pod2a", "pod3a"}).seen_as(Seen::Client),
             }}}},
      {"ClusterIpServesProcessesOfTheNode",
       "8.1/3 8.2/networking",
       {{.given = {both_protocols().with_endpoints(one_per_node())},
         .expect =
             {
                 from("node1").to(cluster_ip("t")).answered_by(one_per_node()).seen_as(Seen::Client),
                 from("node1").to(cluster_ip("u")).answered_by(one_per_node()).seen_as(Seen::Client),
                 from("node3").to(cluster_ip("t")).answered_by(one_per_node()).seen_as(Seen::Client),
             }}}},
      {"ClusterIpServesConnectedUdp",
       "8.1/3 8.2/networking",
       {{.given = {service("web").with_port(udp()).with_endpoints({"pod1b", "pod2a"})},
         .expect = {from("pod1a").to(cluster_ip()).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client)}}}},
      {"ClusterIpServesUnconnectedUdpUnderItsOwnAddress",
       "8.2/networking",
       {{.given = {service("web").with_port(udp()).with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip()).unconnected().answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client),
                 from("node1").to(cluster_ip()).unconnected().answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client),
             }}}},
      {"AConnectionStaysWithItsEndpoint",
       "8.2/services-basic",
       {{.given = {service("web").with_endpoints(one_per_node())},
         .expect = {from("pod1b").to(cluster_ip()).with_requests(10).answered_by(one_per_node())}}}},
      {"APodReachesItself",
       "8.1/2 8.2/hairpin",
       {{.given = {both_protocols().with_endpoints({"pod1a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by({"pod1a"}).seen_as(Seen::Masqueraded),
                 from("pod1a").to(cluster_ip("u")).answered_by({"pod1a"}).seen_as(Seen::Masqueraded),
             }}}},
      {"AMappedSocketIsAnIpv4Client",
       "8.2/dual-stack",
       {{.given = {both_protocols().with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).over_a_mapped_socket().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).over_a_mapped_socket().answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("u")).over_a_mapped_socket().unconnected().answered_by({"pod1b", "pod2a"}),
             }}},
       Needs::IPv4},
      {"AnEndpointMayBeANode",
       "8.1/4 8.2/host-network",
       {{.given = {service("web").with_port(tcp("", 443, kHostNetworkPort)).with_endpoints({"node2"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip()).answered_by({"node2"}),
                 from("node1").to(cluster_ip()).answered_by({"node2"}),
                 from("node2").to(cluster_ip()).answered_by({"node2"}),
             }}}},
  };
}

std::vector<Scenario> ports() {
  return {
      {"EveryPortLeadsToItsOwnTarget",
       "8.1/4 8.2/multiport",
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
       "8.1/5 8.2/same-port",
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
       "8.2/named-target-ports",
       {{.given = {service("web")
                       .with_port(tcp("http"))
                       .with_slice({.endpoints = {ready("pod1a")}, .targets = {{"http", kMain}}})
                       .with_slice({.endpoints = {ready("pod2a")}, .targets = {{"http", kSecond}}})},
         .expect = {from("pod1b").to(cluster_ip("http")).answered_by({"pod1a", "pod2a"})}}}},
      {"ServicesDoNotMix",
       "8.2/services-basic",
       {{.given = {service("web").with_endpoints({"pod1a", "pod2a"}), service("shop").with_endpoints({"pod3a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip()).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("", "shop")).answered_by({"pod3a"}),
             }}}},
      {"DualStackServesBothFamilies",
       "8.2/dual-stack",
       {{.given = {both_protocols().in_both_families().as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("t")).answered_by({"pod1a", "pod2a"}),
                 from("pod1b").to(cluster_ip("u")).answered_by({"pod1a", "pod2a"}),
                 from("client").to(node_port(3, "t")).answered_by({"pod1a", "pod2a"}),
             }}}},
      {"ClusterIpServesSctp",
       "8.1/5 8.2/sctp",
       {{.given = {service("web").with_port(sctp("", kMain, kMain)).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("pod1b").to(cluster_ip()).answered_by({"pod1a", "pod2a"})}}},
       Needs::Sctp},
      {"NodePortServesSctp",
       "8.1/5 8.2/sctp",
       {{.given = {service("web").with_port(sctp()).as(Exposure::NodePort).with_endpoints({"pod1a", "pod2a"})},
         .expect = {from("client").to(node_port(3)).answered_by({"pod1a", "pod2a"})}}},
       Needs::Sctp},
  };
}

}  // namespace fairlead::testbed::table
