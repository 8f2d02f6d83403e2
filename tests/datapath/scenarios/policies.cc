// Traffic policies (KEP-1436, KEP-2086): who is served from which endpoints, and who is masqueraded.
#include "base/strings.h"
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {
namespace {

using Names = std::vector<std::string>;

// "web" with every kind of address; one endpoint on node1, where load balancer traffic comes in, and one on node2,
// where that to the externalIP does.
ServiceBuilder everywhere() { return both_protocols().as(Exposure::LoadBalancer).with_external_ip(); }

std::vector<Scenario> external_policy() {
  const Names all{"pod1b", "pod2a"};
  return {
      {"ExternalPolicyLocalServesPodsFromAllEndpoints",
       "8.1/26 8.2/external-policy",
       {{.given = {everywhere().external_policy_local().with_endpoints(all)},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").to(cluster_ip("u")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").to(external_ip("t")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").to(load_balancer_ip("u")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").to(node_port(1, "t")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").outside_the_cgroup().to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").outside_the_cgroup().to(node_port(1, "t")).answered_by(all).seen_as(Seen::Client),
             }}}},
      {"ExternalPolicyLocalServesClientsFromTheNodesOwn",
       "8.1/26 8.2/external-policy",
       {{.given = {everywhere().external_policy_local().with_endpoints(all)},
         .expect =
             {
                 from("client").to(load_balancer_ip("t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("client").to(load_balancer_ip("u")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("client").to(external_ip("t")).answered_by({"pod2a"}).seen_as(Seen::Client),
                 from("client").to(node_port(1, "t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("client").to(node_port(2, "t")).answered_by({"pod2a"}).seen_as(Seen::Client),
                 from("client").to(node_port(2, "u")).answered_by({"pod2a"}).seen_as(Seen::Client),
                 from("client").to(node_port(3, "t")).dropped(),
                 from("client").to(node_port(3, "u")).dropped(),
             }}}},
      {"ExternalPolicyLocalServesTheNodeFromAllEndpoints",
       "8.1/26",
       {{.given = {everywhere().external_policy_local().with_endpoints(all)},
         .expect =
             {
                 from("node1").to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Node),
                 from("node1").to(node_port(1, "t")).answered_by(all).seen_as(Seen::Node),
                 from("node3").to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Node),
                 from("node3").to(load_balancer_ip("u")).answered_by(all).seen_as(Seen::Node),
                 from("node3").to(node_port(3, "t")).answered_by(all).seen_as(Seen::Node),
             }}}},
      {"ExternalPolicyClusterMasqueradesAllButClusterIps",
       "8.1/27 8.2/load-balancer",
       {{.given = {everywhere().with_endpoints(all)},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by(all).seen_as(Seen::Client),
                 from("pod1a").to(external_ip("t")).answered_by(all).seen_as(Seen::Masqueraded),
                 from("pod1a").to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Masqueraded),
                 from("pod1a").to(node_port(1, "t")).answered_by(all).seen_as(Seen::Masqueraded),
                 from("pod1a").outside_the_cgroup().to(external_ip("t")).answered_by(all).seen_as(Seen::Node),
                 from("pod1a").outside_the_cgroup().to(load_balancer_ip("u")).answered_by(all).seen_as(Seen::Node),
                 from("client").to(external_ip("t")).answered_by(all).seen_as(Seen::Node),
                 from("client").to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Node),
                 from("client").to(load_balancer_ip("u")).answered_by(all).seen_as(Seen::Node),
                 from("client").to(node_port(3, "t")).answered_by(all).seen_as(Seen::Node),
                 from("node3").to(load_balancer_ip("t")).answered_by(all).seen_as(Seen::Node),
             }}}},
      {"AnExternalIpOfNoNodeIsReachedByPods",
       "8.2/external-ip",
       {{.given = {both_protocols().with_external_ip().with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(external_ip("t")).answered_by(all),
                 from("pod3a").to(external_ip("u")).answered_by(all),
                 from("node1").to(external_ip("t")).answered_by(all),
             }}}},
      {"ExternalPolicyLocalOfAClusterIpAloneIsNone",
       "topology/not-external",
       {{.given = {service("web").external_policy_local().with_endpoints(all)},
         .expect =
             {
                 from("pod1a").to(cluster_ip()).answered_by(all).seen_as(Seen::Client),
                 from("pod3a").to(cluster_ip()).answered_by(all).seen_as(Seen::Client),
             }}}},
      {"ExternalPolicyLocalCountsForExternalIpsOfAnyType",
       "8.1/26",
       {{.given = {service("web").with_external_ip().external_policy_local().with_endpoints(all)},
         .expect =
             {
                 from("client").to(external_ip()).answered_by({"pod2a"}).seen_as(Seen::Client),
                 from("pod3a").to(cluster_ip()).answered_by(all).seen_as(Seen::Client),
             }}}},
      {"ExternalPolicyFlips",
       "8.2/policy-flip",
       {{.given = {everywhere().external_policy_local().with_endpoints({"pod1b"})},
         .expect = {from("client").to(node_port(1, "t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                    from("node2").to(node_port(2, "t")).answered_by({"pod1b"}),
                    from("client").to(node_port(3, "t")).dropped()}},
        {.given = {everywhere().with_endpoints({"pod1b"})},
         .expect = {from("client").to(node_port(1, "t")).answered_by({"pod1b"}).seen_as(Seen::Node),
                    from("node2").to(node_port(2, "t")).answered_by({"pod1b"}),
                    from("client").to(node_port(3, "t")).answered_by({"pod1b"}).seen_as(Seen::Node)}},
        {.given = {everywhere().external_policy_local().with_endpoints({"pod1b"})},
         .expect = {from("client").to(node_port(1, "t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                    from("node2").to(node_port(2, "t")).answered_by({"pod1b"}),
                    from("client").to(node_port(3, "t")).dropped()}}}},
  };
}

std::vector<Scenario> internal_policy() {
  const ServiceBuilder web = both_protocols().internal_policy_local();
  const ServiceBuilder host =
      service("web").with_port(tcp("", 443, kHostNetworkPort)).internal_policy_local().with_endpoints({"node1"});
  return {
      {"InternalPolicyClusterServesFromAllEndpoints",
       "8.1/28",
       {{.given = {both_protocols().with_endpoints({"pod1b", "pod2a"})},
         .expect = {from("pod1a").to(cluster_ip("t")).answered_by({"pod1b", "pod2a"}),
                    from("pod3a").to(cluster_ip("t")).answered_by({"pod1b", "pod2a"})}}}},
      {"InternalPolicyLocalServesFromTheNodesOwn",
       "8.1/28 8.2/internal-policy topology/internal-local-some",
       {{.given = {web.with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("pod1a").to(cluster_ip("u")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("pod1a").outside_the_cgroup().to(cluster_ip("t")).answered_by({"pod1b"}),
                 from("node1").to(cluster_ip("t")).answered_by({"pod1b"}),
                 from("pod2b").to(cluster_ip("t")).answered_by({"pod2a"}),
             }}}},
      {"InternalPolicyLocalServesFromAllOfTheNodesOwn",
       "8.1/28 topology/internal-local-all",
       {{.given = {web.with_endpoints({"pod1a", "pod1b"})},
         .expect = {from("node1").to(cluster_ip("t")).answered_by({"pod1a", "pod1b"}),
                    from("pod1a").to(cluster_ip("u")).answered_by({"pod1a", "pod1b"})}}}},
      {"InternalPolicyLocalDropsWhereOnlyOthersHaveEndpoints",
       "8.1/28 8.2/internal-policy topology/internal-local-remote topology/internal-only",
       {{.given = {web.with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod3a").to(cluster_ip("t")).dropped(),
                 from("pod3a").to(cluster_ip("u")).dropped(),
                 from("node3").to(cluster_ip("t")).dropped(),
                 from("pod3a").outside_the_cgroup().to(cluster_ip("t")).dropped(),
                 from("pod3a").outside_the_cgroup().to(cluster_ip("u")).dropped(),
             }}}},
      {"InternalPolicyLocalRefusesWhenNobodyHasEndpoints",
       "8.1/28 topology/internal-local-empty",
       {{.given = {web.with_endpoints({"pod1b"})},
         .expect = {from("pod1a").to(cluster_ip("t")).answered_by({"pod1b"})}},
        {.given = {web},
         .expect = {from("pod1a").to(cluster_ip("t")).refused(), from("pod3a").to(cluster_ip("u")).refused()}}}},
      {"InternalPolicyLocalLeadsToTheHostNetwork",
       "8.2/internal-policy 8.2/host-network",
       {{.given = {host},
         .expect = {from("pod1a").to(cluster_ip()).answered_by({"node1"}),
                    from("node1").to(cluster_ip()).answered_by({"node1"}), from("pod2a").to(cluster_ip()).dropped(),
                    from("node2").to(cluster_ip()).dropped()}}}},
      {"InternalPolicyLocalSaysNothingOfExternalAddresses",
       "topology/internal-local-external-cluster",
       {{.given = {everywhere().internal_policy_local().with_endpoints({"pod1b", "pod2a"})},
         .expect = {from("pod1a").to(cluster_ip("t")).answered_by({"pod1b"}),
                    from("pod3a").to(cluster_ip("t")).dropped(),
                    from("client").to(node_port(3, "t")).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Node),
                    from("client").to(load_balancer_ip("t")).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Node)}}}},
      {"ExternalPolicyLocalSaysNothingOfTheClusterIp",
       "topology/internal-cluster-external-local",
       {{.given = {everywhere().external_policy_local().with_endpoints({"pod1b", "pod2a"})},
         .expect = {from("pod3a").to(cluster_ip("t")).answered_by({"pod1b", "pod2a"}),
                    from("client").to(node_port(1, "t")).answered_by({"pod1b"}),
                    from("client").to(node_port(3, "t")).dropped()}}}},
      {"BothPoliciesLocal",
       "topology/both-local topology/both-local-remote",
       {{.given = {everywhere().internal_policy_local().external_policy_local().with_endpoints({"pod1b", "pod2a"})},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("client").to(node_port(1, "t")).answered_by({"pod1b"}).seen_as(Seen::Client),
                 from("pod1a").to(load_balancer_ip("t")).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client),
                 from("pod3a").to(cluster_ip("t")).dropped(),
                 from("client").to(node_port(3, "t")).dropped(),
                 from("pod3a").to(load_balancer_ip("t")).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client),
             }}}},
  };
}

