// Random histories of objects: what resolve_changes() yields step by step is what resolve_all() yields afresh.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "proxy/model/resolve.h"

namespace fairlead::proxy::model {
namespace {

using kube::Kind;
using kube::Object;

constexpr int kServices = 3;
constexpr int kSlices = 4;

template <typename T>
T one_of(std::initializer_list<T> choices) {
  return *rc::gen::elementOf(std::vector<T>(choices));
}
// At full size always: rapidcheck would begin with short ranges.
int below(int limit) { return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0, limit)); }
bool coin() { return below(2) == 1; }
std::optional<bool> maybe_bool() { return one_of<std::optional<bool>>({std::nullopt, false, true}); }

// Small key spaces, so that histories collide.
kube::Key service_key(int n) { return {"ns", "svc" + std::to_string(n)}; }
kube::Key slice_key(int n) { return {"ns", "slice" + std::to_string(n)}; }
std::string node_name() { return one_of<std::string>({"", "node1", "node2"}); }
std::vector<std::string> hints(const std::string& first, const std::string& second) {
  return one_of<std::vector<std::string>>({{}, {first}, {second}, {first, second}});
}
net::Ip v4(int n) { return net::Ip::v4(10, 0, 0, static_cast<std::uint8_t>(n)); }
net::Ip v6(int n) { return *net::Ip::parse("fd00::" + std::to_string(n)); }
net::Ip any_ip() { return coin() ? v4(below(3)) : v6(below(3)); }
net::Prefix host(const net::Ip& ip) { return {ip, static_cast<std::uint8_t>(ip.is_v4() ? 32 : 128)}; }
net::Prefix any_prefix() {
  return below(4) == 0 ? one_of<net::Prefix>({{net::Ip::v4(0, 0, 0, 0), 0}, {net::Ip(), 0}}) : host(any_ip());
}
Protocol protocol() { return one_of({Protocol::Tcp, Protocol::Udp, Protocol::Sctp}); }
std::string port_name() { return one_of<std::string>({"", "a"}); }

kube::Service random_service(int n) {
  kube::Service out;
  out.meta = {service_key(n), one_of<std::string>({"u1", "u2"}), std::to_string(below(3))};
  out.type = one_of({kube::ServiceType::ClusterIp, kube::ServiceType::NodePort, kube::ServiceType::LoadBalancer,
                     kube::ServiceType::ExternalName});
  out.headless = below(8) == 0;
  out.has_proxy_name_label = below(8) == 0;
  for (int i = below(3); i > 0; --i) out.cluster_ips.push_back(any_ip());
  for (int i = below(3); i > 0; --i) out.ip_families.push_back(coin() ? net::Family::V4 : net::Family::V6);
  for (int i = below(3); i > 0; --i) {
    const auto number = static_cast<std::uint16_t>(80 + below(2));
    const auto node_port = static_cast<std::uint16_t>(coin() ? 0 : 30000 + below(2));
    out.ports.push_back({port_name(), protocol(), number, node_port});
  }
  for (int i = below(3); i > 0; --i) out.external_ips.push_back(any_ip());
  for (int i = below(3); i > 0; --i) out.load_balancer_ips.push_back(any_ip());
  for (int i = below(3); i > 0; --i) out.load_balancer_source_ranges.push_back(any_prefix());
  out.internal_traffic_policy = coin() ? kube::TrafficPolicy::Local : kube::TrafficPolicy::Cluster;
  out.external_traffic_policy = coin() ? kube::TrafficPolicy::Local : kube::TrafficPolicy::Cluster;
  out.session_affinity = coin() ? kube::SessionAffinity::ClientIp : kube::SessionAffinity::None;
  out.affinity_timeout_seconds = static_cast<std::uint32_t>(1 + below(2));
  out.health_check_node_port = static_cast<std::uint16_t>(below(2));
  out.publish_not_ready_addresses = coin();
  return out;
}

kube::EndpointSlice random_slice(int n) {
  kube::EndpointSlice out;
  out.meta = {slice_key(n), "u", std::to_string(below(3))};
  if (below(4) != 0) out.service_name = service_key(below(kServices)).name;
  out.has_headless_label = below(8) == 0;
  out.address_type = one_of({kube::AddressType::Ipv4, kube::AddressType::Ipv6, kube::AddressType::Fqdn});
  out.last_change_trigger_time = one_of<std::string>({"", "2026-01-01T00:00:00Z"});
  for (int i = below(3); i > 0; --i) {
    out.ports.push_back({port_name(), protocol(), static_cast<std::uint16_t>(8080 * below(2))});
  }
  for (int i = below(4); i > 0; --i) {
    out.endpoints.push_back({any_ip(), maybe_bool(), maybe_bool(), maybe_bool(),
                             kube::Topology{node_name(), hints("zone-a", "zone-b"), hints("node1", "node2")}});
  }
  return out;
}

