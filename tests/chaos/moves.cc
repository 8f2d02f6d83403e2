#include "tests/chaos/moves.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/strings.h"
#include "tests/chaos/history.h"

namespace fairlead::tests::chaos {

using apiserver::Resource;
using base::cat;
using kube::EndpointSlice;
using net::Family;

// The door into History for the table below.
struct HistoryMoves {
  History& history;
  Random& random;

  const ServiceDraft& any_service() const {
    return std::next(history.services_.begin(), random.below(history.services_.size()))->second;
  }
  const EndpointSlice& any_slice() const {
    return std::next(history.slices_.begin(), random.below(history.slices_.size()))->second;
  }
  void make_any() const;
  void say(const std::string& text) const { history.event_.text = text; }
  void put(const ServiceDraft& draft) const { history.put(draft); }
  void put(const EndpointSlice& slice) const { history.put(slice); }

  // Whole objects.

  void create_service() const {
    if (history.services_.size() >= history.universe_.services) return;
    const std::string name = cat("svc-", random.below(std::size_t{history.universe_.services} * 2));
    if (history.services_.contains({History::kNamespace, name})) return;
    const ServiceDraft draft = history.random_service(name);
    say(name);
    const bool slices_first = random.coin();
    if (slices_first) history.random_slices(draft.service);
    put(draft);
    if (!slices_first) history.random_slices(draft.service);
  }
  void delete_service() const {
    if (history.services_.size() < history.universe_.services / 2) return;
    const kube::Key key = any_service().service.meta.key;
    say(key.name);
    history.erase(Resource::Services, key);
    if (random.one_in(4)) return;  // its slices stay for a while, or for its successor
    for (const auto& [slice, value] : std::map(history.slices_)) {
      if (value.service_name == key.name) history.erase(Resource::EndpointSlices, slice);
    }
  }
  void recreate_service() const {
    const kube::Key key = any_service().service.meta.key;
    say(key.name);
    if (random.coin()) history.erase(Resource::Services, key);
    put(history.random_service(key.name));
  }
  void create_slice() const {
    if (history.slices_.size() > std::size_t{history.universe_.services} * 3) return;
    const ServiceDraft& draft = any_service();
    const Family family = random.coin() ? Family::V4 : Family::V6;
    const EndpointSlice slice = history.random_slice(draft.service, family, ++history.slices_made_);
    say(slice.meta.key.name);
    put(slice);
  }
  void delete_slice() const {
    const kube::Key key = any_slice().meta.key;
    say(key.name);
    history.erase(Resource::EndpointSlices, key);
  }
  void zone_of_node() const {
    kube::Node node = std::next(history.nodes_.begin(), random.below(history.nodes_.size()))->second;
    const std::string zone = random.pick<std::string>({"zone-a", "zone-b", ""});
    node.labels.erase(std::string(kube::kZoneLabel));
    if (!zone.empty()) node.labels.emplace(kube::kZoneLabel, zone);
    say(cat(node.meta.key.name, " to \"", zone, "\""));
    history.nodes_.insert_or_assign(node.meta.key, node);
    history.event_.edits.push_back({Resource::Nodes, node.meta.key, to_value(node)});
  }
  void recreate_node() const {
    const kube::Node node = random.pick(history.universe_.nodes);
    say(node.meta.key.name);
    history.erase(Resource::Nodes, node.meta.key);
    history.nodes_.insert_or_assign(node.meta.key, node);
    history.event_.edits.push_back({Resource::Nodes, node.meta.key, to_value(node)});
  }
  void service_cidr() const {
    kube::ServiceCidr cidr = random.pick(history.universe_.cidrs);
    const bool first = cidr.meta.key == history.universe_.cidrs.front().meta.key;
    say(cidr.meta.key.name);
    if (history.cidrs_.contains(cidr.meta.key)) history.erase(Resource::ServiceCidrs, cidr.meta.key);
    if (!first && random.coin()) return;
    cidr.meta.uid = history.new_uid();
    history.cidrs_.insert_or_assign(cidr.meta.key, cidr);
    history.event_.edits.push_back({Resource::ServiceCidrs, cidr.meta.key, to_value(cidr)});
  }

  // Fields of a Service.