// The 30 flows of TestInternalExternalMasquerade (kubernetes v1.36 pkg/proxy/iptables/proxier_test.go): clients pod,
// node, localhost and outside; ClusterIP, NodePort and load balancer IP; each policy. What is expected follows the
// rules below, which say it in words.
enum class Policy : std::uint8_t { Default, ExternalLocal, InternalLocal };

struct Rules {
  Policy policy;
  bool detector;        // pods are told from strangers
  bool masquerade_all;  // of ClusterIP traffic
};

Check pod_to_cluster_ip(const Rules& rules) {
  const Names served = rules.policy == Policy::InternalLocal ? Names{"pod1b"} : Names{"pod1b", "pod2a"};
  return from("pod1a")
      .to(cluster_ip())
      .answered_by(served)
      .seen_as(rules.masquerade_all ? Seen::Masqueraded : Seen::Client);
}

// A node's own address is what it is masqueraded by.
Check node_to_cluster_ip(const Rules& rules) {
  const Names served = rules.policy == Policy::InternalLocal ? Names{"pod1b"} : Names{"pod1b", "pod2a"};
  return from("node1").to(cluster_ip()).answered_by(served).seen_as(Seen::Node);
}

// Strangers at a ClusterIP are masqueraded if they can be told, or everybody is. Who is not has no way back but through
// this node: from a local endpoint.
Check client_to_cluster_ip(const Rules& rules) {
  if (!rules.detector && !rules.masquerade_all) {
    return from("client").to(cluster_ip("", "near")).answered_by({"pod1b"}).seen_as(Seen::Client);
  }
  const Names served = rules.policy == Policy::InternalLocal ? Names{"pod1b"} : Names{"pod1b", "pod2a"};
  return from("client").to(cluster_ip()).answered_by(served).seen_as(Seen::Node);
}

