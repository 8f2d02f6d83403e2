#include "kube/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/json.h"
#include "base/strings.h"
#include "kube/decode.h"
#include "kube/k8s.pb.h"
#include "kube/proto_decode.h"

namespace fairlead::kube {
namespace {

using base::cat;

// ---- the same objects in both encodings ----

constexpr std::string_view kServiceJson = R"({"metadata":{"name":"web","namespace":"shop","uid":"u-1",
  "resourceVersion":"41","creationTimestamp":"2024-01-01T00:00:00Z","labels":{"app":"web \"]}{[ x"},
  "managedFields":[{"manager":"k","fieldsV1":{"f:spec":{}}}]},
 "spec":{"type":"LoadBalancer","clusterIP":"10.96.0.041","clusterIPs":["10.96.0.041","fd00::1"],
  "ipFamilies":["IPv4","IPv6"],"selector":{"app":"web"},"externalIPs":["192.0.2.7","","bogus"],
  "sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}},
  "loadBalancerSourceRanges":[" 203.0.113.0/025 ","nonsense"],"externalTrafficPolicy":"Local",
  "internalTrafficPolicy":"Local","healthCheckNodePort":30999,"publishNotReadyAddresses":true,
  "ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":"web","nodePort":30080},
           {"name":"dns","protocol":"UDP","port":53,"targetPort":5353},{"name":"x","protocol":"QUIC","port":1}]},
 "status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.1"},{"ip":"198.51.100.2","ipMode":"Proxy"},
  {"ip":"198.51.100.3","ipMode":"VIP"},{"hostname":"lb.example"}]}}})";

std::string service_proto() {
  proto::Service out;
  auto* meta = out.mutable_metadata();
  meta->set_name("web");
  meta->set_namespace_("shop");
  meta->set_uid("u-1");
  meta->set_resourceversion("41");
  meta->mutable_creationtimestamp()->set_seconds(1);
  (*meta->mutable_labels())["app"] = "web";
  auto* spec = out.mutable_spec();
  spec->set_type("LoadBalancer");
  spec->set_clusterip("10.96.0.041");
  for (const char* ip : {"10.96.0.041", "fd00::1"}) spec->add_clusterips(ip);
  for (const char* family : {"IPv4", "IPv6"}) spec->add_ipfamilies(family);
  for (const char* ip : {"192.0.2.7", "", "bogus"}) spec->add_externalips(ip);
  spec->set_sessionaffinity("ClientIP");
  spec->mutable_sessionaffinityconfig()->mutable_clientip()->set_timeoutseconds(60);
  for (const char* range : {" 203.0.113.0/025 ", "nonsense"}) spec->add_loadbalancersourceranges(range);
  spec->set_externaltrafficpolicy("Local");
  spec->set_internaltrafficpolicy("Local");
  spec->set_healthchecknodeport(30999);
  spec->set_publishnotreadyaddresses(true);
  const auto port = [spec](const char* name, const char* protocol, int number, int node_port) {
    auto* added = spec->add_ports();
    added->set_name(name);
    added->set_protocol(protocol);
    added->set_port(number);
    added->mutable_targetport()->set_strval("web");
    if (node_port != 0) added->set_nodeport(node_port);
  };
  port("http", "TCP", 80, 30080);
  port("dns", "UDP", 53, 0);
  port("x", "QUIC", 1, 0);
  auto* balancer = out.mutable_status()->mutable_loadbalancer();
  balancer->add_ingress()->set_ip("198.51.100.1");
  auto* by_proxy = balancer->add_ingress();
  by_proxy->set_ip("198.51.100.2");
  by_proxy->set_ipmode("Proxy");
  auto* vip = balancer->add_ingress();
  vip->set_ip("198.51.100.3");
  vip->set_ipmode("VIP");
  balancer->add_ingress()->set_hostname("lb.example");
  return out.SerializeAsString();
}