kube::Node random_node() {
  kube::Node out;
  out.meta = {{"", "node1"}, "u", std::to_string(below(3))};
  if (coin()) out.labels[std::string(kube::kZoneLabel)] = one_of<std::string>({"zone-a", "zone-b"});
  for (int i = below(3); i > 0; --i) out.internal_ips.push_back(any_ip());
  for (int i = below(2); i > 0; --i) out.external_ips.push_back(any_ip());
  for (int i = below(3); i > 0; --i) out.pod_cidrs.push_back(any_prefix());
  return out;
}

kube::ServiceCidr random_cidr(int n) {
  kube::ServiceCidr out;
  out.meta = {{"", "cidr" + std::to_string(n)}, "u", std::to_string(below(3))};
  for (int i = below(3); i > 0; --i) out.cidrs.push_back(any_prefix());
  return out;
}

Config random_config() {
  Config out;
  out.detect_local = one_of({DetectLocal::ClusterCidr, DetectLocal::NodeCidr, DetectLocal::BridgeInterface,
                             DetectLocal::InterfaceNamePrefix});
  for (int i = below(3); i > 0; --i) out.cluster_cidrs.push_back(any_prefix());
  if (coin()) out.local_interface = "cni0";
  out.masquerade_all = coin();
  out.node_ports_on_primary = coin();
  for (int i = below(3); i > 0; --i) out.node_port_addresses.push_back(any_prefix());
  out.localhost_node_ports = coin();
  out.external_ips = coin();
  if (coin()) out.node_ip = any_ip();
  return out;
}

template <typename Make>
std::vector<Object> random_set(int keys, Make make) {
  std::vector<Object> out;
  for (int n = 0; n < keys; ++n) {
    if (coin()) out.emplace_back(make(n));
  }
  return out;
}

// As a source does with an object that kube-proxy's selectors do not let through.
void deliver(kube::Store* store, Object object) {
  if (kube::selected(object)) {
    store->upsert(std::move(object));
  } else {
    store->erase(kube::kind_of(object), kube::meta_of(object).key);
  }
}

std::string random_event(kube::Store* store) {
  switch (below(11)) {
    case 0:
    case 1:
    case 2: deliver(store, random_service(below(kServices))); return "upsert service";
    case 3:
    case 4:
    case 5: deliver(store, random_slice(below(kSlices))); return "upsert slice";
    case 6: store->erase(Kind::Service, service_key(below(kServices))); return "erase service";
    case 7: store->erase(Kind::EndpointSlice, slice_key(below(kSlices))); return "erase slice";
    case 8:
      if (coin()) {
        store->replace(Kind::Service, random_set(kServices, random_service));
        return "replace services";
      }
      store->replace(Kind::EndpointSlice, random_set(kSlices, random_slice));
      return "replace slices";
    case 9:
      if (coin()) {
        store->upsert(random_cidr(below(2)));
        return "upsert service CIDR";
      }
      store->erase(Kind::ServiceCidr, {"", "cidr0"});
      return "erase service CIDR";
    default:
      if (coin()) {
        store->upsert(random_node());
        return "upsert node";
      }
      store->erase(Kind::Node, {"", "node1"});
      return "erase node";
  }
}

using States = std::map<Key, ServiceState>;

void apply(const Changes& changes, States* states) {
  for (const ServiceState& state : changes.upserted) states->insert_or_assign(state.key, state);
  for (const Key& key : changes.deleted) states->erase(key);
}

States rebuilt(const kube::Store& store, const NodeView& node) {
  kube::Store fresh;
  for (const auto& [key, service] : store.services()) fresh.upsert(service);
  for (const auto& [key, slice] : store.slices()) fresh.upsert(slice);
  States out;
  for (ServiceState& state : resolve_all(fresh, node)) out.emplace(state.key, std::move(state));
  return out;
}

std::string text(const States& states) {
  std::ostringstream out;
  for (const auto& entry : states) out << entry.second << '\n';
  return out.str();
}

