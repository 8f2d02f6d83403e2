#include "kube/decode.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "kube/yaml.h"

namespace fairlead::kube {
namespace {

using net::Ip;

Ip ip(std::string_view text) { return *Ip::parse(text); }
net::Prefix prefix(std::string_view text) { return *net::Prefix::parse(text); }

base::Value document(std::string_view yaml) {
  auto documents = parse_yaml(yaml);
  EXPECT_TRUE(documents) << documents.error().message();
  return documents && !documents->empty() ? std::move(documents->front()) : base::Value();
}

template <typename T>
T decoded(std::string_view yaml, Strictness strictness = Strictness::Strict) {
  auto object = decode_object(document(yaml), strictness);
  EXPECT_TRUE(object) << object.error().message();
  return object ? std::get<T>(*object) : T();
}

std::string error_of(std::string_view yaml, Strictness strictness = Strictness::Strict) {
  const auto object = decode_object(document(yaml), strictness);
  return object ? "no error" : object.error().message();
}

// A service with `spec` (flow style) beyond its name, on the lines after the third.
std::string service(std::string_view spec) {
  return base::cat("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n", spec);
}
std::string slice(std::string_view rest) {
  return base::cat("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1}\n", rest);
}

constexpr std::string_view kFullService = R"(
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  uid: u1
  resourceVersion: "7"
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080, appProtocol: http}
  - {name: dns, port: 53, protocol: UDP}
  externalIPs: [192.0.2.1]
  loadBalancerSourceRanges: [198.51.100.0/24]
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  healthCheckNodePort: 31000
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  publishNotReadyAddresses: true
  somethingNew: {a: 1}
status:
  loadBalancer:
    ingress:
    - {ip: 203.0.113.1}
    - {ip: 203.0.113.2, ipMode: Proxy}
    - {ip: 203.0.113.3, ipMode: VIP}
    - {hostname: lb.example}
)";

TEST(DecodeService, ReadsEveryFieldThatANodeNeeds) {
  Service expected;
  expected.meta = {{"shop", "web"}, "u1", "7"};
  expected.type = ServiceType::LoadBalancer;
  expected.cluster_ips = {ip("10.96.0.10"), ip("fd00:10:96::10")};
  expected.ip_families = {net::Family::V4, net::Family::V6};
  expected.ports = {{"http", Protocol::Tcp, 80, 30080}, {"dns", Protocol::Udp, 53, 0}};
  expected.external_ips = {ip("192.0.2.1")};
  expected.load_balancer_ips = {ip("203.0.113.1"), ip("203.0.113.3")};
  expected.load_balancer_source_ranges = {prefix("198.51.100.0/24")};
  expected.internal_traffic_policy = TrafficPolicy::Local;
  expected.external_traffic_policy = TrafficPolicy::Local;
  expected.session_affinity = SessionAffinity::ClientIp;
  expected.affinity_timeout_seconds = 60;
  expected.health_check_node_port = 31000;
  expected.publish_not_ready_addresses = true;
  EXPECT_EQ(decoded<Service>(kFullService), expected);
  EXPECT_EQ(decoded<Service>(kFullService, Strictness::Lenient), expected);
}

TEST(DecodeService, AManifestGetsTheDefaultsAnApiServerWouldFillIn) {
  const Service read = decoded<Service>(service("  clusterIPs: ['fd00::1', 10.0.0.1]\n  ports: [{port: 80}]\n"));
  Service expected;
  expected.meta.key = {"default", "web"};
  expected.cluster_ips = {ip("fd00::1"), ip("10.0.0.1")};
  expected.ip_families = {net::Family::V6, net::Family::V4};
  expected.ports = {{"", Protocol::Tcp, 80, 0}};
  EXPECT_EQ(read, expected);
}

TEST(DecodeService, NoneIsHeadlessInEitherField) {
  EXPECT_TRUE(decoded<Service>(service("  clusterIP: None")).headless);
  const Service plural = decoded<Service>(service("  clusterIPs: [None]"));
  EXPECT_TRUE(plural.headless);
  EXPECT_TRUE(plural.cluster_ips.empty());
  EXPECT_FALSE(selected(Object(plural)));
}