Service expected_service() {
  Service out;
  out.meta = {.key = {.ns = "shop", .name = "web"}, .uid = "u-1", .resource_version = "41"};
  out.type = ServiceType::LoadBalancer;
  out.cluster_ips = {net::Ip::v4(10, 96, 0, 41), *net::Ip::parse("fd00::1")};
  out.ip_families = {net::Family::V4, net::Family::V6};
  out.ports = {{.name = "http", .protocol = Protocol::Tcp, .port = 80, .node_port = 30080},
               {.name = "dns", .protocol = Protocol::Udp, .port = 53, .node_port = 0}};
  out.external_ips = {net::Ip::v4(192, 0, 2, 7)};
  out.load_balancer_ips = {net::Ip::v4(198, 51, 100, 1), net::Ip::v4(198, 51, 100, 3)};
  out.load_balancer_source_ranges = {*net::Prefix::parse("203.0.113.0/25")};
  out.internal_traffic_policy = TrafficPolicy::Local;
  out.external_traffic_policy = TrafficPolicy::Local;
  out.session_affinity = SessionAffinity::ClientIp;
  out.affinity_timeout_seconds = 60;
  out.health_check_node_port = 30999;
  out.publish_not_ready_addresses = true;
  return out;
}

constexpr std::string_view kSliceJson = R"({"metadata":{"name":"web-1","namespace":"shop","resourceVersion":"42",
  "labels":{"kubernetes.io/service-name":"web","service.kubernetes.io/headless":""},
  "annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"2024-01-01T00:00:00Z"}},
 "addressType":"IPv4","ports":[{"name":"http","protocol":"TCP","port":8080},{"name":""}],
 "endpoints":[{"addresses":["10.0.0.1","10.0.0.2"],"conditions":{"ready":true,"serving":false},"nodeName":"n1",
   "hints":{"forZones":[{"name":"z1"}],"forNodes":[{"name":"n1"}]}},
  {"addresses":["10.0.0.3"],"conditions":{"terminating":true}},
  {"addresses":["fd00::1"]},{"addresses":["not.an.ip"]},{"addresses":["0.0.0.0"]},{"addresses":[]}]})";

std::string slice_proto() {
  proto::EndpointSlice out;
  auto* meta = out.mutable_metadata();
  meta->set_name("web-1");
  meta->set_namespace_("shop");
  meta->set_resourceversion("42");
  (*meta->mutable_labels())["kubernetes.io/service-name"] = "web";
  (*meta->mutable_labels())["service.kubernetes.io/headless"] = "";
  (*meta->mutable_annotations())["endpoints.kubernetes.io/last-change-trigger-time"] = "2024-01-01T00:00:00Z";
  out.set_addresstype("IPv4");
  auto* port = out.add_ports();
  port->set_name("http");
  port->set_protocol("TCP");
  port->set_port(8080);
  out.add_ports()->set_name("");
  auto* first = out.add_endpoints();
  for (const char* ip : {"10.0.0.1", "10.0.0.2"}) first->add_addresses(ip);
  first->mutable_conditions()->set_ready(true);
  first->mutable_conditions()->set_serving(false);
  first->set_nodename("n1");
  first->mutable_hints()->add_forzones()->set_name("z1");
  first->mutable_hints()->add_fornodes()->set_name("n1");
  auto* second = out.add_endpoints();
  second->add_addresses("10.0.0.3");
  second->mutable_conditions()->set_terminating(true);
  for (const char* ip : {"fd00::1", "not.an.ip", "0.0.0.0"}) out.add_endpoints()->add_addresses(ip);
  out.add_endpoints();
  return out.SerializeAsString();
}

constexpr std::string_view kNodeJson = R"({"metadata":{"name":"n1","resourceVersion":"43",
  "deletionTimestamp":"2024-01-01T00:00:00Z","labels":{"topology.kubernetes.io/zone":"z1"}},
 "spec":{"podCIDR":"10.1.0.0/24","podCIDRs":["10.1.0.0/24","fd01::/64"],
  "taints":[{"key":"k","value":"v","effect":"NoSchedule"}]},
 "status":{"addresses":[{"type":"Hostname","address":"n1"},{"type":"InternalIP","address":"192.0.2.1"},
  {"type":"ExternalIP","address":"203.0.113.1"},{"type":"InternalIP","address":"fd02::1"}],
  "images":[{"names":["a","b"]}]}})";

