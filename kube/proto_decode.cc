#include "kube/proto_decode.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/strings.h"
#include "kube/k8s.pb.h"
#include "kube/wire.h"

namespace fairlead::kube {
namespace {

using base::cat;

// kube-proxy reads a port as what it is; what the API could not have stored counts as absent.
std::uint16_t port_number(std::int32_t value) {
  return value > 0 && value <= 65535 ? static_cast<std::uint16_t>(value) : std::uint16_t{0};
}

void add_address(const std::string& text, std::vector<net::Ip>& out) {
  const auto ip = net::Ip::parse_sloppy(base::trim(text));
  if (ip && is_service_address(*ip)) out.push_back(*ip);
}
template <typename Strings>
std::vector<net::Ip> addresses(const Strings& texts) {
  std::vector<net::Ip> out;
  for (const std::string& text : texts) add_address(text, out);
  return out;
}

template <typename Strings>
std::vector<net::Prefix> prefixes(const Strings& texts) {
  std::vector<net::Prefix> out;
  for (const std::string& text : texts) {
    if (auto prefix = net::Prefix::parse_sloppy(base::trim(text))) out.push_back(*prefix);
  }
  return out;
}

// An absent protocol is TCP: the API's default, which old objects may lack.
std::optional<Protocol> protocol_of(const std::string& text) {
  return text.empty() ? Protocol::Tcp : parse_protocol(text);
}

template <typename Map>
std::string lookup(const Map& map, std::string_view key) {
  const auto found = map.find(std::string(key));
  return found == map.end() ? std::string() : found->second;
}
template <typename Map>
bool contains(const Map& map, std::string_view key) {
  return map.find(std::string(key)) != map.end();
}

Meta convert(const proto::ObjectMeta& meta) {
  return {.key = {.ns = meta.namespace_(), .name = meta.name()},
          .uid = meta.uid(),
          .resource_version = meta.resourceversion()};
}

ServiceType service_type(const std::string& text) {
  for (const ServiceType type : {ServiceType::NodePort, ServiceType::LoadBalancer, ServiceType::ExternalName}) {
    if (text == to_string(type)) return type;
  }
  return ServiceType::ClusterIp;
}

TrafficPolicy traffic_policy(const std::string& text) {
  return text == "Local" ? TrafficPolicy::Local : TrafficPolicy::Cluster;
}

// spec.clusterIPs, else spec.clusterIP; "None" in either makes the service headless.
void add_cluster_ips(const proto::ServiceSpec& spec, Service& service) {
  service.headless = spec.clusterip() == "None" ||
                     std::find(spec.clusterips().begin(), spec.clusterips().end(), "None") != spec.clusterips().end();
  if (service.headless) return;
  service.cluster_ips = addresses(spec.clusterips());
  if (service.cluster_ips.empty()) service.cluster_ips = addresses(std::array{spec.clusterip()});
}

void add_families(const proto::ServiceSpec& spec, Service& service) {
  for (const std::string& family : spec.ipfamilies()) {
    for (const net::Family candidate : {net::Family::V4, net::Family::V6}) {
      if (family == net::to_string(candidate)) service.ip_families.push_back(candidate);
    }
  }
}

Service convert(const proto::Service& message) {
  const proto::ServiceSpec& spec = message.spec();
  Service service;
  service.meta = convert(message.metadata());
  service.type = service_type(spec.type());
  service.has_proxy_name_label = contains(message.metadata().labels(), kServiceProxyNameLabel);
  add_cluster_ips(spec, service);
  add_families(spec, service);
  for (const proto::ServicePort& port : spec.ports()) {
    const std::optional<Protocol> protocol = protocol_of(port.protocol());
    if (!protocol || port_number(port.port()) == 0) continue;
    service.ports.push_back({.name = port.name(),
                             .protocol = *protocol,
                             .port = port_number(port.port()),
                             .node_port = port_number(port.nodeport())});
  }
  service.external_ips = addresses(spec.externalips());
  for (const proto::LoadBalancerIngress& ingress : message.status().loadbalancer().ingress()) {
    if (!ingress.ipmode().empty() && ingress.ipmode() != "VIP") continue;
    add_address(ingress.ip(), service.load_balancer_ips);
  }
  service.load_balancer_source_ranges = prefixes(spec.loadbalancersourceranges());
  service.internal_traffic_policy = traffic_policy(spec.internaltrafficpolicy());
  service.external_traffic_policy = traffic_policy(spec.externaltrafficpolicy());
  if (spec.sessionaffinity() == "ClientIP") service.session_affinity = SessionAffinity::ClientIp;
  if (const std::int32_t timeout = spec.sessionaffinityconfig().clientip().timeoutseconds(); timeout > 0) {
    service.affinity_timeout_seconds = static_cast<std::uint32_t>(timeout);
  }
  service.health_check_node_port = port_number(spec.healthchecknodeport());
  service.publish_not_ready_addresses = spec.publishnotreadyaddresses();
  return service;
}

AddressType address_type(const std::string& text) {
  if (text == "IPv4" || text.empty()) return AddressType::Ipv4;
  return text == "IPv6" ? AddressType::Ipv6 : AddressType::Fqdn;  // an unknown type is as unusable as FQDN
}

// addresses[0], the only one the API gives a meaning to; nothing when it is no address of the slice's family.
std::optional<Endpoint> convert(const proto::Endpoint& message, AddressType type) {
  if (message.addresses_size() == 0 || type == AddressType::Fqdn) return std::nullopt;
  auto address = net::Ip::parse_sloppy(base::trim(message.addresses(0)));
  if (!address || address->is_unspecified() || address->is_v4() != (type == AddressType::Ipv4)) return std::nullopt;
  Endpoint endpoint;
  endpoint.address = *address;
  const proto::EndpointConditions& conditions = message.conditions();
  if (conditions.has_ready()) endpoint.ready = conditions.ready();
  if (conditions.has_serving()) endpoint.serving = conditions.serving();
  if (conditions.has_terminating()) endpoint.terminating = conditions.terminating();
  Topology topology{.node_name = message.nodename()};
  for (const proto::ForZone& zone : message.hints().forzones()) topology.zone_hints.push_back(zone.name());
  for (const proto::ForNode& node : message.hints().fornodes()) topology.node_hints.push_back(node.name());
  endpoint.topology = std::move(topology);
  return endpoint;
}

EndpointSlice convert(const proto::EndpointSlice& message) {
  EndpointSlice slice;
  slice.meta = convert(message.metadata());
  slice.service_name = lookup(message.metadata().labels(), kServiceNameLabel);
  slice.has_headless_label = contains(message.metadata().labels(), kHeadlessLabel);
  slice.address_type = address_type(message.addresstype());
  slice.ports.reserve(static_cast<std::size_t>(message.ports_size()));
  for (const proto::EndpointPort& port : message.ports()) {
    const std::optional<Protocol> protocol = protocol_of(port.protocol());
    if (protocol) slice.ports.push_back({.name = port.name(), .protocol = *protocol, .port = port_number(port.port())});
  }
  slice.endpoints.reserve(static_cast<std::size_t>(message.endpoints_size()));
  for (const proto::Endpoint& endpoint : message.endpoints()) {
    if (auto converted = convert(endpoint, slice.address_type)) slice.endpoints.push_back(std::move(*converted));
  }
  slice.last_change_trigger_time = lookup(message.metadata().annotations(), kLastChangeTriggerAnnotation);
  return slice;
}

Node convert(const proto::Node& message) {
  Node node;
  node.meta = convert(message.metadata());
  node.labels.insert(message.metadata().labels().begin(), message.metadata().labels().end());
  for (const proto::NodeAddress& address : message.status().addresses()) {
    auto ip = net::Ip::parse_sloppy(base::trim(address.address()));
    if (ip && address.type() == "InternalIP") node.internal_ips.push_back(*ip);
    if (ip && address.type() == "ExternalIP") node.external_ips.push_back(*ip);
  }
  node.pod_cidrs = prefixes(message.spec().podcidrs());
  if (node.pod_cidrs.empty()) node.pod_cidrs = prefixes(std::array{message.spec().podcidr()});
  for (const proto::Taint& taint : message.spec().taints()) {
    node.taints.push_back({.key = taint.key(), .value = taint.value(), .effect = taint.effect()});
  }
  node.deleting = message.metadata().has_deletiontimestamp();
  return node;
}

ServiceCidr convert(const proto::ServiceCIDR& message) {
  return {.meta = convert(message.metadata()), .cidrs = prefixes(message.spec().cidrs())};
}

ApiStatus convert(const proto::Status& message) {
  ApiStatus status{.code = message.code(),
                   .reason = message.reason(),
                   .message = message.message(),
                   .causes = {},
                   .retry_after_seconds = message.details().retryafterseconds()};
  for (const proto::StatusCause& cause : message.details().causes()) status.causes.push_back(cause.reason());
  return status;
}

}  // namespace

Result<Envelope> parse_envelope(std::string_view bytes) {
  if (bytes.substr(0, kProtoMagic.size()) != kProtoMagic) return Error("does not begin with \"k8s\\0\"");
  Envelope envelope;
  wire::Reader unknown(bytes.substr(kProtoMagic.size()));
  while (!unknown.done()) {
    const wire::Field field = TRY_CONTEXT(unknown.next(), "runtime.Unknown");
    if (field.number == 1) {
      wire::Reader type_meta(field.bytes);
      while (!type_meta.done()) {
        const wire::Field part = TRY_CONTEXT(type_meta.next(), "runtime.Unknown.typeMeta");
        if (part.number == 2) envelope.kind = part.bytes;
      }
    } else if (field.number == 2) {
      envelope.raw = field.bytes;
    } else if (field.number == 3 && !field.bytes.empty()) {
      return Error(cat("content encoding \"", field.bytes, "\" is not supported"));
    }
  }
  return envelope;
}

// Messages live here until the next one is read. The first block is kept, so that an ordinary object costs no
// allocation but for its long strings.
struct ProtoDecoder::Arena {
  static constexpr std::size_t kFirstBlock = std::size_t{64} << 10;
  static google::protobuf::ArenaOptions options(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kFirstBlock;
    return options;
  }
  std::unique_ptr<char[]> block = std::make_unique<char[]>(kFirstBlock);
  google::protobuf::Arena arena{options(block.get())};
};

ProtoDecoder::ProtoDecoder() : arena_(std::make_unique<Arena>()) {}
ProtoDecoder::~ProtoDecoder() = default;

template <typename Message>
Result<const Message*> ProtoDecoder::parse(std::string_view bytes, std::string_view name) {
  arena_->arena.Reset();
  auto* message = google::protobuf::Arena::CreateMessage<Message>(&arena_->arena);
  if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error(cat("not a protobuf ", name, " (", bytes.size(), " bytes)"));
  }
  return message;
}

