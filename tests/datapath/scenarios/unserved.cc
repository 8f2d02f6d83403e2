// Addresses and ports that nobody serves (docs/adr/0007), and shares.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {
namespace {

constexpr std::uint16_t kNobodys = 4242;

Difference alike_everywhere() {
  return {{"iptables"},
          "kube-proxy's iptables mode lets it leave the node; here every dataplane does the same (docs/adr/0007)"};
}

}  // namespace

std::vector<Scenario> unserved() {
  const ServiceBuilder web =
      service("web").with_port(tcp("t")).with_port(udp("u", 81)).with_endpoints({"pod1b", "pod2a"});
  const ServiceBuilder shop = service("shop").with_port(tcp("", 443)).with_endpoints({"pod1b"});
  return {
      {"AnotherProtocolIsRefused",
       "8.1/6",
       {{.given = {web},
         .expect =
             {
                 from("pod1a").to(cluster_ip("u").on_port(80)).refused(),
                 from("pod1a").to(cluster_ip("t").on_port(81)).refused(),
                 from("node1").to(cluster_ip("u").on_port(80)).refused(),
                 from("pod1a").outside_the_cgroup().to(cluster_ip("u").on_port(80)).refused(),
                 from("client").to(cluster_ip("t").on_port(81)).refused(),
             }}},
       Needs::Nothing,
       Operator::Usual,
       {alike_everywhere()}},
      {"AnotherServicesPortIsRefused",
       "8.1/7",
       {{.given = {web, shop},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t").on_port(443)).refused(),
                 from("node1").to(cluster_ip("t").on_port(443)).refused(),
                 from("pod1a").to(cluster_ip("t").on_port(kNobodys)).refused(),
                 from("pod1a").to(cluster_ip("u").on_port(kNobodys)).refused(),
                 from("pod1a").to(cluster_ip("", "shop")).answered_by({"pod1b"}),
             }}},
       Needs::Nothing,
       Operator::Usual,
       {alike_everywhere()}},
      {"AnUnallocatedAddressIsSilent",
       "8.1/8",
       {{.given = {web},
         .expect =
             {
                 from("pod1a").to(unallocated_ip("t")).dropped(),
                 from("pod1a").to(unallocated_ip("u")).dropped(),
                 from("node1").to(unallocated_ip("t")).dropped(),
                 from("client").to(unallocated_ip("t")).dropped(),
             }}},
       Needs::Nothing,
       Operator::Usual,
       {alike_everywhere()}},
      {"ServicesOfASecondRangeAreServed",
       "8.2/service-cidrs",
       {{.given = {web.in_the_second_range()},
         .expect =
             {
                 from("pod1a").to(cluster_ip("t")).answered_by({"pod1b", "pod2a"}).seen_as(Seen::Client),
                 from("node1").to(cluster_ip("u")).answered_by({"pod1b", "pod2a"}),
                 from("pod1a").to(cluster_ip("t").on_port(kNobodys)).refused(),
             },
         .cluster = {.second_range = true}}}},
  };
}

}  // namespace fairlead::testbed::table
