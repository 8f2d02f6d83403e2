// The words that scenarios are written in (scenarios.h).
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

To cluster_ip(std::string port, std::string service) {
  return {To::Kind::ClusterIp, std::move(service), std::move(port), 0};
}
To node_port(unsigned node, std::string port, std::string service) {
  return {To::Kind::NodePort, std::move(service), std::move(port), node};
}
To external_ip(std::string port, std::string service) {
  return {To::Kind::ExternalIp, std::move(service), std::move(port), 0};
}
To load_balancer_ip(std::string port, std::string service) {
  return {To::Kind::LoadBalancerIp, std::move(service), std::move(port), 0};
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
Check Check::refused() const {
  return changed(*this, [](Check& check) { check.outcome = Outcome::Refused; });
}
Check Check::unanswered() const {
  return changed(*this, [](Check& check) { check.outcome = Outcome::Unanswered; });
}
Check Check::seen_as(Seen source, unsigned node) const {
  return changed(*this, [&](Check& check) {
    check.seen = source;
    check.through_node = node;
  });
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
ServiceBuilder ServiceBuilder::with_endpoints(std::vector<std::string> ready) const {
  return with_slice({.ready = std::move(ready), .not_ready = {}, .targets = {}});
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

}  // namespace fairlead::testbed