  template <typename Change>
  void change_service(Change change) const {
    ServiceDraft draft = any_service();
    if (draft.service.meta.key.name == "marker") return;
    change(draft);
    history.tidy(draft);
    if (draft == history.services_.at(draft.service.meta.key)) return;
    say(draft.service.meta.key.name);
    put(draft);
  }
  void type() const {
    change_service([&](ServiceDraft& draft) {
      kube::Service& service = draft.service;
      service.type = random.pick<kube::ServiceType>({kube::ServiceType::ClusterIp, kube::ServiceType::NodePort,
                                                     kube::ServiceType::LoadBalancer, kube::ServiceType::ExternalName});
      if (service.type == kube::ServiceType::LoadBalancer) service.load_balancer_ips = history.some_external_ips();
    });
  }
  void headless() const {
    change_service([](ServiceDraft& draft) { draft.service.headless = !draft.service.headless; });
  }
  void proxy_name() const {
    change_service(
        [](ServiceDraft& draft) { draft.service.has_proxy_name_label = !draft.service.has_proxy_name_label; });
  }
  void families() const {
    change_service([&](ServiceDraft& draft) {
      draft.service.ip_families = random.pick<std::vector<Family>>(
          {{Family::V4}, {Family::V6}, {Family::V4, Family::V6}, {Family::V6, Family::V4}});
      draft.service.cluster_ips.clear();
    });
  }
  void cluster_ip() const {
    change_service([](ServiceDraft& draft) { draft.service.cluster_ips.clear(); });
  }
  void port_added() const {
    change_service([&](ServiceDraft& draft) {
      std::vector<kube::ServicePort>& ports = draft.service.ports;
      if (ports.size() > 3) return;
      if (ports.front().name.empty()) ports.front().name.assign(1, 'a');
      kube::ServicePort port{.name = cat("n", random.below(100)),
                             .port = static_cast<std::uint16_t>(100 + random.below(30))};
      const bool taken = std::any_of(ports.begin(), ports.end(), [&](const kube::ServicePort& other) {
        return other.name == port.name || other.port == port.port;
      });
      if (!taken) ports.push_back(std::move(port));
    });
  }
  void port_removed() const {
    change_service([&](ServiceDraft& draft) {
      std::vector<kube::ServicePort>& ports = draft.service.ports;
      if (ports.size() > 1) ports.erase(ports.begin() + random.below(ports.size()));
    });
  }
  kube::ServicePort& some_port(ServiceDraft& draft) const {
    return draft.service.ports[random.below(draft.service.ports.size())];
  }
  void port_number() const {
    change_service([&](ServiceDraft& draft) {
      const auto number = static_cast<std::uint16_t>(80 + random.below(20));
      for (const kube::ServicePort& port : draft.service.ports) {
        if (port.port == number) return;
      }
      some_port(draft).port = number;
    });
  }
  void port_name() const {
    change_service([&](ServiceDraft& draft) {
      const std::string name = cat("n", random.below(100));
      for (const kube::ServicePort& port : draft.service.ports) {
        if (port.name == name) return;
      }
      some_port(draft).name = name;
    });
  }
  void port_protocol() const {
    change_service([&](ServiceDraft& draft) {
      some_port(draft).protocol =
          random.pick<kube::Protocol>({kube::Protocol::Tcp, kube::Protocol::Udp, kube::Protocol::Sctp});
    });
  }
  void node_port() const {
    change_service([&](ServiceDraft& draft) {
      const bool optional = draft.service.type == kube::ServiceType::LoadBalancer;
      if (!optional && draft.service.type != kube::ServiceType::NodePort) return;
      some_port(draft).node_port = optional && random.coin() ? std::uint16_t{0} : history.free_node_port(draft);
    });
  }
  void external_ips() const {
    change_service([&](ServiceDraft& draft) { draft.service.external_ips = history.some_external_ips(); });
  }
  void load_balancer_ips() const {
    change_service([&](ServiceDraft& draft) { draft.service.load_balancer_ips = history.some_external_ips(); });
  }
  void ip_mode() const {
    change_service([](ServiceDraft& draft) { std::swap(draft.service.load_balancer_ips, draft.proxied_ips); });
  }
  void source_ranges() const {
    constexpr std::array kRanges{"10.244.0.0/16",  "172.18.0.0/24",    "192.0.2.0/24",
                                 "192.0.2.128/25", "192.0.2.200/32",   "0.0.0.0/0",
                                 "::/0",           "fd00:10:244::/48", "2001:db8::/32"};
    change_service([&](ServiceDraft& draft) {
      std::vector<net::Prefix>& ranges = draft.service.load_balancer_source_ranges;
      ranges.clear();
      for (unsigned i = random.below(4); i > 0; --i)
        ranges.push_back(*net::Prefix::parse(kRanges[random.below(kRanges.size())]));
    });
  }
  static void flip(kube::TrafficPolicy& policy) {
    policy = policy == kube::TrafficPolicy::Local ? kube::TrafficPolicy::Cluster : kube::TrafficPolicy::Local;
  }
  void internal_policy() const {
    change_service([](ServiceDraft& draft) { flip(draft.service.internal_traffic_policy); });
  }
  void external_policy() const {
    change_service([](ServiceDraft& draft) { flip(draft.service.external_traffic_policy); });
  }
  void affinity() const {
    change_service([](ServiceDraft& draft) {
      kube::SessionAffinity& affinity = draft.service.session_affinity;
      affinity =
          affinity == kube::SessionAffinity::None ? kube::SessionAffinity::ClientIp : kube::SessionAffinity::None;
    });
  }
  void affinity_timeout() const {
    change_service([&](ServiceDraft& draft) {
      draft.service.session_affinity = kube::SessionAffinity::ClientIp;
      draft.service.affinity_timeout_seconds = random.pick<std::uint32_t>({1, 5, 60, 10800, 86400});
    });
  }
  void health_port() const {
    change_service([&](ServiceDraft& draft) {
      draft.service.health_check_node_port =
          draft.service.health_check_node_port != 0 ? std::uint16_t{0} : history.free_health_port();
    });
  }
  void publish_not_ready() const {
    change_service([](ServiceDraft& draft) {
      draft.service.publish_not_ready_addresses = !draft.service.publish_not_ready_addresses;
    });
  }

