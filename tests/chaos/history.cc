#include "tests/chaos/history.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/strings.h"
#include "tests/chaos/moves.h"

namespace fairlead::tests::chaos {
namespace {

using apiserver::Resource;
using base::cat;
using net::Family;

constexpr unsigned kClusterIps = 90;  // per family; reused soon after their service is gone
constexpr std::uint16_t kFirstNodePort = 31000;
constexpr std::uint16_t kNodePorts = 200;
constexpr std::uint16_t kFirstHealthPort = 31900;
constexpr unsigned kExternalIps = 5;  // per family

net::Ip numbered(Family family, const char* v4, const char* v6, unsigned number) {
  return *net::Ip::parse(cat(family == Family::V4 ? v4 : v6, number));
}

// One address and port, as two services would contest it.
struct Spot {
  net::Ip address;
  kube::Protocol protocol;
  std::uint16_t port;
  auto operator<=>(const Spot&) const = default;
};

std::vector<Spot> spots(const ServiceDraft& draft, const net::Ip& ip) {
  std::vector<Spot> out;
  for (const kube::ServicePort& port : draft.service.ports) out.push_back({ip, port.protocol, port.port});
  return out;
}

}  // namespace

History::History(std::uint64_t seed, Universe universe) : random_(seed), universe_(std::move(universe)) {
  for (const kube::Node& node : universe_.nodes) nodes_.emplace(node.meta.key, node);
  for (const kube::ServiceCidr& cidr : universe_.cidrs) cidrs_.emplace(cidr.meta.key, cidr);
}

Event History::next() {
  event_ = {};
  make_move(*this, random_);
  return std::exchange(event_, {});
}

std::vector<std::string_view> History::kinds() { return move_kinds(); }

std::string History::new_uid() { return cat("uid-", ++uids_); }

void History::put(const ServiceDraft& draft) {
  const kube::Key& key = draft.service.meta.key;
  services_.insert_or_assign(key, draft);
  event_.edits.push_back({Resource::Services, key, to_value(draft)});
}

void History::put(const kube::EndpointSlice& slice) {
  slices_.insert_or_assign(slice.meta.key, slice);
  event_.edits.push_back({Resource::EndpointSlices, slice.meta.key, to_value(slice)});
}

void History::erase(Resource resource, const kube::Key& key) {
  if (resource == Resource::Services) services_.erase(key);
  if (resource == Resource::EndpointSlices) slices_.erase(key);
  if (resource == Resource::Nodes) nodes_.erase(key);
  if (resource == Resource::ServiceCidrs) cidrs_.erase(key);
  event_.edits.push_back({resource, key, std::nullopt});
}

std::vector<net::Ip> History::free_cluster_ips(const std::vector<Family>& families) {
  std::set<net::Ip> taken;
  for (const auto& [key, other] : services_)
    taken.insert(other.service.cluster_ips.begin(), other.service.cluster_ips.end());
  std::vector<net::Ip> out;
  for (const Family family : families) {
    net::Ip ip;
    do {
      ip = numbered(family, "10.96.200.", "fd00:10:96::c8:", 1 + random_.below(kClusterIps));
    } while (taken.contains(ip));
    out.push_back(ip);
  }
  return out;
}

std::uint16_t History::free_node_port(const ServiceDraft& own) {
  std::set<std::uint16_t> taken;
  const auto take = [&](const kube::Service& service) {
    for (const kube::ServicePort& port : service.ports) taken.insert(port.node_port);
  };
  take(own.service);
  for (const auto& [key, other] : services_) take(other.service);
  std::uint16_t port = 0;
  do {
    port = static_cast<std::uint16_t>(kFirstNodePort + random_.below(kNodePorts));
  } while (taken.contains(port));
  return port;
}

std::uint16_t History::free_health_port() {
  std::set<std::uint16_t> taken;
  for (const auto& [key, other] : services_) taken.insert(other.service.health_check_node_port);
  std::uint16_t port = 0;
  do {
    port = static_cast<std::uint16_t>(kFirstHealthPort + random_.below(90));
  } while (taken.contains(port));
  return port;
}

std::vector<net::Ip> History::some_external_ips() {
  std::set<net::Ip> out;
  for (unsigned i = random_.below(4); i > 0; --i) {
    const Family family = random_.coin() ? Family::V4 : Family::V6;
    out.insert(numbered(family, "198.51.100.", "fd00:198:51:100::", 201 + random_.below(kExternalIps)));
  }
  return {out.begin(), out.end()};
}

// What an API server would not have let through.
void History::tidy(ServiceDraft& draft) {
  kube::Service& service = draft.service;
  if (service.headless && service.type != kube::ServiceType::ExternalName) service.type = kube::ServiceType::ClusterIp;
  const bool addressless = service.headless || service.type == kube::ServiceType::ExternalName;
  if (addressless) service.cluster_ips.clear();
  if (service.type == kube::ServiceType::ExternalName) {
    service.headless = false;
    service.ip_families.clear();
  } else if (service.ip_families.empty()) {
    service.ip_families = {Family::V4};
  }
  if (!addressless && service.cluster_ips.empty()) service.cluster_ips = free_cluster_ips(service.ip_families);
  const bool exposed = service.type == kube::ServiceType::NodePort || service.type == kube::ServiceType::LoadBalancer;
  for (kube::ServicePort& port : service.ports) {
    if (!exposed) port.node_port = 0;
    if (service.type == kube::ServiceType::NodePort && port.node_port == 0) port.node_port = free_node_port(draft);
  }
  if (service.type != kube::ServiceType::LoadBalancer) {
    service.load_balancer_ips.clear();
    draft.proxied_ips.clear();
    service.health_check_node_port = 0;
  }
}

ServiceDraft History::random_service(const std::string& name) {
  ServiceDraft draft;
  kube::Service& service = draft.service;
  service.meta = {{kNamespace, name}, new_uid(), {}};
  service.type = random_.pick<kube::ServiceType>(
      {kube::ServiceType::ClusterIp, kube::ServiceType::NodePort, kube::ServiceType::LoadBalancer});
  service.ip_families = random_.pick<std::vector<Family>>(
      {{Family::V4}, {Family::V6}, {Family::V4, Family::V6}, {Family::V6, Family::V4}});
  const unsigned ports = 1 + random_.below(3);
  for (unsigned i = 0; i < ports; ++i) {
    service.ports.push_back(
        {.name = ports == 1 && random_.coin() ? "" : std::string(1, static_cast<char>('a' + i)),
         .protocol = random_.pick<kube::Protocol>({kube::Protocol::Tcp, kube::Protocol::Udp, kube::Protocol::Tcp}),
         .port = static_cast<std::uint16_t>(80 + i)});
  }
  if (service.type == kube::ServiceType::LoadBalancer) {
    service.load_balancer_ips = some_external_ips();
    if (random_.coin()) service.load_balancer_source_ranges = {*net::Prefix::parse("10.244.0.0/16")};
  }
  if (random_.one_in(3)) service.external_traffic_policy = kube::TrafficPolicy::Local;
  if (random_.one_in(4)) service.session_affinity = kube::SessionAffinity::ClientIp;
  tidy(draft);
  return draft;
}

kube::Endpoint History::random_endpoint(Family family) {
  kube::Endpoint endpoint;
  do {
    endpoint.address = random_.pick(universe_.endpoint_addresses);
  } while (endpoint.address.family() != family);
  endpoint.ready = true;
  endpoint.serving = true;
  endpoint.terminating = false;
  endpoint.topology = kube::Topology{.node_name = random_.pick(universe_.nodes).meta.key.name};
  return endpoint;
}

kube::EndpointSlice History::random_slice(const kube::Service& service, Family family, unsigned number) {
  kube::EndpointSlice slice;
  slice.meta = {{kNamespace, cat(service.meta.key.name, "-", number)}, new_uid(), {}};
  slice.service_name = service.meta.key.name;
  slice.address_type = family == Family::V4 ? kube::AddressType::Ipv4 : kube::AddressType::Ipv6;
  for (const kube::ServicePort& port : service.ports) {
    slice.ports.push_back({.name = port.name,
                           .protocol = port.protocol,
                           .port = static_cast<std::uint16_t>(8000 + port.port + random_.below(2))});
  }
  for (unsigned i = random_.below(6); i > 0; --i) slice.endpoints.push_back(random_endpoint(family));
  return slice;
}

void History::random_slices(const kube::Service& service) {
  for (const Family family : service.ip_families) {
    for (unsigned i = 1 + random_.below(2); i > 0; --i) put(random_slice(service, family, ++slices_made_));
  }
}

// Whether a service of a smaller key has one of its spots at `ip`.
bool History::contested(const ServiceDraft& draft, const net::Ip& ip) const {
  const std::vector<Spot> wanted = spots(draft, ip);
  for (const auto& [key, other] : services_) {
    if (key >= draft.service.meta.key) return false;
    const auto& external = other.service.external_ips;
    const auto& balancer = other.service.load_balancer_ips;
    if (std::find(external.begin(), external.end(), ip) == external.end() &&
        std::find(balancer.begin(), balancer.end(), ip) == balancer.end())
      continue;
    const std::vector<Spot> theirs = spots(other, ip);
    const bool meets = std::any_of(wanted.begin(), wanted.end(), [&](const Spot& spot) {
      return std::find(theirs.begin(), theirs.end(), spot) != theirs.end();
    });
    if (meets) return true;
  }
  return false;
}

Event History::calm() {
  event_ = {.kind = "calm", .text = "every contest for an address ends", .edits = {}};
  for (const auto& [key, unused] : std::map(services_)) {
    ServiceDraft draft = services_.at(key);
    const auto lost = [&](const net::Ip& ip) { return contested(draft, ip); };
    std::erase_if(draft.service.external_ips, lost);
    std::erase_if(draft.service.load_balancer_ips, lost);
    if (draft != services_.at(key)) put(draft);
  }
  return std::exchange(event_, {});
}

Event History::marker(unsigned count) {
  event_ = {.kind = "marker", .text = cat("marker with ", count, " endpoints"), .edits = {}};
  ServiceDraft draft;
  draft.service.meta = {{kNamespace, "marker"}, new_uid(), {}};
  draft.service.ip_families = {Family::V4};
  draft.service.cluster_ips = {net::Ip::v4(10, 96, 201, 1)};
  draft.service.ports.push_back({.name = "a", .port = static_cast<std::uint16_t>(1000 + count)});
  kube::EndpointSlice slice;
  slice.meta = {{kNamespace, "marker-0"}, new_uid(), {}};
  slice.service_name = "marker";
  slice.ports.push_back({.name = "a", .port = 8080});
  for (unsigned i = 0; i < count; ++i) {
    kube::Endpoint endpoint;
    endpoint.address = net::Ip::v4(10, 244, 99, static_cast<std::uint8_t>(1 + i));
    endpoint.ready = true;
    slice.endpoints.push_back(std::move(endpoint));
  }
  put(slice);
  put(draft);
  return std::exchange(event_, {});
}

std::vector<apiserver::Manifest> History::objects() const {
  std::vector<apiserver::Manifest> out;
  for (const auto& [key, node] : nodes_) out.push_back({Resource::Nodes, to_value(node)});
  for (const auto& [key, cidr] : cidrs_) out.push_back({Resource::ServiceCidrs, to_value(cidr)});
  for (const auto& [key, draft] : services_) out.push_back({Resource::Services, to_value(draft)});
  for (const auto& [key, slice] : slices_) out.push_back({Resource::EndpointSlices, to_value(slice)});
  return out;
}

}  // namespace fairlead::tests::chaos