std::string node_proto() {
  proto::Node out;
  auto* meta = out.mutable_metadata();
  meta->set_name("n1");
  meta->set_resourceversion("43");
  meta->mutable_deletiontimestamp()->set_seconds(1);
  (*meta->mutable_labels())["topology.kubernetes.io/zone"] = "z1";
  out.mutable_spec()->set_podcidr("10.1.0.0/24");
  for (const char* cidr : {"10.1.0.0/24", "fd01::/64"}) out.mutable_spec()->add_podcidrs(cidr);
  auto* taint = out.mutable_spec()->add_taints();
  taint->set_key("k");
  taint->set_value("v");
  taint->set_effect("NoSchedule");
  for (const auto& [type, address] : std::vector<std::pair<const char*, const char*>>{
           {"Hostname", "n1"}, {"InternalIP", "192.0.2.1"}, {"ExternalIP", "203.0.113.1"}, {"InternalIP", "fd02::1"}}) {
    auto* added = out.mutable_status()->add_addresses();
    added->set_type(type);
    added->set_address(address);
  }
  return out.SerializeAsString();
}

constexpr std::string_view kCidrJson =
    R"({"metadata":{"name":"kubernetes","resourceVersion":"44"},"spec":{"cidrs":["10.96.0.0/12","fd00:1::/108","x"]}})";

std::string cidr_proto() {
  proto::ServiceCIDR out;
  out.mutable_metadata()->set_name("kubernetes");
  out.mutable_metadata()->set_resourceversion("44");
  for (const char* cidr : {"10.96.0.0/12", "fd00:1::/108", "x"}) out.mutable_spec()->add_cidrs(cidr);
  return out.SerializeAsString();
}

// ---- envelopes ----

std::string field(std::uint32_t number, std::string_view payload) {
  std::string out;
  const auto varint = [&out](std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
    out += static_cast<char>(value);
  };
  varint(std::uint64_t{number} << 3 | 2);
  varint(payload.size());
  out += payload;
  return out;
}

std::string envelope(std::string_view kind, std::string_view raw) {
  return cat(kProtoMagic, field(1, cat(field(1, "v1"), field(2, kind))), field(2, raw), field(3, ""), field(4, ""));
}
std::string list_body(Kind kind, const std::vector<std::string>& items, std::string_view version = "50") {
  std::string list = field(1, cat(field(1, ""), field(2, version), field(3, "more")));
  for (const std::string& item : items) list += field(2, item);
  return envelope(cat(to_string(kind), "List"), list);
}
std::string frame(std::string_view type, std::string_view kind, std::string_view object) {
  const std::string event = cat(field(1, type), field(2, field(1, envelope(kind, object))));
  std::string out;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(event.size() >> shift);
  return out + event;
}
std::string bookmark_proto() {
  proto::MetadataOnly out;
  out.mutable_metadata()->set_resourceversion("60");
  (*out.mutable_metadata()->mutable_annotations())["k8s.io/initial-events-end"] = "true";
  return out.SerializeAsString();
}
std::string status_proto() {
  proto::Status out;
  out.set_code(504);
  out.set_reason("Timeout");
  out.set_message("Too large");
  out.mutable_details()->set_retryafterseconds(3);
  out.mutable_details()->add_causes()->set_reason("ResourceVersionTooLarge");
  return out.SerializeAsString();
}
const ApiStatus kStatus = {.code = 504,
                           .reason = "Timeout",
                           .message = "Too large",
                           .causes = {"ResourceVersionTooLarge"},
                           .retry_after_seconds = 3};
constexpr std::string_view kStatusJson =
    R"({"kind":"Status","code":504,"reason":"Timeout","message":"Too large",
        "details":{"retryAfterSeconds":3,"causes":[{"reason":"ResourceVersionTooLarge"}]}})";

// ---- running the decoders ----

// Cuts a body into pieces; 0 stands for whole.
using Cut = std::function<std::size_t()>;
Cut pieces_of(std::size_t size) {
  return [size] { return size; };
}
Cut random_pieces(unsigned seed) {
  return [engine = std::mt19937(seed)]() mutable { return std::uniform_int_distribution<std::size_t>(1, 40)(engine); };
}