  // Fields of an EndpointSlice.

  static Family family_of(const EndpointSlice& slice) {
    return slice.address_type == kube::AddressType::Ipv6 ? Family::V6 : Family::V4;
  }
  template <typename Change>
  void change_slice(Change change) const {
    EndpointSlice slice = any_slice();
    if (slice.meta.key.name == "marker-0") return;
    change(slice);
    if (slice == history.slices_.at(slice.meta.key)) return;
    say(slice.meta.key.name);
    put(slice);
  }
  template <typename Change>
  void change_endpoint(Change change) const {
    change_slice([&](EndpointSlice& slice) {
      if (!slice.endpoints.empty()) change(slice.endpoints[random.below(slice.endpoints.size())]);
    });
  }
  template <typename Change>
  void change_slice_port(Change change) const {
    change_slice([&](EndpointSlice& slice) {
      if (!slice.ports.empty()) change(slice.ports[random.below(slice.ports.size())]);
    });
  }
  std::optional<bool> perhaps() const { return random.pick<std::optional<bool>>({std::nullopt, false, true, true}); }

  void endpoint_added() const {
    change_slice([&](EndpointSlice& slice) {
      if (slice.endpoints.size() < 12) slice.endpoints.push_back(history.random_endpoint(family_of(slice)));
    });
  }
  void endpoint_removed() const {
    change_slice([&](EndpointSlice& slice) {
      if (!slice.endpoints.empty())
        slice.endpoints.erase(slice.endpoints.begin() + random.below(slice.endpoints.size()));
    });
  }
  void all_endpoints_gone() const {
    change_slice([](EndpointSlice& slice) { slice.endpoints.clear(); });
  }
  void ready() const {
    change_endpoint([&](kube::Endpoint& endpoint) { endpoint.ready = perhaps(); });
  }
  void terminating() const {
    change_endpoint([&](kube::Endpoint& endpoint) {
      endpoint.terminating = perhaps();
      endpoint.serving = perhaps();
      if (endpoint.terminating == true) endpoint.ready = false;
    });
  }
  void endpoint_node() const {
    change_endpoint([&](kube::Endpoint& endpoint) {
      kube::Topology topology = *endpoint.topology;
      topology.node_name = random.pick<std::string>({"", "node1", "node2"});
      endpoint.topology = std::move(topology);
    });
  }
  void zone_hints() const {
    change_slice([&](EndpointSlice& slice) {
      for (kube::Endpoint& endpoint : slice.endpoints) {
        kube::Topology topology = *endpoint.topology;
        topology.zone_hints = random.pick<std::vector<std::string>>({{"zone-a"}, {"zone-b"}, {"zone-a", "zone-b"}});
        if (random.one_in(8)) topology.zone_hints.clear();
        endpoint.topology = std::move(topology);
      }
    });
  }
  void node_hints() const {
    change_slice([&](EndpointSlice& slice) {
      for (kube::Endpoint& endpoint : slice.endpoints) {
        kube::Topology topology = *endpoint.topology;
        topology.node_hints = random.pick<std::vector<std::string>>({{"node1"}, {"node2"}, {"node1", "node2"}});
        if (random.one_in(8)) topology.node_hints.clear();
        endpoint.topology = std::move(topology);
      }
    });
  }
  void slice_headless() const {
    change_slice([](EndpointSlice& slice) { slice.has_headless_label = !slice.has_headless_label; });
  }
  void slice_moves() const {
    change_slice([&](EndpointSlice& slice) {
      slice.service_name = random.one_in(5) ? "" : any_service().service.meta.key.name;
      if (slice.service_name == "marker") slice.service_name.clear();
    });
  }
  void endpoint_moves() const {
    change_slice([&](EndpointSlice& slice) {
      const EndpointSlice& other = any_slice();
      if (other.endpoints.empty() || other.address_type != slice.address_type) return;
      slice.endpoints.push_back(random.pick(other.endpoints));
      if (slice.endpoints.size() > 12) slice.endpoints.erase(slice.endpoints.begin());
    });
  }
  void target_number() const {
    change_slice_port(
        [&](kube::EndpointPort& port) { port.port = static_cast<std::uint16_t>(8000 + random.below(200)); });
  }
  void target_absent() const {
    change_slice_port(
        [](kube::EndpointPort& port) { port.port = port.port == 0 ? std::uint16_t{8080} : std::uint16_t{0}; });
  }
  void target_name() const {
    change_slice_port([&](kube::EndpointPort& port) { port.name = random.pick(any_service().service.ports).name; });
  }
  void target_protocol() const {
    change_slice_port([&](kube::EndpointPort& port) {
      port.protocol = random.pick<kube::Protocol>({kube::Protocol::Tcp, kube::Protocol::Udp, kube::Protocol::Sctp});
    });
  }
  void trigger_time() const {
    change_slice([&](EndpointSlice& slice) {
      slice.last_change_trigger_time = cat("2026-01-01T00:00:", 10 + random.below(50), "Z");
    });
  }
};

namespace {

struct Move {
  std::string_view kind;
  unsigned weight;
  void (HistoryMoves::*make)() const;
};

using M = HistoryMoves;
constexpr Move kMoves[] = {
    {"service created", 14, &M::create_service},
    {"service deleted", 4, &M::delete_service},
    {"service recreated", 2, &M::recreate_service},
    {"slice created", 4, &M::create_slice},
    {"slice deleted", 3, &M::delete_slice},
    {"node zone", 1, &M::zone_of_node},
    {"node recreated", 1, &M::recreate_node},
    {"ServiceCIDR", 1, &M::service_cidr},
    {"service type", 2, &M::type},
    {"service headless", 2, &M::headless},
    {"service proxy-name label", 2, &M::proxy_name},
    {"service families", 2, &M::families},
    {"service clusterIP", 2, &M::cluster_ip},
    {"service port added", 3, &M::port_added},
    {"service port removed", 2, &M::port_removed},
    {"service port number", 2, &M::port_number},
    {"service port name", 2, &M::port_name},
    {"service port protocol", 2, &M::port_protocol},
    {"service nodePort", 2, &M::node_port},
    {"service externalIPs", 2, &M::external_ips},
    {"service load balancer IPs", 2, &M::load_balancer_ips},
    {"service ipMode", 2, &M::ip_mode},
    {"service source ranges", 2, &M::source_ranges},
    {"service internalTrafficPolicy", 2, &M::internal_policy},
    {"service externalTrafficPolicy", 2, &M::external_policy},
    {"service sessionAffinity", 2, &M::affinity},
    {"service affinity timeout", 2, &M::affinity_timeout},
    {"service healthCheckNodePort", 1, &M::health_port},
    {"service publishNotReadyAddresses", 1, &M::publish_not_ready},
    {"endpoint added", 8, &M::endpoint_added},
    {"endpoint removed", 6, &M::endpoint_removed},
    {"endpoints gone", 1, &M::all_endpoints_gone},
    {"endpoint ready", 4, &M::ready},
    {"endpoint terminating", 4, &M::terminating},
    {"endpoint node", 3, &M::endpoint_node},
    {"endpoint zone hints", 2, &M::zone_hints},
    {"endpoint node hints", 2, &M::node_hints},
    {"endpoint in two slices", 3, &M::endpoint_moves},
    {"slice headless label", 2, &M::slice_headless},
    {"slice moves", 3, &M::slice_moves},
    {"slice port number", 2, &M::target_number},
    {"slice port absent", 1, &M::target_absent},
    {"slice port name", 2, &M::target_name},
    {"slice port protocol", 2, &M::target_protocol},
    {"slice trigger time", 1, &M::trigger_time},
};

const Move& any_move(Random& random) {
  unsigned total = 0;
  for (const Move& move : kMoves) total += move.weight;
  unsigned at = random.below(total);
  for (const Move& move : kMoves) {
    if (at < move.weight) return move;
    at -= move.weight;
  }
  return kMoves[0];
}

}  // namespace

void HistoryMoves::make_any() const {
  const bool young = history.services_.size() < 2 || history.slices_.empty();
  while (history.event_.edits.empty()) {
    const Move& move = young ? kMoves[0] : any_move(random);
    (this->*move.make)();
    history.event_.kind = move.kind;
  }
}

void make_move(History& history, Random& random) { HistoryMoves{history, random}.make_any(); }

std::vector<std::string_view> move_kinds() {
  std::vector<std::string_view> out;
  for (const Move& move : kMoves) out.push_back(move.kind);
  return out;
}

}  // namespace fairlead::tests::chaos
