// loadBalancerSourceRanges, ipMode, and the load balancer's address on the node.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {

std::vector<Scenario> source_ranges() {
  const std::vector<std::string> all{"pod1b", "pod2a"};
  const ServiceBuilder balanced = both_protocols().as(Exposure::LoadBalancer).with_load_balancer_ips(2);
  const ServiceBuilder open_to_some = balanced.allowing({"client", "node1"}).with_endpoints(all);
  const auto allowed = [&](const std::string& who) {
    return from(who).to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Node);
  };
  return {
      {"SourceRangesLeaveOtherAddressesOpen",
       "8.1/10 8.1/11 8.1/12",
       {{.given = {open_to_some},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by(all).seen_as(Seen::Client),
                 from("client").to(node_port(1, "t")).answered_by(all).seen_as(Seen::Node),
                 from("blocked").to(node_port(1, "t")).answered_by(all).seen_as(Seen::Node),
                 from("blocked").to(node_port(1, "u")).answered_by(all).seen_as(Seen::Node),
             }}}},
      {"SourceRangesLetInWhoIsAllowed",
       "8.1/13 8.1/16 8.2/load-balancer",
       {{.given = {open_to_some},
         .expect =
             {
                 allowed("client"),
                 from("client").to(load_balancer_ip("u")).answered_by(all).seen_as(Seen::Node),
                 from("client").to(second_load_balancer_ip("t")).answered_by(all).seen_as(Seen::Node),
                 allowed("node1"),
                 from("node1").to(second_load_balancer_ip("u")).answered_by(all).seen_as(Seen::Node),
                 from("node1").outside_the_cgroup().to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Node),
             }}}},
      {"SourceRangesDropEverybodyElse",
       "8.1/14 8.1/15 8.2/load-balancer",
       {{.given = {open_to_some},
         .expect =
             {
                 from("blocked").to(load_balancer_ip("t")).dropped(),
                 from("blocked").to(load_balancer_ip("u")).dropped(),
                 from("blocked").to(second_load_balancer_ip("t")).dropped(),
                 from("pod1a").to(load_balancer_ip("t")).dropped(),
                 from("pod1a").to(load_balancer_ip("u")).dropped(),
                 from("pod1a").to(second_load_balancer_ip("t")).dropped(),
                 from("pod1a").outside_the_cgroup().to(load_balancer_ip("t")).dropped(),
                 from("node2").to(load_balancer_ip("t")).dropped(),
             }}}},
      {"ANodeMayComeFromItsLoadBalancerIp",
       "8.1/17",
       {{.given = {open_to_some},
         .expect =
             {
                 from("node1").holding_the_address().to(load_balancer_ip("t")).answered_by(all),
             }}}},
      {"WithoutTheNodeItsLoadBalancerIpIsAStranger",
       "8.1/17",
       {{.given = {balanced.allowing({"client"}).with_endpoints(all)},
         .expect =
             {
                 allowed("client"),
                 from("node1").to(load_balancer_ip("t")).dropped(),
                 from("node1").holding_the_address().to(load_balancer_ip("t")).dropped(),
             }}},
       Needs::Nothing,
       Operator::Usual,
       {{{"ebpf"},
         "what a node sends to an address of its own passes no program: it is not served, and the node itself refuses "
         "it "
         "(proxy/dataplane/ebpf/layout.md)",
         {{.given = {balanced.allowing({"client"}).with_endpoints(all)},
           .expect = {allowed("client"), from("node1").to(load_balancer_ip("t")).dropped(),
                      from("node1").holding_the_address().to(load_balancer_ip("t")).unanswered()}}}}}},
      {"BlanksAroundSourceRangesDoNotMatter",
       "8.1/18",
       {{.given = {balanced.allowing({"  client ", " node1"}).with_endpoints(all)},
         .expect = {allowed("client"), allowed("node1"), from("blocked").to(load_balancer_ip("t")).dropped()}}}},
      {"SourceRangesCountForExternalPolicyLocalToo",
       "8.1/13 8.1/14",
       {{.given = {open_to_some.external_policy_local()},
         .expect =
             {
                 from("client").to(load_balancer_ip("t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("blocked").to(load_balancer_ip("t")).dropped(),
                 from("pod1a").to(load_balancer_ip("t")).dropped(),
             }}}},
      {"ARangeOfEverythingIsNone",
       "8.1/13",
       {{.given = {balanced.allowing({"node2", "0.0.0.0/0", "::/0"}).with_endpoints(all)},
         .expect = {allowed("client"), allowed("blocked")}}}},
      {"RangesOfOneFamilyCloseTheOther",
       "8.1/14",
       {{.given = {balanced.allowing({"172.18.0.100/32"}).with_endpoints(all)},
         .expect = {allowed("client"), from("blocked").to(load_balancer_ip("t")).dropped()}}},
       Needs::Nothing,
       Operator::Usual,
       {{{"ebpf", "nftables", "iptables"},
         "kube-proxy opens a family that no range is of; here it is closed (docs/adr/0015)",
         {{.given = {balanced.allowing({"172.18.0.100/32"}).with_endpoints(all)},
           .expect = {from("client").to(load_balancer_ip("t")).dropped(),
                      from("blocked").to(load_balancer_ip("t")).dropped()}}},
         net::Family::V6}}},
      {"RangesComeAndGo",
       "8.2/load-balancer",
       {{.given = {open_to_some}, .expect = {from("blocked").to(load_balancer_ip("t")).dropped()}},
        {.given = {balanced.with_endpoints(all)}, .expect = {allowed("blocked")}},
        {.given = {balanced.allowing({"blocked"}).with_endpoints(all)},
         .expect = {allowed("blocked"), from("client").to(load_balancer_ip("t")).dropped()}}}},
      {"ALoadBalancerIpOfModeProxyIsNotServed",
       "8.1/19",
       {{.given = {balanced.with_load_balancer_ips(1, "Proxy").with_endpoints(all)},
         .expect =
             {
                 from("pod1a").to(load_balancer_ip("t")).unanswered(),
                 from("client").to(load_balancer_ip("t")).unanswered(),
                 from("client").to(node_port(1, "t")).answered_by(all),
             }},
        {.given = {balanced.with_load_balancer_ips(1, "VIP").with_endpoints(all)},
         .expect = {from("pod1a").to(load_balancer_ip("t")).answered_by(all), allowed("client")}}}},
  };
}

}  // namespace fairlead::testbed::table