TEST(DecodeService, ThePresenceOfTheProxyNameLabelMattersNotItsValue) {
  const Service read = decoded<Service>(
      "{apiVersion: v1, kind: Service, metadata: {name: a, labels: {service.kubernetes.io/service-proxy-name: ''}}, "
      "spec: {ports: [{port: 1}]}}");
  EXPECT_TRUE(read.has_proxy_name_label);
  EXPECT_FALSE(selected(Object(read)));
}

TEST(DecodeService, AStrictErrorNamesLineFieldValueAndWhatIsAllowed) {
  const auto wrong = [](std::string_view spec) { return error_of(service(spec)); };
  EXPECT_EQ(wrong("  ports:\n  - port: 70000\n"), "line 6: spec.ports[0].port: 70000 is not a port (1-65535)");
  EXPECT_EQ(wrong("  ports: [{port: '80'}]"), "line 5: spec.ports[0].port: \"80\" is not a port (1-65535)");
  EXPECT_EQ(wrong("  ports: [{name: a}]"), "line 5: spec.ports[0].port: is missing (1-65535)");
  EXPECT_EQ(wrong("  ports: []"), "line 5: spec.ports: is missing (at least one port)");
  EXPECT_EQ(wrong("  ports: 80"), "line 5: spec.ports: 80 is not a list");
  EXPECT_EQ(wrong("  ports: [{port: 80, protocol: tcp}]"),
            "line 5: spec.ports[0].protocol: \"tcp\" is not allowed (TCP, UDP, SCTP)");
  EXPECT_EQ(wrong("  type: Nodeport"),
            "line 5: spec.type: \"Nodeport\" is not allowed (ClusterIP, NodePort, LoadBalancer, ExternalName)");
  EXPECT_EQ(wrong("  clusterIp: 10.0.0.1"), "line 5: spec.clusterIp: is not a field; it is spelt clusterIP");
  EXPECT_EQ(wrong("  clusterIP: 10.0.0.01"), "line 5: spec.clusterIP: \"10.0.0.01\" is not an IPv4 or IPv6 address");
  EXPECT_EQ(wrong("  ports: [{port: 1}]\n  externalIPs:\n  - 1.2.3\n"),
            "line 7: spec.externalIPs[0]: \"1.2.3\" is not an IPv4 or IPv6 address");
  EXPECT_EQ(wrong("  ports: [{port: 1}]\n  loadBalancerSourceRanges: [10.0.0.0/33]"),
            "line 6: spec.loadBalancerSourceRanges[0]: \"10.0.0.0/33\" is not a prefix (address/bits)");
  EXPECT_EQ(wrong("  ports: [{port: 1}]\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}"),
            "line 6: spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0 is not a timeout in seconds (1-86400)");
}

TEST(DecodeService, WhatAnApiServerWouldRefuseIsAnErrorInAManifest) {
  const auto wrong = [](std::string_view spec) { return error_of(service(spec)); };
  EXPECT_EQ(wrong("  clusterIP: 10.0.0.1\n  clusterIPs: [10.0.0.2]"),
            "line 5: spec.clusterIP: \"10.0.0.1\" is not the first of spec.clusterIPs (10.0.0.2)");
  EXPECT_EQ(wrong("  clusterIPs: [10.0.0.1, 10.0.0.2]"), "line 5: spec.clusterIPs: has two addresses of one family");
  EXPECT_EQ(wrong("  clusterIP: 10.0.0.1\n  ipFamilies: [IPv6]"),
            "line 6: spec.ipFamilies[0]: \"IPv6\" is not the family of spec.clusterIPs[0] (IPv4)");
  EXPECT_EQ(wrong("  ports: [{port: 1}, {port: 2}]"),
            "line 5: spec.ports[1].name: is missing; with several ports each needs its own");
  EXPECT_EQ(wrong("  ports: [{name: a, port: 1}, {name: a, port: 2}]"),
            "line 5: spec.ports[1].name: \"a\" is the name of another port too");
  EXPECT_EQ(wrong("  ports: [{name: a, port: 1}, {name: b, port: 1}]"),
            "line 5: spec.ports[1].port: 1 is taken by another TCP port");
  EXPECT_EQ(wrong("  ports: [{name: a, port: 1, nodePort: 30000}, {name: b, port: 2, nodePort: 30000}]"),
            "line 5: spec.ports[1].nodePort: 30000 is taken by another TCP port");
  EXPECT_EQ(wrong("  ports: [{name: a, port: 1}, {name: b, port: 1, protocol: UDP}]"), "no error");
}

