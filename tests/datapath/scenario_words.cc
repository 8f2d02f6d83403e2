// The words that scenarios are written in (scenarios.h).
#include <algorithm>
#include <utility>

#include "tests/datapath/scenarios.h"

namespace fairlead::testbed {
namespace {

// A copy of `check` that `change` has been applied to.
template <typename T, typename Change>
T changed(T value, Change change) {
  change(value);
  return value;
}

}  // namespace

using Kind = To::Kind;

To To::on_port(std::uint16_t other) const {
  return changed(*this, [&](To& to) { to.number = other; });
}
To cluster_ip(std::string port, std::string service) { return {Kind::ClusterIp, std::move(service), std::move(port)}; }
To node_port(unsigned node, std::string port, std::string service) {
  return {Kind::NodePort, std::move(service), std::move(port), node};
}
To second_node_port(unsigned node, std::string port, std::string service) {
  return {Kind::SecondNodePort, std::move(service), std::move(port), node};
}
To localhost_node_port(std::string port, std::string service) {
  return {Kind::LocalhostNodePort, std::move(service), std::move(port)};
}
To external_ip(std::string port, std::string service) {
  return {Kind::ExternalIp, std::move(service), std::move(port)};
}
To load_balancer_ip(std::string port, std::string service) {
  return {Kind::LoadBalancerIp, std::move(service), std::move(port)};
}
To second_load_balancer_ip(std::string port, std::string service) {
  return {Kind::LoadBalancerIp, std::move(service), std::move(port), 0, 1};
}
To health_check(unsigned node, std::string service) {
  return {Kind::HealthCheckNodePort, std::move(service), "", node};
}
To unallocated_ip(std::string port, std::string service) {
  return {Kind::Unallocated, std::move(service), std::move(port)};
}
Check from(std::string place) {
  return changed(Check(), [&](Check& check) { check.client = std::move(place); });
}
Check Check::to(To address) const {
  return changed(*this, [&](Check& check) { check.target = std::move(address); });
}
Check Check::unconnected() const {
  return changed(*this, [](Check& check) {
    check.style = check.style == SocketStyle::Mapped ? SocketStyle::MappedUnconnected : SocketStyle::Unconnected;
  });
}
Check Check::over_a_mapped_socket() const {
  return changed(*this, [](Check& check) { check.style = SocketStyle::Mapped; });
}
Check Check::outside_the_cgroup() const {
  return changed(*this, [](Check& check) { check.membership = Membership::Outside; });
}
Check Check::of_bytes(std::uint32_t count) const {
  return changed(*this, [&](Check& check) { check.bytes = count; });
}
Check Check::with_requests(unsigned count) const {
  return changed(*this, [&](Check& check) { check.requests = count; });
}
Check Check::answered_by(std::vector<std::string> names) const {
  return changed(*this, [&](Check& check) {
    check.outcome = Outcome::Answered;
    check.endpoints = std::move(names);
  });
}
Check Check::answered_by_one_of(std::vector<std::string> names, std::string remembered_as) const {
  return changed(*this, [&](Check& check) {
    check.outcome = Outcome::OneAnswers;
    check.endpoints = std::move(names);
    check.memory = std::move(remembered_as);
  });
}
Check Check::answered_by_another_of(std::vector<std::string> names, std::string than_remembered_as,
                                    unsigned every_ms) const {
  return changed(*this, [&](Check& check) {
    check.outcome = Outcome::AnotherAnswers;
    check.endpoints = std::move(names);
    check.memory = std::move(than_remembered_as);
    check.pause_ms = every_ms;
  });
}
Check Check::answered_evenly_by(std::vector<std::string> names) const {
  return changed(answered_by(std::move(names)), [](Check& check) { check.outcome = Outcome::Evenly; });
}
Check Check::refused() const {
  return changed(*this, [](Check& check) { check.outcome = Outcome::Refused; });
}
Check Check::dropped() const {
  return changed(*this, [](Check& check) { check.outcome = Outcome::Dropped; });
}
Check Check::unanswered() const {
  return changed(*this, [](Check& check) { check.outcome = Outcome::Unanswered; });
}
Check Check::seen_as(Seen source) const {
  return changed(*this, [&](Check& check) { check.seen = source; });
}
Check Check::with_an_invalid_segment() const {
  return changed(*this, [](Check& check) { check.invalid_segment = true; });
}
Check Check::holding_the_address() const {
  return changed(*this, [](Check& check) { check.holds_the_address = true; });
}
Check Check::answers_http(unsigned status, std::optional<unsigned> endpoints_told) const {
  return changed(*this, [&](Check& check) {
    check.outcome = Outcome::Http;
    check.http_status = status;
    check.http_endpoints = endpoints_told;
  });
}
Check Check::starts_flow(std::string name) const {
  return changed(*this, [&](Check& check) {
    check.outcome = Outcome::StartsFlow;
    check.memory = std::move(name);
  });
}
Check Check::starts_unanswered_flow(std::string name) const {
  return changed(starts_flow(std::move(name)), [](Check& check) { check.begins_unanswered = true; });
}

Flow flow(std::string name) { return {std::move(name)}; }
Check Flow::goes_on() const {
  return changed(Check(), [&](Check& check) {
    check.outcome = Check::Outcome::FlowGoesOn;
    check.memory = name;
  });
}
Check Flow::moves_to(std::vector<std::string> names) const {
  return changed(goes_on(), [&](Check& check) {
    check.outcome = Check::Outcome::FlowMoves;
    check.endpoints = std::move(names);
  });
}
Check Flow::falls_silent() const {
  return changed(goes_on(), [](Check& check) { check.outcome = Check::Outcome::FlowFallsSilent; });
}
ServiceBuilder service(std::string name) {
  return changed(ServiceBuilder(), [&](ServiceBuilder& spec) { spec.name = std::move(name); });
}
ServiceBuilder ServiceBuilder::with_port(PortSpec spec) const {
  return changed(*this, [&](ServiceBuilder& builder) {
    if (builder.ports == std::vector<PortSpec>{PortSpec{}}) builder.ports.clear();
    builder.ports.push_back(std::move(spec));
  });
}
ServiceBuilder ServiceBuilder::with_endpoints(std::vector<std::string> names) const {
  std::vector<EndpointSpec> endpoints;
  for (std::string& place : names) endpoints.push_back(ready(std::move(place)));
  return with(std::move(endpoints));
}
ServiceBuilder ServiceBuilder::with(std::vector<EndpointSpec> endpoints) const {
  return with_slice({.endpoints = std::move(endpoints)});
}
ServiceBuilder ServiceBuilder::with_slice(SliceSpec slice) const {
  return changed(*this, [&](ServiceBuilder& builder) { builder.slices.push_back(std::move(slice)); });
}
ServiceBuilder ServiceBuilder::as(Exposure how) const {
  return changed(*this, [&](ServiceBuilder& builder) { builder.exposure = how; });
}
ServiceBuilder ServiceBuilder::with_external_ip() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.external_ip = true; });
}
ServiceBuilder ServiceBuilder::in_both_families() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.families = Families::Both; });
}
ServiceBuilder ServiceBuilder::external_policy_local() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.external_local = true; });
}
ServiceBuilder ServiceBuilder::internal_policy_local() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.internal_local = true; });
}
ServiceBuilder ServiceBuilder::with_affinity(std::uint32_t seconds) const {
  return changed(*this, [&](ServiceBuilder& builder) { builder.affinity_seconds = seconds; });
}
ServiceBuilder ServiceBuilder::allowing(std::vector<std::string> sources) const {
  return changed(*this, [&](ServiceBuilder& builder) { builder.allowed = std::move(sources); });
}
ServiceBuilder ServiceBuilder::with_load_balancer_ips(unsigned count, std::string mode) const {
  return changed(*this, [&](ServiceBuilder& builder) {
    builder.load_balancer_ips = count;
    builder.load_balancer_mode = std::move(mode);
  });
}
ServiceBuilder ServiceBuilder::with_one_node_port() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.one_node_port = true; });
}
ServiceBuilder ServiceBuilder::with_health_check() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.health_check = true; });
}
ServiceBuilder ServiceBuilder::in_the_second_range() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.second_range = true; });
}
ServiceBuilder ServiceBuilder::without_cluster_ip() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.headless = true; });
}
ServiceBuilder ServiceBuilder::with_external_name(std::string name_of_it) const {
  return changed(*this, [&](ServiceBuilder& builder) { builder.external_name = std::move(name_of_it); });
}
ServiceBuilder ServiceBuilder::of_the_other_proxy() const {
  return changed(*this, [](ServiceBuilder& builder) { builder.of_another_proxy = true; });
}

PortSpec tcp(std::string name, std::uint16_t port, std::uint16_t target) {
  return {.name = std::move(name), .port = port, .transport = Transport::Tcp, .target = target};
}
PortSpec udp(std::string name, std::uint16_t port, std::uint16_t target) {
  return {.name = std::move(name), .port = port, .transport = Transport::Udp, .target = target};
}
PortSpec sctp(std::string name, std::uint16_t port, std::uint16_t target) {
  return {.name = std::move(name), .port = port, .transport = Transport::Sctp, .target = target};
}
ServiceBuilder both_protocols(std::uint16_t target) {
  return service("web").with_port(tcp("t", 80, target)).with_port(udp("u", 80, target));
}
std::vector<std::string> one_per_node() { return {"pod1a", "pod2a", "pod3a"}; }

const Difference* Scenario::difference(const std::string& dataplane, net::Family family) const {
  for (const Difference& candidate : differs) {
    const bool named =
        std::find(candidate.dataplanes.begin(), candidate.dataplanes.end(), dataplane) != candidate.dataplanes.end();
    if (named && (!candidate.family || *candidate.family == family)) return &candidate;
  }
  return nullptr;
}

}  // namespace fairlead::testbed