TEST(Model, IncrementalChangesEqualAFreshRebuildAfterEveryEvent) {
  const bool held = rc::check("incremental == rebuilt", [] {
    kube::Store store;
    States states;
    const Config config = random_config();
    const int events = 1 + below(200);
    for (int i = 0; i < events; ++i) {
      const std::string event = random_event(&store);
      const kube::Dirty dirty = store.take_dirty();
      const NodeView node = node_view(store, "node1", config);
      const Changes changes = resolve_changes(store, dirty, node);
      for (const ServiceState& state : changes.upserted) {
        RC_ASSERT(std::find(changes.deleted.begin(), changes.deleted.end(), state.key) == changes.deleted.end());
      }
      apply(changes, &states);
      const States expected = rebuilt(store, node);
      if (states != expected) RC_FAIL(event + " left\n" + text(states) + "instead of\n" + text(expected));
      RC_ASSERT(store.take_dirty().empty());
    }
  });
  EXPECT_TRUE(held);
}

template <typename T>
bool sorted_each_once(const std::vector<T>& list) {
  return std::adjacent_find(list.begin(), list.end(), [](const T& a, const T& b) { return !(a < b); }) == list.end();
}

// What service_state.h promises.
void check_promises(const PortState& port, const NodeState& node) {
  for (const auto* set : {&port.cluster_endpoints, &port.local_endpoints, &port.serving_endpoints}) {
    RC_ASSERT(sorted_each_once(*set));
  }
  RC_ASSERT(sorted_each_once(port.frontends));
  RC_ASSERT(sorted_each_once(port.allowed_sources));
  for (const auto* set : {&port.cluster_endpoints, &port.local_endpoints}) {
    RC_ASSERT(std::includes(port.serving_endpoints.begin(), port.serving_endpoints.end(), set->begin(), set->end()));
    for (const Endpoint& endpoint : *set) RC_ASSERT(endpoint.address.family() == port.family && endpoint.port != 0);
  }
  for (const Endpoint& endpoint : port.local_endpoints) RC_ASSERT(endpoint.local);
  bool any_local = false;
  bool any_restricted = false;
  for (const Frontend& frontend : port.frontends) {
    const bool is_node_port = frontend.kind == FrontendKind::NodePort;
    RC_ASSERT(frontend.address.is_unspecified() == is_node_port);
    RC_ASSERT(is_node_port || frontend.address.family() == port.family);
    RC_ASSERT(frontend.pool == Pool::Local || frontend.when_empty == WhenEmpty::Reject);
    RC_ASSERT(!frontend.short_circuit || (frontend.pool == Pool::Local && frontend.masquerade == Masquerade::Never));
    RC_ASSERT(frontend.masquerade != Masquerade::OffCluster || node.pods.known(port.family));
    any_local = any_local || frontend.pool == Pool::Local;
    any_restricted = any_restricted || frontend.restricted;
  }
  RC_ASSERT(any_local || port.local_endpoints.empty());
  RC_ASSERT(any_restricted || port.allowed_sources.empty());
}

TEST(Model, EveryStateKeepsThePromisesOfItsHeader) {
  const bool held = rc::check("promises", [] {
    kube::Store store;
    const Config config = random_config();
    store.replace(Kind::Service, random_set(kServices, random_service));
    store.replace(Kind::EndpointSlice, random_set(kSlices, random_slice));
    if (coin()) store.upsert(random_node());
    const NodeView node = node_view(store, "node1", config);
    for (const ServiceState& state : resolve_all(store, node)) {
      for (const PortState& port : state.ports) check_promises(port, node_state(node));
      RC_ASSERT(state.counts.local <= state.counts.ready && state.counts.ready <= state.counts.total);
      RC_ASSERT(state.health_check_node_port == 0 || state.type == kube::ServiceType::LoadBalancer);
    }
  });
  EXPECT_TRUE(held);
}

TEST(Model, RepeatingTheSameObjectsLeavesNothingToDo) {
  const bool held = rc::check("upsert twice", [] {
    kube::Store store;
    const auto services = random_set(kServices, random_service);
    const auto slices = random_set(kSlices, random_slice);
    store.replace(Kind::Service, services);
    store.replace(Kind::EndpointSlice, slices);
    (void)store.take_dirty();
    store.replace(Kind::Service, services);
    for (const Object& object : slices) store.upsert(object);
    store.replace(Kind::EndpointSlice, slices);
    RC_ASSERT(store.take_dirty().empty());
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace fairlead::proxy::model
