// What happens to flows that go on while their service changes, and to load balancers that ask for the node's health.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {

std::vector<Scenario> conntrack() {
  const ServiceBuilder web = both_protocols().as(Exposure::NodePort);
  const std::vector<Check> datagrams = {from("pod1a").to(cluster_ip("u")).unconnected().starts_flow("inside"),
                                        from("pod1b").to(cluster_ip("u")).outside_the_cgroup().starts_flow("packets"),
                                        from("node1").to(cluster_ip("u")).unconnected().starts_flow("node"),
                                        from("client").to(node_port(3, "u")).starts_flow("outside")};
  const auto all_move = [](const std::vector<std::string>& names) -> std::vector<Check> {
    return {flow("inside").moves_to(names), flow("packets").moves_to(names), flow("node").moves_to(names),
            flow("outside").moves_to(names)};
  };
  const std::vector<Check> all_go_on = {flow("inside").goes_on(), flow("packets").goes_on(), flow("node").goes_on(),
                                        flow("outside").goes_on()};
  const std::vector<Check> all_silent = {flow("inside").falls_silent(), flow("packets").falls_silent(),
                                         flow("node").falls_silent(), flow("outside").falls_silent()};
  return {
      {"DatagramsFollowTheReplacementOfTheirEndpoint",
       "conntrack/udp-moves 8.2/udp-continuity",
       {{.given = {web.with_endpoints({"pod2a"})}, .expect = datagrams},
        {.given = {web.with_endpoints({"pod3a"})}, .expect = all_move({"pod3a"})},
        {.given = {web.with({no_longer_serving("pod3a"), ready("pod2b")})}, .expect = all_move({"pod2b"})}},
       Needs::Agents},
      {"DatagramsStayWithAnEndpointThatServes",
       "conntrack/udp-stays",
       {{.given = {web.with_endpoints({"pod2a"})}, .expect = datagrams},
        {.given = {web.with({serving_while_terminating("pod2a"), ready("pod3a")})}, .expect = all_go_on},
        {.given = {web.with({no_longer_serving("pod2a"), ready("pod3a")})}, .expect = all_move({"pod3a"})}},
       Needs::Agents},
      {"DatagramsLeaveAnOldTargetPort",
       "conntrack/target-port 8.2/target-port-change",
       {{.given = {web.with_endpoints({"pod2a"})}, .expect = datagrams},
        {.given = {both_protocols(kSecond).as(Exposure::NodePort).with_endpoints({"pod2a"})},
         .expect = all_move({"pod2a"})}},
       Needs::Agents},
      {"DatagramsOfAServiceWithoutEndpointsAreCut",
       "conntrack/no-endpoints",
       {{.given = {web.with_endpoints({"pod2a"})}, .expect = datagrams},
        {.given = {web}, .expect = all_silent},
        {.given = {web.with_endpoints({"pod3a"})}, .expect = all_move({"pod3a"})}},
       Needs::Agents},
      {"DatagramsThatWereThereBeforeTheirServiceAreServed",
       "conntrack/not-translated",
       {{.given = {both_protocols().with_endpoints({"pod2a"})},
         .expect = {from("client").to(node_port(3, "u")).starts_unanswered_flow("outside")}},
        {.given = {web.with_endpoints({"pod2a"})}, .expect = {flow("outside").moves_to({"pod2a"})}}},
       Needs::Agents},
      {"DatagramsFollowUnderInternalPolicyLocal",
       "8.2/udp-continuity",
       {{.given = {both_protocols().internal_policy_local().with_endpoints({"pod1a"})},
         .expect = {from("pod1b").to(cluster_ip("u")).unconnected().starts_flow("pod"),
                    from("node1").to(cluster_ip("u")).outside_the_cgroup().starts_flow("node")}},
        {.given = {both_protocols().internal_policy_local().with_endpoints({"pod1b"})},
         .expect = {flow("pod").moves_to({"pod1b"}), flow("node").moves_to({"pod1b"})}}},
       Needs::Agents},
      {"ConnectionsAreLeftAlone",
       "conntrack/tcp 8.2/blue-green",
       {{.given = {web.with_endpoints({"pod2a"})},
         .expect = {from("pod1a").to(cluster_ip("t")).starts_flow("inside"),
                    from("pod1b").to(cluster_ip("t")).outside_the_cgroup().starts_flow("packets"),
                    from("client").to(node_port(3, "t")).starts_flow("outside")}},
        {.given = {web.with({no_longer_serving("pod2a"), ready("pod3a")})},
         .expect = {from("pod1a").to(cluster_ip("t")).answered_by({"pod3a"}), flow("inside").goes_on(),
                    flow("packets").goes_on(), flow("outside").goes_on()}},
        {.given = {web}, .expect = {flow("inside").goes_on(), flow("packets").goes_on(), flow("outside").goes_on()}}}},
  };
}

std::vector<Scenario> health() {
  const ServiceBuilder balanced =
      both_protocols().as(Exposure::LoadBalancer).external_policy_local().with_health_check();
  return {
      {"TheHealthCheckCountsTheNodesEndpoints",
       "8.1/25 health/service",
       {{.given = {balanced.with_endpoints({"pod1a", "pod1b", "pod2a"})},
         .expect =
             {
                 from("client").to(health_check(1)).answers_http(200, 2),
                 from("client").to(health_check(2)).answers_http(200, 1),
                 from("client").to(health_check(3)).answers_http(503, 0),
             }},
        {.given = {balanced.with_endpoints({"pod2a"})},
         .expect = {from("client").to(health_check(1)).answers_http(503, 0),
                    from("client").to(health_check(2)).answers_http(200, 1)}}},
       Needs::Agents},
      {"TerminatingEndpointsDoNotCountForHealth",
       "8.1/36 8.2/terminating-health",
       {{.given = {balanced.with({ready("pod1a"), serving_while_terminating("pod1b")})},
         .expect = {from("client").to(health_check(1)).answers_http(200, 1)}},
        {.given = {balanced.with({serving_while_terminating("pod1a"), serving_while_terminating("pod1b")})},
         .expect = {from("client").to(health_check(1)).answers_http(503, 0),
                    from("client").to(load_balancer_ip("t")).answered_by({"pod1a", "pod1b"}).seen_as(Seen::Client),
                    from("client").to(node_port(1, "u")).answered_by({"pod1a", "pod1b"})}}},
       Needs::Agents},
      {"TheHealthCheckFollowsThePolicy",
       "health/service 8.2/policy-flip",
       {{.given = {balanced.with_endpoints({"pod1a"})},
         .expect = {from("client").to(health_check(1)).answers_http(200, 1),
                    from("client").to(health_check(2)).answers_http(503, 0)}},
        {.given = {both_protocols().as(Exposure::LoadBalancer).with_endpoints({"pod1a"})},
         .expect = {from("client").to(health_check(1)).unanswered()}},
        {.given = {balanced.with_endpoints({"pod1a"})},
         .expect = {from("client").to(health_check(1)).answers_http(200, 1)}}},
       Needs::Agents},
  };
}

}  // namespace fairlead::testbed::table
