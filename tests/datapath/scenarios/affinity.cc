// sessionAffinity ClientIP.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {
namespace {

constexpr std::uint32_t kLong = 10800;  // seconds; the API's default
constexpr std::uint32_t kShort = 1;
constexpr unsigned kLongerThanShortMs = 2100;  // eBPF and xt_recent count whole seconds

}  // namespace

std::vector<Scenario> affinity() {
  const std::vector<std::string> all = one_per_node();
  const ServiceBuilder web = both_protocols().as(Exposure::LoadBalancer);
  const ServiceBuilder sticky = web.with_affinity(kLong);
  const auto stays = [&](const std::string& who, const To& to, const std::string& name) {
    return from(who).to(to).answered_by_one_of(all, name);
  };
  const std::vector<Check> balanced = {from("pod1b").to(cluster_ip("t")).answered_by(all),
                                       from("pod1b").to(cluster_ip("u")).answered_by(all),
                                       from("client").to(node_port(1, "t")).answered_by(all)};
  const std::vector<Check> all_stay = {
      stays("pod1b", cluster_ip("t"), "pod, tcp"), stays("pod1b", cluster_ip("u"), "pod, udp"),
      stays("client", node_port(1, "t"), "client"), stays("pod1b", cluster_ip("t"), "pod, tcp")};
  return {
      {"AffinityKeepsAClientWithOneEndpoint",
       "affinity/sticky affinity/ports 8.2/affinity",
       {{.given = {sticky.with_endpoints(all)},
         .expect =
             {
                 stays("pod1b", cluster_ip("t"), "pod"),
                 stays("pod1b", cluster_ip("u"), "pod, udp"),
                 stays("pod1b", load_balancer_ip("t"), "pod"),
                 stays("pod1b", node_port(1, "t"), "pod"),
                 stays("pod2b", cluster_ip("t"), ""),
                 stays("node1", cluster_ip("t"), "node"),
                 stays("node1", node_port(1, "t"), "node"),
                 stays("client", node_port(1, "t"), "client"),
                 stays("client", node_port(1, "u"), ""),
                 stays("client", load_balancer_ip("t"), "client"),
                 stays("blocked", load_balancer_ip("t"), ""),
             }}}},
      {"AffinityHoldsOutsideTheCgroup",
       "affinity/sticky",
       {{.given = {sticky.with_endpoints(all)},
         .expect =
             {
                 stays("pod1b", cluster_ip("t"), "pod").outside_the_cgroup(),
                 stays("pod1b", load_balancer_ip("t"), "pod").outside_the_cgroup(),
                 stays("pod1b", cluster_ip("u"), "").outside_the_cgroup(),
                 stays("pod1b", cluster_ip("u"), "").unconnected(),
             }}}},
      {"AffinityOfClientsDiffers",
       "affinity/sticky",
       {{.given = {sticky.with_endpoints(all), service("shop").with_affinity(kLong).with_endpoints({"pod1a"})},
         .expect =
             {
                 stays("pod1b", cluster_ip("t"), "pod"),
                 from("pod1b").to(cluster_ip("", "shop")).answered_by_one_of({"pod1a"}),
                 stays("pod1b", cluster_ip("t"), "pod"),
             }}}},
      {"AffinityOfTheNodesOwnEndpoints",
       "affinity/sticky 8.2/load-balancer",
       {{.given = {sticky.external_policy_local().with_endpoints({"pod1a", "pod1b", "pod2a"})},
         .expect =
             {
                 from("client")
                     .to(load_balancer_ip("t"))
                     .answered_by_one_of({"pod1a", "pod1b"}, "client")
                     .seen_as(Seen::Client),
                 from("client").to(node_port(1, "t")).answered_by_one_of({"pod1a", "pod1b"}, "client"),
                 from("client").to(node_port(2, "t")).answered_by_one_of({"pod2a"}),
             }}}},
      {"AffinityEndsAfterItsTime",
       "affinity/timeout 8.2/affinity",
       {{.given = {web.with_affinity(kShort).with_endpoints(all)},
         .expect =
             {
                 stays("pod1b", cluster_ip("t"), "pod"),
                 from("pod1b").to(cluster_ip("t")).answered_by_another_of(all, "pod", kLongerThanShortMs),
                 stays("client", node_port(1, "t"), "client"),
                 from("client").to(node_port(1, "t")).answered_by_another_of(all, "client", kLongerThanShortMs),
             }}}},
      {"AffinityEndsWithItsEndpoint",
       "affinity/leaves",
       {{.given = {sticky.with_endpoints({"pod2a"})},
         .expect = {from("pod1b").to(cluster_ip("t")).answered_by_one_of({"pod2a"}),
                    from("client").to(node_port(1, "t")).answered_by_one_of({"pod2a"})}},
        {.given = {sticky.with_endpoints({"pod3a"})},
         .expect = {from("pod1b").to(cluster_ip("t")).answered_by_one_of({"pod3a"}, "pod"),
                    from("client").to(node_port(1, "t")).answered_by_one_of({"pod3a"}, "client")}},
        {.given = {sticky.with_endpoints(all)},
         .expect = {stays("pod1b", cluster_ip("t"), "pod"), stays("client", node_port(1, "t"), "client")}}}},
      {"AffinityIsSwitched",
       "affinity/switch 8.2/affinity",
       {{.given = {web.with_endpoints(all)}, .expect = balanced},
        {.given = {sticky.with_endpoints(all)}, .expect = all_stay},
        {.given = {web.with_endpoints(all)}, .expect = balanced}}},
  };
}

}  // namespace fairlead::testbed::table
