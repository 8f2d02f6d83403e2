// Terminating endpoints (KEP-1669) and the choice of endpoints by hints (KEP-2433, KEP-3015).
#include "base/strings.h"
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {
namespace {

using Names = std::vector<std::string>;
using Endpoints = std::vector<EndpointSpec>;

ServiceBuilder balanced() { return both_protocols().as(Exposure::LoadBalancer); }

// What is inside is asked from pod3b, what is outside through node1.
std::vector<Check> inside(const Names& served) {
  return {from("pod3b").to(cluster_ip("t")).answered_by(served), from("pod3b").to(cluster_ip("u")).answered_by(served)};
}
std::vector<Check> outside(const Names& served) {
  return {from("client").to(load_balancer_ip("t")).answered_by(served),
          from("client").to(node_port(1, "u")).answered_by(served)};
}

std::vector<Check> both(std::vector<Check> one, const std::vector<Check>& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

Scenario external_local(std::string name, std::string items, const Endpoints& endpoints, std::vector<Check> expect) {
  return {std::move(name),
          std::move(items),
          {{.given = {balanced().external_policy_local().with(endpoints)}, .expect = std::move(expect)}}};
}
Scenario external_cluster(std::string name, std::string items, const Endpoints& endpoints, std::vector<Check> expect) {
  return {std::move(name), std::move(items), {{.given = {balanced().with(endpoints)}, .expect = std::move(expect)}}};
}

Endpoints some_ready() {
  return {ready("pod1a"), serving_while_terminating("pod1b"), ready("pod2a"), serving_while_terminating("pod2b")};
}
Endpoints own_terminating() { return {serving_while_terminating("pod1a"), no_longer_serving("pod1b"), ready("pod2a")}; }
Endpoints elsewhere_terminating() {
  return {no_longer_serving("pod1b"), serving_while_terminating("pod2a"), no_longer_serving("pod2b")};
}
Endpoints nobody_serves() { return {no_longer_serving("pod1a"), not_ready("pod1b"), no_longer_serving("pod2a")}; }

}  // namespace

std::vector<Scenario> terminating() {
  const std::vector<Check> refused = {
      from("pod3b").to(cluster_ip("t")).refused(), from("pod3b").to(cluster_ip("u")).refused(),
      from("client").to(load_balancer_ip("t")).refused(), from("client").to(node_port(1, "u")).refused()};
  return {
      external_local("ExternalLocalReadyEndpointsAlone", "8.1/30 topology/external-local-terminating", some_ready(),
                     both(inside({"pod1a", "pod2a"}), outside({"pod1a"}))),
      external_local("ExternalLocalTheNodesOwnAreTerminating", "8.1/31 8.2/terminating-fallback", own_terminating(),
                     both(inside({"pod2a"}), outside({"pod1a"}))),
      external_local("ExternalLocalOthersAreTerminating", "8.1/32 8.2/terminating-fallback", elsewhere_terminating(),
                     both(inside({"pod2a"}), {from("client").to(load_balancer_ip("t")).dropped(),
                                              from("client").to(node_port(1, "u")).dropped(),
                                              from("client").to(node_port(2, "t")).answered_by({"pod2a"})})),
      external_local("ExternalLocalNobodyServes", "8.1/33", nobody_serves(), refused),
      external_cluster("ExternalClusterReadyEndpointsAlone", "8.1/34 topology/some-ready", some_ready(),
                       both(inside({"pod1a", "pod2a"}), outside({"pod1a", "pod2a"}))),
      external_cluster("ExternalClusterTheNodesOwnAreTerminating", "8.1/34", own_terminating(),
                       both(inside({"pod2a"}), outside({"pod2a"}))),
      external_cluster("ExternalClusterAllAreTerminating", "8.1/34 8.2/terminating-fallback topology/all-terminating",
                       elsewhere_terminating(), both(inside({"pod2a"}), outside({"pod2a"}))),
      external_cluster("ExternalClusterNobodyServes", "8.1/34 topology/none-ready", nobody_serves(), refused),
      {"TheLastSliceIsDeleted",
       "8.1/35",
       {{.given = {balanced().external_policy_local().with(some_ready())}, .expect = outside({"pod1a"})},
        {.given = {balanced().external_policy_local()}, .expect = refused}}},
      {"InternalLocalFallsBackToTheNodesTerminating",
       "8.2/terminating-fallback",
       {{.given = {both_protocols().internal_policy_local().with(own_terminating())},
         .expect = {from("node1").to(cluster_ip("t")).answered_by({"pod1a"}),
                    from("pod2b").to(cluster_ip("t")).answered_by({"pod2a"}),
                    from("pod3b").to(cluster_ip("t")).dropped()}}}},
      {"BothLocalAndAllAreTerminatingElsewhere",
       "topology/both-local-remote-terminating",
       {{.given = {balanced().internal_policy_local().external_policy_local().with(elsewhere_terminating())},
         .expect = {from("pod1a").to(cluster_ip("t")).dropped(), from("client").to(node_port(1, "t")).dropped(),
                    from("pod2b").to(cluster_ip("t")).answered_by({"pod2a"}),
                    from("client").to(node_port(2, "t")).answered_by({"pod2a"})}}}},
      {"AnEndpointThatIsPublishedNotReadyIsReached",
       "8.2/publish-not-ready",
       {{.given = {balanced().with(
             {{.place = "pod1a", .ready = true, .serving = false, .terminating = true}, no_longer_serving("pod2a")})},
         .expect = {from("pod3b").to(cluster_ip("t")).answered_by({"pod1a"}),
                    from("client").to(node_port(1, "t")).answered_by({"pod1a"}),
                    from("client").to(node_port(2, "t")).answered_by({"pod1a"})}}}},
      {"WithoutItNobodyIs",
       "8.2/not-ready",
       {{.given = {balanced().with({no_longer_serving("pod1a")})}, .expect = refused}}},
      {"AbsentConditionsMeanReady",
       "tracker/conditions",
       {{.given = {balanced().with({without_conditions("pod1a"), not_ready("pod2a")})}, .expect = inside({"pod1a"})}}},
      {"AnEndpointBecomesReady",
       "8.2/unready-becomes-ready",
       {{.given = {balanced().with({not_ready("pod1a")})}, .expect = refused},
        {.given = {balanced().with({ready("pod1a")})}, .expect = both(inside({"pod1a"}), outside({"pod1a"}))}}},
      {"ConnectionsToATerminatingPodLiveOn",
       "8.2/blue-green 8.2/udp-continuity",
       {{.given = {both_protocols().with({ready("pod1b")})},
         .expect = {from("pod1a").to(cluster_ip("t")).starts_flow("connection"),
                    from("pod1a").to(cluster_ip("u")).starts_flow("datagrams")}},
        {.given = {both_protocols().with({serving_while_terminating("pod1b"), ready("pod2a")})},
         .expect = {from("pod1a").to(cluster_ip("t")).answered_by({"pod2a"}), flow("connection").goes_on(),
                    flow("datagrams").goes_on()}}}},
  };
}

namespace {

// pod1* are in zone-a, pod2* in zone-b; node3 has no zone.
Scenario zones(std::string name, std::string items, const Endpoints& endpoints, std::vector<Check> expect) {
  return {
      std::move(name), std::move(items), {{.given = {both_protocols().with(endpoints)}, .expect = std::move(expect)}}};
}

Check served(const std::string& client, const Names& endpoints) {
  return from(client).to(cluster_ip("t")).answered_by(endpoints);
}

EndpointSpec a(std::string place) { return ready(std::move(place)).for_zones({"zone-a"}); }
EndpointSpec b(std::string place) { return ready(std::move(place)).for_zones({"zone-b"}); }

}  // namespace

std::vector<Scenario> topology() {
  const Names all{"pod1b", "pod2b", "pod3b"};
  const ServiceBuilder external_local = both_protocols().as(Exposure::NodePort).external_policy_local();
  return {
      zones("HintsKeepTrafficInTheZone", "topology/zone-hints 8.2/same-zone", {a("pod1b"), b("pod2b"), b("pod3b")},
            {served("pod1a", {"pod1b"}), served("pod2a", {"pod2b", "pod3b"}),
             from("pod1a").to(cluster_ip("u")).answered_by({"pod1b"}),
             from("pod1a").outside_the_cgroup().to(cluster_ip("t")).answered_by({"pod1b"}),
             from("node1").to(cluster_ip("t")).answered_by({"pod1b"})}),
      zones("ANodeWithoutAZoneUsesAll", "topology/no-label", {a("pod1b"), b("pod2b"), b("pod3b")},
            {served("pod3a", all), from("node3").to(cluster_ip("u")).answered_by(all)}),
      {"ANodeOfAnEmptyZoneUsesAll",
       "topology/empty-zone",
       {{.given = {both_protocols().with({a("pod1b"), b("pod2b"), b("pod3b")})},
         .expect = {served("pod1a", all)},
         .cluster = {.zones = {{1, ""}, {2, "zone-b"}}}}}},
      {"ANodeMovesToAnotherZone",
       "topology/zone-hints",
       {{.given = {both_protocols().with({a("pod1b"), b("pod2b"), b("pod3b")})},
         .expect = {served("pod1a", {"pod1b"})}},
        {.given = {both_protocols().with({a("pod1b"), b("pod2b"), b("pod3b")})},
         .expect = {served("pod1a", {"pod2b", "pod3b"})},
         .cluster = {.zones = {{1, "zone-b"}, {2, "zone-b"}}}}}},
      zones("AZoneWithoutEndpointsUsesAll", "topology/other-zone", {b("pod1b"), b("pod2b"), b("pod3b")},
            {served("pod1a", all), served("pod2a", all)}),
      zones("AHintMakesNobodyReady", "topology/not-ready-with-hint",
            {a("pod1b"), a("pod3b"), not_ready("pod2b").for_zones({"zone-a"})}, {served("pod1a", {"pod1b", "pod3b"})}),
      zones("AZoneWhoseEndpointsAreNotReadyUsesAll", "topology/only-not-ready-in-zone",
            {not_ready("pod1b").for_zones({"zone-a"}), b("pod2b"), b("pod3b")}, {served("pod1a", {"pod2b", "pod3b"})}),
      zones("OneMissingHintMeansAll", "topology/missing-hint", {a("pod1b"), b("pod2b"), ready("pod3b")},
            {served("pod1a", all), served("pod2a", all)}),
      zones("AnEndpointMayBeForSeveralZones", "topology/several-zones",
            {ready("pod1b").for_zones({"zone-a", "zone-b"}), b("pod2b"), ready("pod3b").for_zones({"zone-c"})},
            {served("pod1a", {"pod1b"}), served("pod2a", {"pod1b", "pod2b"})}),
      zones("HintsForNodesComeFirst", "topology/same-node 8.2/same-node",
            {a("pod1b").for_nodes({"node1"}), a("pod2b").for_nodes({"node2"}), b("pod3b").for_nodes({"node3"})},
            {served("pod1a", {"pod1b"}), served("pod2a", {"pod2b"}), served("pod3a", {"pod3b"})}),
      zones("OneMissingHintForNodesMeansTheZone", "topology/some-unhinted-for-nodes 8.2/same-node",
            {a("pod1b").for_nodes({"node1"}), a("pod2b"), b("pod3b").for_nodes({"node3"})},
            {served("pod1a", {"pod1b", "pod2b"}), served("pod3a", all)}),
      zones("ANodeWithoutEndpointsUsesItsZone", "topology/same-node-falls-back 8.2/same-node",
            {a("pod2b").for_nodes({"node2"}), b("pod3b").for_nodes({"node3"})},
            {served("pod1a", {"pod2b"}), served("pod2a", {"pod2b"}), served("pod3a", {"pod3b"})}),
      {"HintsSayNothingOfTheNodesOwnOutside",
       "topology/external-local topology/local-and-hints",
       {{.given = {external_local.with({b("pod1b"), a("pod2b")})},
         .expect = {served("pod1a", {"pod2b"}), from("client").to(node_port(1, "t")).answered_by({"pod1b"}),
                    from("client").to(node_port(2, "u")).answered_by({"pod2b"})}}}},
      {"HintsSayNothingOfTheNodesOwnInside",
       "topology/internal-local",
       {{.given = {both_protocols().internal_policy_local().with({b("pod1b"), a("pod2b")})},
         .expect = {served("pod1a", {"pod1b"}), served("pod2a", {"pod2b"})}}}},
      zones("HintsSayNothingOnceAllAreTerminating", "topology/hints-terminating",
            {serving_while_terminating("pod1b").for_zones({"zone-a"}),
             serving_while_terminating("pod2b").for_zones({"zone-b"})},
            {served("pod1a", {"pod1b", "pod2b"})}),
  };
}

}  // namespace fairlead::testbed::table