Status feed(StreamDecoder& decoder, std::string_view body, const Cut& cut) {
  while (!body.empty()) {
    // A copy of its own, so that a sanitizer sees a view kept for too long.
    const std::size_t size = cut();
    const std::string piece(body.substr(0, size == 0 ? body.size() : size));
    TRY(decoder.feed(piece));
    body.remove_prefix(piece.size());
  }
  return decoder.finish();
}

struct List {
  std::vector<Object> items;
  ListMeta meta;
  bool operator==(const List&) const = default;
};
Result<List> read_list(Encoding encoding, Kind kind, std::string_view body, const Cut& cut = pieces_of(0),
                       StreamLimits limits = {}) {
  List out;
  const auto decoder = make_list_decoder(
      encoding, kind, [&out](Object object) { out.items.push_back(std::move(object)); }, limits);
  TRY(feed(*decoder, body, cut));
  out.meta = decoder->meta();
  return out;
}
Result<std::vector<WatchEvent>> read_watch(Encoding encoding, Kind kind, std::string_view body,
                                           const Cut& cut = pieces_of(0), StreamLimits limits = {}) {
  std::vector<WatchEvent> out;
  const auto take = [&out](WatchEvent event) {
    out.push_back(std::move(event));
    return true;
  };
  const auto decoder = make_watch_decoder(encoding, kind, take, limits);
  TRY(feed(*decoder, body, cut));
  return out;
}

struct Body {
  Encoding encoding;
  Kind kind;
  std::string text;
};
std::vector<Body> lists() {
  return {{Encoding::Protobuf, Kind::Service, list_body(Kind::Service, {service_proto(), service_proto()})},
          {Encoding::Json, Kind::Service,
           cat(R"({"kind":"ServiceList","apiVersion":"v1","metadata":{"resourceVersion":"50","continue":"more"},
                  "unknown":[{"a":"]"},1.5e3],"items":[)",
               kServiceJson, " , ", kServiceJson, "] }\n")}};
}
std::vector<Body> watches() {
  return {{Encoding::Protobuf, Kind::EndpointSlice,
           cat(frame("ADDED", "EndpointSlice", slice_proto()), frame("BOOKMARK", "EndpointSlice", bookmark_proto()),
               frame("DELETED", "EndpointSlice", slice_proto()), frame("ERROR", "Status", status_proto()))},
          {Encoding::Json, Kind::EndpointSlice,
           cat(R"({"type":"ADDED","object":)", kSliceJson, "}\n",
               R"({"type":"BOOKMARK","object":{"kind":"EndpointSlice","metadata":{"resourceVersion":"60",
                   "annotations":{"k8s.io/initial-events-end":"true"}}}})",
               R"({"type":"DELETED","object":)", kSliceJson, "}\n", R"({"type":"ERROR","object":)", kStatusJson, "}")}};
}

Object from_json(Kind kind, std::string_view text) {
  return *decode_object(kind, *base::parse_json(text), Strictness::Lenient);
}

// ---- what is decoded ----

TEST(Decoding, ProtobufAndJsonOfOneObjectAreTheSame) {
  ProtoDecoder decoder;
  const auto service = decoder.object(Kind::Service, service_proto());
  ASSERT_TRUE(service) << service.error().message();
  EXPECT_EQ(*service, Object(expected_service()));
  EXPECT_EQ(*service, from_json(Kind::Service, kServiceJson));
  EXPECT_EQ(*decoder.object(Kind::EndpointSlice, slice_proto()), from_json(Kind::EndpointSlice, kSliceJson));
  EXPECT_EQ(*decoder.object(Kind::Node, node_proto()), from_json(Kind::Node, kNodeJson));
  EXPECT_EQ(*decoder.object(Kind::ServiceCidr, cidr_proto()), from_json(Kind::ServiceCidr, kCidrJson));
}