template <typename Message>
Result<Object> ProtoDecoder::convert_one(Kind kind, std::string_view message) {
  const Message* parsed = TRY(parse<Message>(message, to_string(kind)));
  if (parsed->metadata().name().empty()) return Error(cat("a ", to_string(kind), " without metadata.name"));
  return Object(convert(*parsed));
}

Result<Object> ProtoDecoder::object(Kind kind, std::string_view message) {
  switch (kind) {
    case Kind::Service: return convert_one<proto::Service>(kind, message);
    case Kind::EndpointSlice: return convert_one<proto::EndpointSlice>(kind, message);
    case Kind::Node: return convert_one<proto::Node>(kind, message);
    case Kind::ServiceCidr: return convert_one<proto::ServiceCIDR>(kind, message);
  }
  return Error("no such kind");
}

Result<ListMeta> ProtoDecoder::list_meta(std::string_view message) {
  const auto* meta = TRY(parse<proto::ListMeta>(message, "ListMeta"));
  return ListMeta{.resource_version = meta->resourceversion(), .continue_token = meta->continue_()};
}

Result<ApiStatus> ProtoDecoder::status(std::string_view message) {
  return convert(*TRY(parse<proto::Status>(message, "Status")));
}

Status ProtoDecoder::bookmark(std::string_view message, WatchEvent& event) {
  const proto::ObjectMeta& meta = TRY(parse<proto::MetadataOnly>(message, "bookmark"))->metadata();
  event.resource_version = meta.resourceversion();
  event.initial_events_end = lookup(meta.annotations(), kInitialEventsEndAnnotation) == "true";
  return {};
}

