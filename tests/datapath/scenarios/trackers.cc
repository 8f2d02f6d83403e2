// Which Services and EndpointSlices count, as far as a client can tell.
#include "tests/datapath/scenarios/tables.h"

namespace fairlead::testbed::table {
namespace {

Check answered(const std::string& port, std::vector<std::string> names) {
  return from("pod1b").to(cluster_ip(port)).answered_by(std::move(names));
}

// Many endpoints that nobody listens for, beside those that a scenario is about.
ServiceBuilder crowd(unsigned slices) {
  ServiceBuilder many = service("crowd").with_port(tcp("t"));
  for (unsigned i = 0; i < slices; ++i) {
    many = many.with_slice(
        {.endpoints = {ready("pod1a"), ready("pod1b"), ready("pod2a"), ready("pod2b"), ready("pod3a"), ready("pod3b")},
         .targets = {{"t", static_cast<std::uint16_t>(20000 + i)}}});
  }
  return many;
}

}  // namespace

std::vector<Scenario> trackers() {
  const ServiceBuilder web = both_protocols().with_endpoints({"pod1a", "pod2a"});
  const std::vector<Check> nobody = {from("pod1b").to(cluster_ip("t")).unanswered(),
                                     from("pod1b").to(cluster_ip("u")).unanswered()};
  return {
      {"AHeadlessServiceYieldsNothing",
       "tracker/headless 8.2/type-change",
       {{.given = {web}, .expect = {answered("t", {"pod1a", "pod2a"})}},
        {.given = {web.without_cluster_ip()}, .expect = nobody},
        {.given = {web}, .expect = {answered("u", {"pod1a", "pod2a"})}}}},
      {"AnExternalNameYieldsNothing",
       "tracker/external-name 8.2/type-change",
       {{.given = {web.with_external_name("example.com")}, .expect = nobody},
        {.given = {web}, .expect = {answered("t", {"pod1a", "pod2a"})}},
        {.given = {web.as(Exposure::NodePort)},
         .expect = {answered("t", {"pod1a", "pod2a"}),
                    from("client").to(node_port(1, "t")).answered_by({"pod1a", "pod2a"})}},
        {.given = {web.with_external_name("example.com")},
         .expect = {nobody[0], from("client").to(node_port(1, "t")).unanswered()}}}},
      {"AServiceOfAnotherProxyYieldsNothing",
       "tracker/another-proxy 8.2/proxy-name",
       {{.given = {web}, .expect = {answered("t", {"pod1a", "pod2a"})}},
        {.given = {web.of_the_other_proxy()}, .expect = nobody},
        {.given = {web}, .expect = {answered("t", {"pod1a", "pod2a"}), answered("u", {"pod1a", "pod2a"})}}}},
      {"AHeadlessSliceDoesNotCount",
       "tracker/headless-slice 8.2/headless",
       {{.given = {web}, .expect = {answered("t", {"pod1a", "pod2a"})}},
        {.given = {both_protocols().with_slice({.endpoints = {ready("pod1a"), ready("pod2a")}, .headless = true})},
         .expect = {from("pod1b").to(cluster_ip("t")).refused(), from("pod1b").to(cluster_ip("u")).refused()}},
        {.given = {web}, .expect = {answered("t", {"pod1a", "pod2a"})}}}},
      {"ASliceOfNamesDoesNotCount",
       "tracker/fqdn",
       {{.given = {both_protocols().with_endpoints({"pod1a"}).with_slice(
             {.endpoints = {ready("pod2a")}, .fqdn = true})},
         .expect = {answered("t", {"pod1a"}), answered("u", {"pod1a"})}}}},
      {"EachFamilyHasItsOwnEndpoints",
       "tracker/family 8.2/dual-stack",
       {{.given = {web.in_both_families()}, .expect = {answered("t", {"pod1a", "pod2a"})}},
        {.given = {web}, .expect = {answered("t", {"pod1a", "pod2a"}), answered("u", {"pod1a", "pod2a"})}},
        {.given = {web.in_both_families()}, .expect = {answered("u", {"pod1a", "pod2a"})}}}},
      {"APortChangesItsName",
       "tracker/rename-port",
       {{.given = {service("web").with_port(tcp("old")).with_endpoints({"pod1a", "pod2a"})},
         .expect = {answered("old", {"pod1a", "pod2a"})}},
        {.given = {service("web").with_port(tcp("new")).with_endpoints({"pod1a", "pod2a"})},
         .expect = {answered("new", {"pod1a", "pod2a"})}}}},
      {"APortChangesItsNumberAndItsTarget",
       "tracker/renumber 8.2/ports-change",
       {{.given = {service("web").with_port(tcp("t", 80, kMain)).with_endpoints({"pod1a", "pod2a"})},
         .expect = {answered("t", {"pod1a", "pod2a"})}},
        {.given = {service("web").with_port(tcp("t", 8000, kSecond)).with_endpoints({"pod1a", "pod2a"})},
         .expect = {answered("t", {"pod1a", "pod2a"}), from("pod1b").to(cluster_ip("t").on_port(80)).unanswered()}}}},
      {"PortsComeAndGo",
       "8.2/ports-change 8.2/multiport",
       {{.given = {service("web").with_port(tcp("a")).with_endpoints({"pod1a"})}, .expect = {answered("a", {"pod1a"})}},
        {.given =
             {service("web").with_port(tcp("a")).with_port(tcp("b", 443, kSecond)).with_endpoints({"pod1a", "pod2a"})},
         .expect = {answered("a", {"pod1a", "pod2a"}), answered("b", {"pod1a", "pod2a"})}},
        {.given = {service("web").with_port(tcp("b", 443, kSecond)).with_endpoints({"pod1a", "pod2a"})},
         .expect = {answered("b", {"pod1a", "pod2a"}), from("pod1b").to(cluster_ip("b").on_port(80)).unanswered()}}}},
      {"AnEndpointMovesFromSliceToSlice",
       "tracker/move 8.2/endpoint-slices",
       {{.given = {both_protocols().with_endpoints({"pod1a", "pod2a"}).with_endpoints({"pod3a"})},
         .expect = {answered("t", one_per_node())}},
        {.given = {both_protocols().with_endpoints({"pod1a"}).with_endpoints({"pod2a", "pod3a"})},
         .expect = {answered("t", one_per_node()), answered("u", one_per_node())}},
        {.given = {both_protocols().with_endpoints({"pod1a"}).with_endpoints({"pod3a"})},
         .expect = {answered("t", {"pod1a", "pod3a"}), answered("u", {"pod1a", "pod3a"})}}}},
      {"AnEndpointInTwoSlicesIsOne",
       "tracker/duplicates",
       {{.given = {both_protocols().with_endpoints({"pod1a", "pod2a"}).with_endpoints({"pod2a"})},
         .expect = {answered("t", {"pod1a", "pod2a"}), answered("u", {"pod1a", "pod2a"})}},
        {.given = {both_protocols().with({serving_while_terminating("pod1a")}).with({ready("pod1a")})},
         .expect = {answered("t", {"pod1a"})}}}},
      {"SeveralPortsAndAddressesInSeveralSlices",
       "8.2/endpoint-slices 8.2/multiport",
       {{.given = {service("web")
                       .with_port(tcp("a", 80, kMain))
                       .with_port(tcp("b", 81, kSecond))
                       .with_slice({.endpoints = {ready("pod1a"), ready("pod1b")}})
                       .with_slice({.endpoints = {ready("pod2a")}, .targets = {{"a", kSecond}, {"b", kMain}}})},
         .expect = {answered("a", {"pod1a", "pod1b", "pod2a"}), answered("b", {"pod1a", "pod1b", "pod2a"})}}}},
  };
}

std::vector<Scenario> robustness() {
  const ServiceBuilder web = both_protocols().as(Exposure::NodePort);
  const std::vector<Check> refused = {from("pod1b").to(cluster_ip("t")).refused(),
                                      from("pod1b").to(cluster_ip("u")).refused(),
                                      from("client").to(node_port(3, "t")).refused()};
  const auto served = [](const std::vector<std::string>& names) -> std::vector<Check> {
    return {answered("t", names), answered("u", names), from("client").to(node_port(3, "t")).answered_by(names)};
  };
  return {
      {"AServiceComesBeforeItsEndpoints",
       "8.1/38",
       {{.given = {web}, .expect = refused},
        {.given = {web.with_endpoints({"pod1a"})}, .expect = served({"pod1a"})},
        {.given = {web.with_endpoints({"pod2a"})}, .expect = served({"pod2a"})},
        {.given = {web.with_endpoints({"pod2a", "pod3a"})}, .expect = served({"pod2a", "pod3a"})}}},
      {"AServiceIsEmptiedAndFilledAtOnce",
       "8.1/39",
       {{.given = {web.with_endpoints({"pod1a", "pod2a"})}, .expect = served({"pod1a", "pod2a"})},
        {.given = {web}, .expect = {}},
        {.given = {web.with_endpoints({"pod1a", "pod2a"})}, .expect = served({"pod1a", "pod2a"})},
        {.given = {}, .expect = {}},
        {.given = {web.with_endpoints({"pod1a", "pod2a"})}, .expect = served({"pod1a", "pod2a"})}}},
      {"AThousandEndpointsAndBack",
       "8.1/41",
       {{.given = {web.with_endpoints({"pod1a", "pod2a"}), crowd(180)}, .expect = served({"pod1a", "pod2a"})},
        {.given = {web.with_endpoints({"pod2a", "pod3a"}), crowd(180)}, .expect = served({"pod2a", "pod3a"})},
        {.given = {web.with_endpoints({"pod1a", "pod2a"})}, .expect = served({"pod1a", "pod2a"})}}},
      {"AnInvalidPacketBreaksNoConnection",
       "8.1/42 8.2/invalid",
       {{.given = {both_protocols().as(Exposure::NodePort).with_endpoints({"pod2a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("t")).with_an_invalid_segment().with_requests(50).answered_by({"pod2a"}),
                 from("pod1b")
                     .outside_the_cgroup()
                     .to(cluster_ip("t"))
                     .with_an_invalid_segment()
                     .with_requests(50)
                     .answered_by({"pod2a"}),
                 from("client")
                     .to(node_port(1, "t"))
                     .with_an_invalid_segment()
                     .with_requests(50)
                     .answered_by({"pod2a"}),
             }}}},
      {"SharesAreEqual",
       "8.1/44",
       {{.given = {web.with_endpoints({"pod1a", "pod2a", "pod2b", "pod3a"})},
         .expect =
             {
                 from("pod1b").to(cluster_ip("t")).answered_evenly_by({"pod1a", "pod2a", "pod2b", "pod3a"}),
                 from("client").to(node_port(1, "t")).answered_evenly_by({"pod1a", "pod2a", "pod2b", "pod3a"}),
             }}}},
  };
}

}  // namespace fairlead::testbed::table
