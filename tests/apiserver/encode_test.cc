// The server's encodings are read back by kube/'s decoders, whose field numbers come from another file than
// schema.cc's.

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "kube/decode.h"
#include "kube/stream.h"
#include "tests/apiserver/codec.h"
#include "tests/apiserver/generate.h"

namespace fairlead::tests::apiserver {
namespace {

using base::Value;

constexpr std::string_view kEverything = R"(
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  uid: "1234"
  generation: 7
  labels: {service.kubernetes.io/service-proxy-name: other}
  annotations: {note: "quoted \" and \\ and ü"}
  ownerReferences: [{kind: App, name: web, uid: u, apiVersion: v1, controller: true}]
  finalizers: [service.kubernetes.io/load-balancer-cleanup]
  managedFields: [{manager: kubectl, operation: Update, apiVersion: v1, time: "2024-02-29T12:34:56Z",
                   fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:ports": {}}}}]
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00::10"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalIPs: [192.0.2.1]
  loadBalancerSourceRanges: [198.51.100.0/24]
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 77}}
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  healthCheckNodePort: 32000
  publishNotReadyAddresses: true
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080, protocol: TCP, appProtocol: http}
  - {name: dns, port: 53, targetPort: 5353, protocol: UDP}
status: {loadBalancer: {ingress: [{ip: 203.0.113.7, ipMode: VIP}, {ip: 203.0.113.8, ipMode: Proxy}, {hostname: lb}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {kubernetes.io/service-name: web}
  annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2024-01-01T00:00:01Z"}
addressType: IPv4
endpoints:
- {addresses: [10.1.0.1], nodeName: n1, zone: a, conditions: {ready: true, serving: true, terminating: false}}
- {addresses: [10.1.0.2], conditions: {ready: false}, hints: {forZones: [{name: a}], forNodes: [{name: n1}]}}
- {addresses: [10.1.0.3], hostname: three, targetRef: {kind: Pod, name: three, namespace: shop}}
ports: [{name: http, port: 8080, protocol: TCP}, {port: 9}]
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: a}, deletionTimestamp: "2024-01-01T00:00:00Z"}
spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24], taints: [{key: k, value: v, effect: NoSchedule}]}
status:
  capacity: {cpu: "4"}
  conditions: [{type: Ready, status: "True", lastHeartbeatTime: "2024-01-01T00:00:00Z", reason: ok}]
  addresses: [{type: InternalIP, address: 192.0.2.9}, {type: ExternalIP, address: 203.0.113.9}, {type: Hostname, address: n1}]
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/12, "fd00::/108"]}
status: {conditions: [{type: Ready, status: "True"}]}
)";

std::vector<ObjectPtr> everything() {
  std::vector<ObjectPtr> objects;
  auto manifests = parse_manifests(kEverything);
  EXPECT_TRUE(manifests) << manifests.error().message();
  for (Manifest& manifest : *manifests) {
    auto object = ApiObject::create(manifest.resource, std::move(manifest.value), 41 + objects.size());
    EXPECT_TRUE(object) << object.error().message();
    objects.push_back(*object);
  }
  return objects;
}

kube::Kind kind_of(Resource resource) { return static_cast<kube::Kind>(resource); }
kube::Encoding kube_encoding(Encoding encoding) { return static_cast<kube::Encoding>(encoding); }
static_assert(static_cast<int>(Encoding::Protobuf) == static_cast<int>(kube::Encoding::Protobuf));

std::string join(const std::deque<Piece>& pieces) {
  std::string out;
  for (const Piece& piece : pieces) out += piece.head + (piece.body ? *piece.body : std::string()) + piece.tail;
  return out;
}

struct Decoded {
  std::vector<kube::Object> objects;
  kube::ListMeta meta;
};

Decoded decode_list(Encoding encoding, const ListHeader& header, const std::vector<ObjectPtr>& items) {
  Decoded out;
  const Resource resource = items.front()->resource();
  const auto decoder = kube::make_list_decoder(kube_encoding(encoding), kind_of(resource),
                                               [&](kube::Object object) { out.objects.push_back(std::move(object)); });
  Status status = decoder->feed(join(encode_list(encoding, resource, header, items)));
  EXPECT_TRUE(status) << status.error().message();
  status = decoder->finish();
  EXPECT_TRUE(status) << status.error().message();
  out.meta = decoder->meta();
  return out;
}