TEST(Decoding, ConditionsKeepAbsenceApartFromFalse) {
  const auto slice = ProtoDecoder().object(Kind::EndpointSlice, slice_proto());
  ASSERT_TRUE(slice);
  const auto& endpoints = std::get<EndpointSlice>(*slice).endpoints;
  ASSERT_EQ(endpoints.size(), 2u);
  EXPECT_EQ(endpoints[0].ready, true);
  EXPECT_EQ(endpoints[0].serving, false);
  EXPECT_EQ(endpoints[0].terminating, std::nullopt);
  EXPECT_EQ(endpoints[1].ready, std::nullopt);
  EXPECT_EQ(endpoints[1].terminating, true);
}

TEST(Decoding, AListYieldsItsItemsItsVersionAndItsContinueToken) {
  for (const Body& body : lists()) {
    const auto list = read_list(body.encoding, body.kind, body.text);
    ASSERT_TRUE(list) << list.error().message();
    EXPECT_EQ(*list, (List{.items = {expected_service(), expected_service()},
                           .meta = {.resource_version = "50", .continue_token = "more"}}));
  }
}

TEST(Decoding, AnEmptyListIsAList) {
  const List expected{.items = {}, .meta = {.resource_version = "5", .continue_token = {}}};
  for (const std::string_view text :
       {R"({"metadata":{"resourceVersion":"5"},"items":[]})", R"({"items":null,"metadata":{"resourceVersion":"5"}})"}) {
    EXPECT_EQ(*read_list(Encoding::Json, Kind::Node, text), expected);
  }
  EXPECT_EQ(*read_list(Encoding::Protobuf, Kind::Node, envelope("NodeList", field(1, field(2, "5")))), expected);
}

TEST(Decoding, AWatchYieldsItsEventsInOrder) {
  const Object slice = from_json(Kind::EndpointSlice, kSliceJson);
  const std::vector<WatchEvent> expected = {
      {.type = WatchType::Added, .object = slice, .resource_version = "42", .initial_events_end = false, .status = {}},
      {.type = WatchType::Bookmark, .object = {}, .resource_version = "60", .initial_events_end = true, .status = {}},
      {.type = WatchType::Deleted,
       .object = slice,
       .resource_version = "42",
       .initial_events_end = false,
       .status = {}},
      {.type = WatchType::Error, .object = {}, .resource_version = {}, .initial_events_end = false, .status = kStatus}};
  for (const Body& body : watches()) {
    const auto events = read_watch(body.encoding, body.kind, body.text);
    ASSERT_TRUE(events) << events.error().message();
    EXPECT_EQ(*events, expected);
  }
}

TEST(Decoding, AReaderThatWantsNoMoreGetsNoMore) {
  for (const Body& body : watches()) {
    int events = 0;
    const auto decoder =
        make_watch_decoder(body.encoding, body.kind, [&events](const WatchEvent&) { return ++events < 2; });
    EXPECT_TRUE(feed(*decoder, body.text, pieces_of(0)));
    EXPECT_EQ(events, 2);
  }
}

TEST(Decoding, PiecesOfAnySizeGiveTheSameResult) {
  std::vector<Cut> cuts = {pieces_of(1), pieces_of(2), pieces_of(3), pieces_of(1000)};
  for (unsigned seed = 0; seed < 50; ++seed) cuts.push_back(random_pieces(seed));
  for (const Cut& cut : cuts) {
    for (const Body& body : lists()) {
      EXPECT_EQ(*read_list(body.encoding, body.kind, body.text, cut), *read_list(body.encoding, body.kind, body.text));
    }
    for (const Body& body : watches()) {
      EXPECT_EQ(*read_watch(body.encoding, body.kind, body.text, cut),
                *read_watch(body.encoding, body.kind, body.text));
    }
  }
}

TEST(Decoding, UnknownFieldsAreSkippedAndOrderDoesNotMatter) {
  const std::string unknown = cat(field(99, "whatever"), "\xa0\x06\x01",  // field 100, varint
                                  "\xa9\x06"
                                  "12345678",
                                  "\xb5\x06"
                                  "1234");  // 101 fixed64, 102 fixed32
  const std::string list = cat(unknown, field(2, cidr_proto()), unknown, field(1, cat(unknown, field(2, "5"))));
  const std::string body = cat(kProtoMagic, unknown, field(2, list), unknown, field(1, field(2, "ServiceCIDRList")));
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}}) {
    const auto read = read_list(Encoding::Protobuf, Kind::ServiceCidr, body, pieces_of(size));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(*read, (List{.items = {from_json(Kind::ServiceCidr, kCidrJson)},
                           .meta = {.resource_version = "5", .continue_token = {}}}));
  }
}