// externalTrafficPolicy Local: a pod that can be told is served from everywhere with its own address, one that cannot
// is a stranger. Cluster: masqueraded, like everybody.
Check pod_to(const To& external, const Rules& rules) {
  const Check check = from("pod1a").to(external);
  if (rules.policy != Policy::ExternalLocal) {
    return check.answered_by({"pod1b", "pod2a"}).seen_as(Seen::Masqueraded);
  }
  return check.answered_by(rules.detector ? Names{"pod1b", "pod2a"} : Names{"pod1b"}).seen_as(Seen::Client);
}

Check node_to(const To& external) {
  return from("node1").to(external).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Node);
}

Check client_to(const To& external, const Rules& rules) {
  const Check check = from("client").to(external);
  if (rules.policy == Policy::ExternalLocal) return check.answered_by({"pod1b"}).seen_as(Seen::Client);
  return check.answered_by({"pod1b", "pod2a"}).seen_as(Seen::Node);
}

ServiceBuilder with(const ServiceBuilder& base, Policy policy) {
  switch (policy) {
    case Policy::Default: return base;
    case Policy::ExternalLocal: return base.external_policy_local();
    case Policy::InternalLocal: return base.internal_policy_local();
  }
  return base;
}

std::string_view name_of(Policy policy) {
  switch (policy) {
    case Policy::Default: return "";
    case Policy::ExternalLocal: return "ExternalLocal";
    case Policy::InternalLocal: return "InternalLocal";
  }
  return "";
}