Result<WatchEvent> ProtoDecoder::watch_event(Kind kind, std::string_view frame) {
  std::string_view type_name;
  std::string_view raw_extension;
  wire::Reader fields(frame);
  while (!fields.done()) {
    const wire::Field field = TRY_CONTEXT(fields.next(), "WatchEvent");
    if (field.number == 1) type_name = field.bytes;
    if (field.number == 2) raw_extension = field.bytes;
  }
  const std::optional<WatchType> type = parse_watch_type(type_name);
  if (!type) return Error(cat("WatchEvent of unknown type \"", type_name.substr(0, 40), "\""));
  std::string_view raw;
  wire::Reader extension(raw_extension);
  while (!extension.done()) {
    const wire::Field field = TRY_CONTEXT(extension.next(), "WatchEvent.object");
    if (field.number == 1) raw = field.bytes;
  }
  const Envelope envelope = TRY_CONTEXT(parse_envelope(raw), "WatchEvent.object");

  WatchEvent event{.type = *type, .object = {}, .resource_version = {}, .initial_events_end = false, .status = {}};
  const std::string_view expected = *type == WatchType::Error ? std::string_view("Status") : to_string(kind);
  // A bookmark of a filtered watch may come as PartialObjectMetadata; only its metadata matters.
  if (*type != WatchType::Bookmark && !envelope.kind.empty() && envelope.kind != expected) {
    return Error(
        cat(type_name, " event carries a ", envelope.kind.substr(0, 80), " where a ", expected, " is expected"));
  }
  switch (*type) {
    case WatchType::Error: event.status = TRY(status(envelope.raw)); break;
    case WatchType::Bookmark: TRY(bookmark(envelope.raw, event)); break;
    default:
      event.object = TRY(object(kind, envelope.raw));
      event.resource_version = meta_of(*event.object).resource_version;
  }
  return event;
}

}  // namespace fairlead::kube