// ---- what is refused ----

std::string list_error(Encoding encoding, std::string_view body, StreamLimits limits = {}) {
  const auto list = read_list(encoding, Kind::Service, body, pieces_of(0), limits);
  return list ? "no error" : list.error().message();
}
std::string watch_error(Encoding encoding, std::string_view body, StreamLimits limits = {}) {
  const auto events = read_watch(encoding, Kind::Service, body, pieces_of(0), limits);
  return events ? "no error" : events.error().message();
}

TEST(Decoding, GarbageInAProtobufListIsNamedWithItsPlace) {
  const auto error = [](std::string_view body) { return list_error(Encoding::Protobuf, body); };
  EXPECT_EQ(error("<html>"), "ServiceList, field at byte 0: does not begin with \"k8s\\0\"");
  EXPECT_EQ(error(""), "ServiceList, field at byte 0: the body ends too early");
  EXPECT_EQ(error(kProtoMagic), "ServiceList, field at byte 0: the body holds no list");
  EXPECT_EQ(error(cat(kProtoMagic, "\x0f")), "ServiceList, field at byte 4: field 1: wire type 7");
  EXPECT_EQ(error(envelope("PodList", field(2, ""))), "ServiceList, field at byte 4: the body is a PodList");
  EXPECT_EQ(error(envelope("ServiceList", field(2, "\x0a\xff"))),
            "ServiceList, field at byte 25: not a protobuf Service (2 bytes)");
  EXPECT_EQ(error(envelope("ServiceList", field(2, ""))),
            "ServiceList, field at byte 25: a Service without metadata.name");
  EXPECT_EQ(error(envelope("ServiceList", "\x12\x7f")),
            "ServiceList, field at byte 25: field 2 of 127 bytes where the list has 0 left");
  EXPECT_EQ(error(cat(kProtoMagic, field(3, "gzip"))),
            "ServiceList, field at byte 4: content encoding \"gzip\" is not supported");
  EXPECT_EQ(error(cat(kProtoMagic, std::string(11, '\xff'))),
            "ServiceList, field at byte 4: a number longer than 10 bytes");
}

TEST(Decoding, GarbageInAProtobufWatchIsNamedWithItsPlace) {
  const auto error = [](std::string_view body) { return watch_error(Encoding::Protobuf, body); };
  EXPECT_EQ(error(std::string(4, '\0')), "Service watch, frame at byte 0: an empty frame");
  EXPECT_EQ(error("HTTP/1.1 400"), "Service watch, frame at byte 0: length 1213486160; the limit is 16777216");
  const std::string good = frame("ADDED", "Service", service_proto());
  EXPECT_EQ(
      error(cat(good, frame("ADDED", "Pod", service_proto()))),
      cat("Service watch, frame at byte ", good.size(), ": ADDED event carries a Pod where a Service is expected"));
  EXPECT_EQ(error(frame("WHAT", "Service", "")), "Service watch, frame at byte 0: WatchEvent of unknown type \"WHAT\"");
  EXPECT_EQ(error(cat(good, good.substr(0, 20))),
            cat("Service watch, frame at byte ", good.size(), ": the stream ends inside it"));
}

