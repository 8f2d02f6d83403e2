// Services without endpoints, and services that change.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {

std::vector<Scenario> without_endpoints() {
  const ServiceBuilder exposed = both_protocols().as(Exposure::LoadBalancer).with_external_ip();
  return {
      {"AServiceWithoutEndpointsRefuses",
       "8.1/9 8.2/rejected",
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
       "8.1/9 8.2/rejected",
       {{.given = {both_protocols()},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).outside_the_cgroup().refused(),
                 from("pod1a").to(cluster_ip("u")).outside_the_cgroup().refused(),
             }}}},
      {"EndpointsThatAreNotReadyAreLeftOut",
       "8.2/not-ready topology/not-ready-not-serving",
       {{.given = {service("web").with({ready("pod1a"), not_ready("pod2a"), not_ready("pod3a")})},
         .expect = {from("pod1b").to(cluster_ip()).answered_by({"pod1a"})}},
        {.given = {service("web").with({not_ready("pod1a"), not_ready("pod2a")})},
         .expect = {from("pod1b").to(cluster_ip()).refused()}}}},
  };
}

std::vector<Scenario> changes() {
  const ServiceBuilder web = both_protocols().as(Exposure::NodePort);
  const auto all_see = [](const std::vector<std::string>& endpoints) -> std::vector<Check> {
    return {from("pod1b").to(cluster_ip("t")).answered_by(endpoints),
            from("pod1b").to(cluster_ip("u")).answered_by(endpoints),
            from("client").to(node_port(3, "t")).answered_by(endpoints),
            from("client").to(node_port(3, "u")).answered_by(endpoints)};
  };
  return {
      {"EndpointsComeAndGo",
       "8.1/38 8.2/endpoints-change",
       {{.given = {web.with_endpoints({"pod1a", "pod2a"})}, .expect = all_see({"pod1a", "pod2a"})},
        {.given = {web.with_endpoints({"pod1a", "pod2a", "pod3a"})}, .expect = all_see({"pod1a", "pod2a", "pod3a"})},
        {.given = {web.with_endpoints({"pod3a"})}, .expect = all_see({"pod3a"})}}},
      {"TheLastEndpointGoesAndAnotherComes",
       "8.1/35 8.1/38 8.2/up-down",
       {{.given = {web.with_endpoints({"pod1a"})}, .expect = all_see({"pod1a"})},
        {.given = {web},
         .expect = {from("pod1b").to(cluster_ip("t")).refused(), from("client").to(node_port(3, "u")).refused()}},
        {.given = {web.with_endpoints({"pod2a"})}, .expect = all_see({"pod2a"})}}},
      {"ADeletedServiceAnswersNobody",
       "8.1/38 8.2/up-down",
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
       "8.2/type-change",
       {{.given = {web.with_endpoints({"pod1a"})}, .expect = all_see({"pod1a"})},
        {.given = {web.as(Exposure::ClusterIp).with_endpoints({"pod1a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("t")).answered_by({"pod1a"}),
                 from("client").to(node_port(3, "t")).unanswered(),
             }}}},
  };
}

}  // namespace fairlead::testbed::table