std::vector<kube::WatchEvent> decode_watch(Encoding encoding, Resource resource, const std::deque<Piece>& pieces) {
  std::vector<kube::WatchEvent> events;
  const auto decoder =
      kube::make_watch_decoder(kube_encoding(encoding), kind_of(resource), [&](kube::WatchEvent event) {
        events.push_back(std::move(event));
        return true;
      });
  Status status = decoder->feed(join(pieces));
  EXPECT_TRUE(status) << status.error().message();
  status = decoder->finish();
  EXPECT_TRUE(status) << status.error().message();
  return events;
}

TEST(Encoding, ListsDecodeToTheSameObjectsFromJsonAndProtobuf) {
  const ListHeader header{.version = 99, .continue_token = "more", .remaining = 5};
  for (const ObjectPtr& object : everything()) {
    SCOPED_TRACE(object->key().to_string());
    const Decoded json = decode_list(Encoding::Json, header, {object, object});
    const Decoded protobuf = decode_list(Encoding::Protobuf, header, {object, object});
    ASSERT_EQ(json.objects.size(), 2u);
    EXPECT_TRUE(json.objects == protobuf.objects);
    EXPECT_EQ(kube::meta_of(json.objects[0]).key, object->key());
    EXPECT_EQ(kube::meta_of(json.objects[0]).resource_version, std::to_string(object->version()));
    EXPECT_EQ(json.meta, (kube::ListMeta{.resource_version = "99", .continue_token = "more"}));
    EXPECT_EQ(protobuf.meta, json.meta);
  }
}

TEST(Encoding, NothingTheAgentReadsIsLost) {
  const auto objects = everything();
  const auto decoded = decode_list(Encoding::Protobuf, {}, {objects[0]}).objects[0];
  const auto& service = std::get<kube::Service>(decoded);
  EXPECT_EQ(service.type, kube::ServiceType::LoadBalancer);
  EXPECT_TRUE(service.has_proxy_name_label);
  EXPECT_EQ(service.cluster_ips.size(), 2u);
  EXPECT_EQ(service.ports[0], (kube::ServicePort{.name = "http", .port = 80, .node_port = 30080}));
  EXPECT_EQ(service.affinity_timeout_seconds, 77u);
  EXPECT_EQ(service.health_check_node_port, 32000);
  EXPECT_EQ(service.load_balancer_ips.size(), 1u);
  const auto node_object = decode_list(Encoding::Protobuf, {}, {objects[2]}).objects[0];
  const auto& node = std::get<kube::Node>(node_object);
  EXPECT_TRUE(node.deleting);
  EXPECT_EQ(node.taints, (std::vector<kube::Taint>{{.key = "k", .value = "v", .effect = "NoSchedule"}}));
}

TEST(Encoding, WatchEventsDecodeToTheSameFromJsonAndProtobuf) {
  for (const ObjectPtr& object : everything()) {
    SCOPED_TRACE(object->key().to_string());
    const auto pieces = [&](Encoding encoding) {
      return std::deque<Piece>{encode_event(encoding, EventType::Added, *object),
                               encode_event(encoding, EventType::Modified, *object->at_version(77)),
                               encode_event(encoding, EventType::Deleted, *object->at_version(78)),
                               encode_bookmark(encoding, object->resource(), 79, false),
                               encode_bookmark(encoding, object->resource(), 80, true),
                               encode_error_event(encoding, expired("5", 60)),
                               encode_error_event(encoding, too_large(500, 80))};
    };
    const auto json = decode_watch(Encoding::Json, object->resource(), pieces(Encoding::Json));
    const auto protobuf = decode_watch(Encoding::Protobuf, object->resource(), pieces(Encoding::Protobuf));
    ASSERT_EQ(json.size(), 7u);
    EXPECT_TRUE(json == protobuf);
    EXPECT_EQ(protobuf[2].resource_version, "78");
    EXPECT_TRUE(protobuf[4].initial_events_end);
    EXPECT_EQ(protobuf[5].status.code, 410);
    EXPECT_EQ(protobuf[6].status.causes, std::vector<std::string>{"ResourceVersionTooLarge"});
    EXPECT_EQ(protobuf[6].status.retry_after_seconds, 1);
  }
}