TEST(Decoding, GarbageInJsonIsNamedWithItsPlace) {
  const auto error = [](std::string_view body) { return list_error(Encoding::Json, body); };
  EXPECT_EQ(error("<html>"), "ServiceList at byte 0: unexpected \"<\"");
  EXPECT_EQ(error(R"({"kind":"PodList"})"), "ServiceList at byte 8: the body is a PodList");
  EXPECT_EQ(error(R"({"items":{}})"), "ServiceList at byte 9: \"items\" is not a list");
  EXPECT_EQ(error(R"({"items":[{"metadata":{"name":"a"}}],"items":[]})"),
            "ServiceList at byte 45: \"items\" appears twice");
  EXPECT_EQ(error(R"({"items":[{}]})").substr(0, 30), "ServiceList at byte 10: items[");
  EXPECT_EQ(error(R"({"items":[)"), "ServiceList at byte 10: the body ends too early");
  EXPECT_EQ(error(R"({"items":[]} x)"), "ServiceList at byte 13: something follows the list");
  EXPECT_EQ(error(R"({"kind":"ServiceList"})"), "ServiceList at byte 22: the body holds no \"items\"");
  EXPECT_EQ(watch_error(Encoding::Json, "<html>"), "Service watch, event 1: does not begin with \"{\"");
  EXPECT_EQ(watch_error(Encoding::Json, R"({"type":"ADDED")"), "Service watch, event 1: the stream ends inside it");
  EXPECT_EQ(watch_error(Encoding::Json, R"({"type":"NEW"})"), "Service watch, event 1: unknown type \"NEW\"");
}

TEST(Decoding, AnItemOverTheLimitIsRefusedBeforeItIsHeld) {
  const StreamLimits limits{.item_bytes = 100};
  EXPECT_EQ(list_error(Encoding::Protobuf, list_body(Kind::Service, {service_proto()}), limits),
            cat("ServiceList, field at byte 40: an item of ", service_proto().size(), " bytes; the limit is 100"));
  EXPECT_EQ(list_error(Encoding::Json, cat(R"({"items":[)", kServiceJson, "]}"), limits),
            "ServiceList at byte 10: a value longer than the limit of 100 bytes");
  const std::string one = frame("ADDED", "Service", service_proto());
  EXPECT_EQ(watch_error(Encoding::Protobuf, one, limits),
            cat("Service watch, frame at byte 0: length ", one.size() - 4, "; the limit is 100"));
}

TEST(Decoding, ABodyCutAnywhereIsAnErrorAndNeverALesserList) {
  for (const Body& body : lists()) {
    const std::string_view text = base::trim(body.text);
    // The optional fields behind a protobuf list may be missing without harm.
    const std::size_t end = body.encoding == Encoding::Protobuf ? text.size() - 4 : text.size();
    for (std::size_t size = 0; size < end; ++size) {
      EXPECT_FALSE(read_list(body.encoding, body.kind, text.substr(0, size))) << size;
    }
  }
}

TEST(Decoding, FlippedBytesAreErrorsOrOtherObjectsAndNeverACrash) {
  std::mt19937 random(1);
  for (int round = 0; round < 1000; ++round) {
    for (const bool is_list : {true, false}) {
      for (Body body : is_list ? lists() : watches()) {
        for (int flip = 0; flip < 3; ++flip) body.text[random() % body.text.size()] = static_cast<char>(random());
        if (is_list) {
          (void)read_list(body.encoding, body.kind, body.text).has_value();
        } else {
          (void)read_watch(body.encoding, body.kind, body.text).has_value();
        }
      }
    }
  }
}

// ---- refusals and content types ----

TEST(Refusal, IsReadFromEitherEncodingOrTakenAsText) {
  EXPECT_EQ(decode_refusal(504, "application/vnd.kubernetes.protobuf", envelope("Status", status_proto())), kStatus);
  EXPECT_EQ(decode_refusal(504, "application/json", kStatusJson), kStatus);
  EXPECT_EQ(decode_refusal(502, "text/html", "<h1>Bad Gateway</h1>\n"),
            (ApiStatus{
                .code = 502, .reason = {}, .message = "<h1>Bad Gateway</h1>", .causes = {}, .retry_after_seconds = 0}));
  EXPECT_EQ(decode_refusal(503, "application/vnd.kubernetes.protobuf", "k8s").message, "k8s");
}

TEST(ContentType, DecidesTheDecoder) {
  EXPECT_EQ(*encoding_of("application/json; charset=utf-8"), Encoding::Json);
  EXPECT_EQ(*encoding_of("application/vnd.kubernetes.protobuf;stream=watch"), Encoding::Protobuf);
  EXPECT_EQ(encoding_of("text/html").error().message(),
            "content type \"text/html\" is neither application/json nor application/vnd.kubernetes.protobuf");
}

}  // namespace
}  // namespace fairlead::kube