std::vector<Phase> flows(const Rules& rules) {
  const ServiceBuilder web = with(service("web").as(Exposure::LoadBalancer), rules.policy);
  const ServiceBuilder near = with(service("near").as(Exposure::LoadBalancer), rules.policy);
  return {
      {.given = {web.with_endpoints({"pod1b", "pod2a"}), near.with_endpoints({"pod1b"})},
       .expect = {pod_to_cluster_ip(rules), pod_to(node_port(1), rules), pod_to(load_balancer_ip(), rules),
                  node_to_cluster_ip(rules), node_to(node_port(1)), node_to(load_balancer_ip()),
                  client_to_cluster_ip(rules), client_to(node_port(1), rules), client_to(load_balancer_ip(), rules)}}};
}

std::vector<Phase> from_localhost(const Rules& rules, bool served) {
  const ServiceBuilder web = with(service("web").as(Exposure::NodePort), rules.policy);
  const Check check = from("node1").to(localhost_node_port());
  return {{.given = {web.with_endpoints({"pod1b", "pod2a"})},
           .expect = {served ? check.answered_by({"pod1b", "pod2a"}).seen_as(Seen::Node) : check.unanswered()}}};
}

Scenario localhost_row(std::string name, std::string items, const Rules& rules, Operator setup) {
  return {std::move(name),
          std::move(items),
          from_localhost(rules, true),
          Needs::Nothing,
          setup,
          {{{"ebpf"}, "served in both families, at the socket (docs/adr/0009)", {}, net::Family::V6},
           {{"nftables"},
            "NodePorts on loopback are not served, as kube-proxy's nftables mode (docs/adr/0009)",
            from_localhost(rules, false)},
           {{"iptables"},
            "only IPv4 has them, as kube-proxy's iptables mode (docs/adr/0009)",
            from_localhost(rules, false),
            net::Family::V6}}};
}

}  // namespace

std::vector<Scenario> traffic_policies() {
  std::vector<Scenario> rows = external_policy();
  for (Scenario& row : internal_policy()) rows.push_back(std::move(row));
  return rows;
}

std::vector<Scenario> masquerade_matrix() {
  struct Setup {
    const char* name;
    Operator setup;
    bool detector;
    bool masquerade_all;
  };
  std::vector<Scenario> rows;
  for (const Setup& setup :
       {Setup{"", Operator::Usual, true, false}, Setup{"NoDetector", Operator::NoDetector, false, false},
        Setup{"MasqueradeAll", Operator::MasqueradeAll, true, true},
        Setup{"MasqueradeAllNoDetector", Operator::MasqueradeAllNoDetector, false, true}}) {
    for (const Policy policy : {Policy::Default, Policy::ExternalLocal, Policy::InternalLocal}) {
      const Rules rules{policy, setup.detector, setup.masquerade_all};
      rows.push_back(
          {base::cat("Masquerade", name_of(policy), setup.name), "8.1/29", flows(rules), Needs::Nothing, setup.setup});
      rows.push_back(
          localhost_row(base::cat("Localhost", name_of(policy), setup.name), "8.1/22 8.1/29", rules, setup.setup));
    }
  }
  rows.push_back({"LocalhostNodePortsMayBeSwitchedOff", "8.1/22", from_localhost({Policy::Default, true, false}, false),
                  Needs::Nothing, Operator::NoLocalhostNodePorts});
  return rows;
}

std::vector<Scenario> detectors() {
  const ServiceBuilder web = service("web").with_endpoints({"pod1b", "pod2a"});
  const auto as_client = [](const std::string& who) {
    return from(who).to(cluster_ip()).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client);
  };
  const auto as_node = [](const std::string& who) {
    return from(who).to(cluster_ip()).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Node);
  };
  return {
      {"TheDetectorTakesTheNodesPodCidrs",
       "detector/node-cidr",
       {{.given = {web},
         .expect = {as_client("pod1a"), as_client("pod1a").outside_the_cgroup(), as_client("pod2b"),
                    as_node("client")}}},
       Needs::Nothing,
       Operator::NodeCidr},
      {"TheDetectorTakesABridge",
       "detector/bridge",
       {{.given = {web},
         .expect = {as_client("pod1a"), as_client("pod1a").outside_the_cgroup(), as_node("pod2b").outside_the_cgroup(),
                    as_node("client")}}},
       Needs::Nothing,
       Operator::BridgeInterface},
      {"TheDetectorTakesInterfacesByTheirNames",
       "detector/prefix",
       {{.given = {web},
         .expect = {as_client("pod1a"), as_client("pod1a").outside_the_cgroup(),
                    as_client("pod2b").outside_the_cgroup(), as_node("client")}}},
       Needs::Nothing,
       Operator::InterfacePrefix},
  };
}

}  // namespace fairlead::testbed::table