TEST(Encoding, ProtobufIsByteForByteWhatUpstreamWrites) {
  Value cidr;
  cidr.set("spec", Value());
  member(member(cidr, "metadata"), "name") = Value("k");
  member(cidr, "spec") = Value(Value::Object());
  member(member(cidr, "spec"), "cidrs") = Value(Value::Array{Value("10.0.0.0/8")});
  const auto bytes = encode_protobuf(cidr, service_cidr_message());
  ASSERT_TRUE(bytes);
  // metadata {name "k", generateName, namespace, selfLink, uid, resourceVersion "", generation 0, creationTimestamp
  // {}}, spec {cidrs}, status {}
  EXPECT_EQ(*bytes, std::string("\x0a\x11\x0a\x01k\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0"
                                "\x12\x0c\x0a\x0a"
                                "10.0.0.0/8"
                                "\x1a\0",
                                35));
}

TEST(Encoding, AWrongTypeNamesItsField) {
  auto manifests =
      parse_manifests("kind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.0.0.1, ports: [{port: eighty}]}\n");
  ASSERT_TRUE(manifests);
  const auto object = ApiObject::create(Resource::Services, (*manifests)[0].value, 1);
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().message(), "Service: spec: ports: port: an integer expected, not a string");
}

TEST(Encoding, WhatAServerDefaultsIsFilledIn) {
  const auto object = ApiObject::create(Resource::Services, make_service("shop", "web", "10.96.0.1"), 7);
  ASSERT_TRUE(object);
  const Value& spec = (*object)->value()["spec"];
  EXPECT_EQ(*spec["type"].as_string(), "ClusterIP");
  EXPECT_EQ(*spec["internalTrafficPolicy"].as_string(), "Cluster");
  EXPECT_EQ((*object)->field("spec.clusterIP"), "10.96.0.1");
  EXPECT_EQ(base::to_json(spec["clusterIPs"]), "[\"10.96.0.1\"]");
  EXPECT_EQ(base::to_json(spec["ipFamilies"]), "[\"IPv4\"]");
}

TEST(Generate, IsTheSameEveryTimeAndWithinItsRanges) {
  const auto spec = parse_generate("3,101,2");
  ASSERT_TRUE(spec);
  const auto manifests = generate(*spec);
  EXPECT_EQ(manifests.size(), 2u + 1u + 3u * 3u);  // nodes, ServiceCIDR, and per service: itself and two slices
  EXPECT_EQ(base::to_json(manifests.back().value), base::to_json(generate(*spec).back().value));
  EXPECT_EQ(base::to_json(manifests.back().value["endpoints"][""]), "null");
  EXPECT_EQ(base::to_json((*manifests.back().value["endpoints"].as_array())[0]["addresses"]), "[\"10.128.1.47\"]");
  EXPECT_FALSE(parse_generate("3"));
  EXPECT_FALSE(parse_generate("1,2,0"));
  EXPECT_FALSE(parse_generate("2000000,1"));
}

TEST(Generate, AMixedClusterHasItsSharesAndBothFamilies) {
  const auto spec = parse_generate("20,10,2,mixed");
  ASSERT_TRUE(spec);
  std::map<std::string, int> seen;
  std::set<std::uint16_t> node_ports;
  for (const Manifest& manifest : generate(*spec)) {
    if (manifest.resource == Resource::EndpointSlices) ++seen[*manifest.value["addressType"].as_string()];
    if (manifest.resource != Resource::Services) continue;
    const auto object = kube::decode_object(kube::Kind::Service, manifest.value, kube::Strictness::Strict);
    ASSERT_TRUE(object) << object.error().message();
    const auto& service = std::get<kube::Service>(*object);
    EXPECT_EQ(service.cluster_ips.size(), 2u);
    if (service.ports.front().node_port != 0) node_ports.insert(service.ports.front().node_port);
    if (service.external_traffic_policy == kube::TrafficPolicy::Local) ++seen["Local"];
    if (service.session_affinity == kube::SessionAffinity::ClientIp) ++seen["ClientIP"];
    if (!service.load_balancer_source_ranges.empty() && service.load_balancer_ips.size() == 2) ++seen["restricted"];
  }
  EXPECT_EQ(seen,
            (std::map<std::string, int>{{"IPv4", 20}, {"IPv6", 20}, {"Local", 2}, {"ClientIP", 4}, {"restricted", 2}}));
  EXPECT_EQ(node_ports.size(), 6u);
  EXPECT_FALSE(parse_generate("70000,1,mixed"));
}

}  // namespace
}  // namespace fairlead::tests::apiserver