TEST(DecodeService, AServiceHasNoAddressThatIsNobodysOrTheNodesOwn) {
  for (const std::string address : {"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "ff02::1"}) {
    const std::string text =
        service(base::cat("  clusterIP: 10.96.0.1\n  ports: [{port: 80}]\n  externalIPs: [\"", address, "\"]\n"));
    EXPECT_NE(error_of(text).find("spec.externalIPs[0]: "), std::string::npos) << error_of(text);
    EXPECT_EQ(decoded<Service>(text, Strictness::Lenient).external_ips, std::vector<net::Ip>()) << address;
  }
}

TEST(DecodeService, LenientDropsWhatKubeProxySkipsAndReadsSloppyAddresses) {
  const Service read = decoded<Service>(service(R"(
  type: Unheard
  clusterIP: 172.30.0.041
  ports: [{port: 80, protocol: QUIC}, {port: 81}]
  externalIPs: ["", " ", nonsense, " 1.2.3.4"]
  loadBalancerSourceRanges: [" 203.0.113.000/025 ", bad]
  sessionAffinity: Unheard
)"),
                                        Strictness::Lenient);
  Service expected;
  expected.meta.key = {"", "web"};
  expected.cluster_ips = {ip("172.30.0.41")};
  expected.ports = {{"", Protocol::Tcp, 81, 0}};
  expected.external_ips = {ip("1.2.3.4")};
  expected.load_balancer_source_ranges = {prefix("203.0.113.0/25")};
  EXPECT_EQ(read, expected);
  EXPECT_EQ(error_of(service("  ports: 80"), Strictness::Lenient), "line 5: spec.ports: 80 is not a list");
}

TEST(DecodeMeta, ANameIsRequiredAndWellFormed) {
  EXPECT_EQ(error_of("{apiVersion: v1, kind: Node, metadata: {}}"), "line 1: metadata.name: is missing");
  EXPECT_EQ(error_of("{apiVersion: v1, kind: Node}"), "line 1: metadata.name: is missing");
  EXPECT_EQ(error_of("{apiVersion: v1, kind: Node, metadata: {name: A/b}}"),
            "line 1: metadata.name: \"A/b\" is not a name (lower-case letters, digits, '-' and '.', at most 253)");
  EXPECT_EQ(error_of("{apiVersion: v1, kind: Node, metadata: {name: a, labels: {b: true}}}"),
            "line 1: metadata.labels.b: true is not a string (quote it)");
  EXPECT_EQ(error_of("{kind: Node, metadata: {name: a}}"),
            "line 1: apiVersion: is missing (v1 for Service, discovery.k8s.io/v1 for EndpointSlice)");
  EXPECT_EQ(error_of("{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice}"),
            "line 1: apiVersion: \"discovery.k8s.io/v1beta1\" is not a version of EndpointSlice that is read here "
            "(discovery.k8s.io/v1)");
  EXPECT_EQ(error_of("[1]"), "line 1: a list is not an object");
}

TEST(DecodeEndpointSlice, ReadsConditionsHintsAndKeepsAbsenceApart) {
  const EndpointSlice read = decoded<EndpointSlice>(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {kubernetes.io/service-name: web}
  annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2026-01-01T00:00:00Z"}
addressType: IPv6
ports:
- {name: http, port: 8080}
- {name: all, protocol: UDP, port: null}
endpoints:
- addresses: ["fd00::1"]
  conditions: {ready: true, serving: null, terminating: false}
  nodeName: node1
  hints: {forZones: [{name: a}], forNodes: [{name: node1}]}
- addresses: ["fd00::2", "fd00::3"]
)");
  EndpointSlice expected;
  expected.meta.key = {"shop", "web-1"};
  expected.service_name = "web";
  expected.address_type = AddressType::Ipv6;
  expected.ports = {{"http", Protocol::Tcp, 8080}, {"all", Protocol::Udp, 0}};
  expected.endpoints = {{ip("fd00::1"), true, std::nullopt, false, Topology{"node1", {"a"}, {"node1"}}},
                        {ip("fd00::2"), std::nullopt, std::nullopt, std::nullopt, {}}};
  expected.last_change_trigger_time = "2026-01-01T00:00:00Z";
  EXPECT_EQ(read, expected);
}

TEST(DecodeEndpointSlice, AddressesMustBeWhatAddressTypeSays) {
  EXPECT_EQ(error_of(slice("addressType: IPv4\nendpoints:\n- addresses: ['fd00::1']\n")),
            "line 6: endpoints[0].addresses[0]: \"fd00::1\" is not an IPv4 address, as addressType says");
  EXPECT_EQ(error_of(slice("addressType: IPv4\nendpoints: [{addresses: []}]")),
            "line 5: endpoints[0].addresses: is missing (one address)");
  EXPECT_EQ(error_of(slice("addressType: IPv4\nendpoints: [{addresses: [0.0.0.0]}]")),
            "line 5: endpoints[0].addresses[0]: \"0.0.0.0\" is not the address of an endpoint");
  EXPECT_EQ(error_of(slice("addressType: ipv4")), "line 4: addressType: \"ipv4\" is not allowed (IPv4, IPv6, FQDN)");
  EXPECT_EQ(error_of(slice("endpoints: []")), "line 1: addressType: is missing (IPv4, IPv6, FQDN)");
  EXPECT_TRUE(
      decoded<EndpointSlice>(slice("addressType: FQDN\nendpoints: [{addresses: [a.example]}]")).endpoints.empty());
}

TEST(DecodeEndpointSlice, LenientDropsEndpointsWithoutAUsableAddress) {
  const EndpointSlice read = decoded<EndpointSlice>(
      slice("addressType: IPv4\nports: [{port: 0}]\nendpoints: [{addresses: []}, {addresses: ['']}, {addresses: [x]}, "
            "{addresses: ['fd00::1']}, {addresses: [10.0.0.01]}]"),
      Strictness::Lenient);
  ASSERT_EQ(read.endpoints.size(), 1U);
  EXPECT_EQ(read.endpoints[0].address, ip("10.0.0.1"));
  EXPECT_EQ(read.ports, (std::vector<EndpointPort>{{"", Protocol::Tcp, 0}}));
}

TEST(DecodeNode, ReadsAddressesPodCidrsLabelsAndTaints) {
  const Node read = decoded<Node>(R"(
apiVersion: v1
kind: Node
metadata: {name: node1, labels: {topology.kubernetes.io/zone: a}, deletionTimestamp: "2026-01-01T00:00:00Z"}
spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"], taints: [{key: k, effect: NoSchedule}]}
status: {addresses: [{type: Hostname, address: node1}, {type: InternalIP, address: 172.18.0.1}, {type: ExternalIP, address: 192.0.2.1}]}
)");
  Node expected;
  expected.meta.key.name = "node1";
  expected.labels = {{"topology.kubernetes.io/zone", "a"}};
  expected.internal_ips = {ip("172.18.0.1")};
  expected.external_ips = {ip("192.0.2.1")};
  expected.pod_cidrs = {prefix("10.244.1.0/24"), prefix("fd00:10:244:1::/64")};
  expected.taints = {{"k", "", "NoSchedule"}};
  expected.deleting = true;
  EXPECT_EQ(read, expected);
}

TEST(DecodeServiceCidr, ReadsItsPrefixes) {
  const ServiceCidr read = decoded<ServiceCidr>(
      "{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: kubernetes}, spec: {cidrs: "
      "[10.96.0.0/16]}}");
  EXPECT_EQ(read.meta.key, (Key{"", "kubernetes"}));
  EXPECT_EQ(read.cidrs, std::vector<net::Prefix>{prefix("10.96.0.0/16")});
}

TEST(DecodeObject, AListItemNeedsNoKindWhenTheCallerKnowsIt) {
  const auto object = decode_object(Kind::Node, document("metadata: {name: a}"), Strictness::Lenient);
  ASSERT_TRUE(object);
  EXPECT_EQ(kind_of(*object), Kind::Node);
}

TEST(DecodeManifest, ListsAreTakenApartWithTheLineOfEachItem) {
  const auto list = decode_manifest(document(R"(apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a}}
- apiVersion: v1
  kind: NodeList
  items: [{metadata: {name: b}}]
)"));
  ASSERT_TRUE(list) << list.error().message();
  ASSERT_EQ(list->objects.size(), 2U);
  EXPECT_EQ(meta_of(list->objects[1].object).key.name, "b");
  EXPECT_EQ(list->objects[1].line, 7);
  const auto bad = decode_manifest(document("{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node}]}"));
  EXPECT_EQ(bad.error().message(), "line 1: items[0].metadata.name: is missing");
}

TEST(DecodeManifest, OtherKindsAreNotedNotRefused) {
  const auto other = decode_manifest(document("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}"));
  ASSERT_TRUE(other);
  EXPECT_TRUE(other->objects.empty());
  EXPECT_EQ(other->notes,
            std::vector<std::string>{"line 1: apps/v1 Deployment is ignored: no business of a service proxy"});
  const auto knative = decode_manifest(document("{apiVersion: serving.knative.dev/v1, kind: Service}"));
  EXPECT_EQ(knative->notes.size(), 1U);
}

TEST(DecodeManifest, AKindThatIsAlmostOneOfOursIsAnError) {
  const auto error = [](std::string_view yaml) {
    const auto read = decode_manifest(document(yaml));
    return read ? "no error" : read.error().message();
  };
  EXPECT_EQ(error("{apiVersion: v1, kind: service}"), "line 1: kind: \"service\" is not a kind; it is spelt Service");
  EXPECT_EQ(error("{apiVersion: v1, kind: EndpointSlice}"),
            "line 1: apiVersion: \"v1\" is not a version of EndpointSlice that is read here (discovery.k8s.io/v1)");
  EXPECT_EQ(error("{apiVersion: v1, Kind: Service}"), "line 1: Kind: is not a field; it is spelt kind");
  EXPECT_EQ(error("just words"), "line 1: \"just words\" is not an object");
}

TEST(DecodeManifest, WhatNobodyWillAllocateIsNoted) {
  const auto read = decode_manifest(document(service("  type: NodePort\n  ports: [{port: 80}]\n")));
  ASSERT_TRUE(read);
  EXPECT_EQ(
      read->notes,
      (std::vector<std::string>{
          "line 1: Service default/web has no clusterIP, and nothing allocates one for a manifest: it yields nothing",
          "line 1: Service default/web has no nodePort, and nothing allocates one for a manifest"}));
}

TEST(DecodeManifest, EndpointsBecomeTheSlicesThatWouldMirrorThem) {
  const auto read = decode_manifest(document(R"(
apiVersion: v1
kind: Endpoints
metadata: {name: web, namespace: shop}
subsets:
- addresses: [{ip: 10.0.0.1, nodeName: node1}, {ip: "fd00::1"}]
  notReadyAddresses: [{ip: 10.0.0.2}]
  ports: [{name: http, port: 8080}]
- addresses: [{ip: 10.0.0.3}]
  ports: [{name: http, port: 9090, protocol: UDP}]
)"));
  ASSERT_TRUE(read) << read.error().message();
  const auto expected = [](std::string name, AddressType type, EndpointPort port, std::vector<Endpoint> endpoints) {
    EndpointSlice out;
    out.meta.key = {"shop", std::move(name)};
    out.service_name = "web";
    out.address_type = type;
    out.ports = {std::move(port)};
    out.endpoints = std::move(endpoints);
    return ManifestObject{Object(out), 2};
  };
  const auto endpoint = [](std::string_view address, bool ready, std::string node) {
    return Endpoint{ip(address), ready, std::nullopt, std::nullopt, Topology{.node_name = std::move(node)}};
  };
  EXPECT_EQ(
      read->objects,
      (std::vector<ManifestObject>{
          expected("web-ipv4", AddressType::Ipv4, {"http", Protocol::Tcp, 8080},
                   {endpoint("10.0.0.1", true, "node1"), endpoint("10.0.0.2", false, "")}),
          expected("web-ipv6", AddressType::Ipv6, {"http", Protocol::Tcp, 8080}, {endpoint("fd00::1", true, "")}),
          expected("web-2-ipv4", AddressType::Ipv4, {"http", Protocol::Udp, 9090}, {endpoint("10.0.0.3", true, "")})}));
}

TEST(DecodeManifest, EndpointsThatAskNotToBeMirroredAreLeftOut) {
  const auto read = decode_manifest(
      document("{apiVersion: v1, kind: Endpoints, metadata: {name: web, labels: "
               "{endpointslice.kubernetes.io/skip-mirror: 'true'}}, subsets: [{addresses: [{ip: 10.0.0.1}]}]}"));
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->objects.empty());
}

}  // namespace
}  // namespace fairlead::kube
