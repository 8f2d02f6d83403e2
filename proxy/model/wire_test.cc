// From what an API server sends, in either encoding, to what dataplanes are given.
#include <gtest/gtest.h>

#include "base/json.h"
#include "kube/decode.h"
#include "kube/k8s.pb.h"
#include "kube/proto_decode.h"
#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;
namespace proto = kube::proto;

// The object that both encodings must yield.
template <typename T, typename Message>
T read(kube::Kind kind, std::string_view json, const Message& message) {
  const auto value = base::parse_json(json);
  EXPECT_TRUE(value) << value.error().message();
  const auto from_json = kube::decode_object(kind, *value, kube::Strictness::Lenient);
  EXPECT_TRUE(from_json) << from_json.error().message();
  const auto from_proto = kube::ProtoDecoder().object(kind, message.SerializeAsString());
  EXPECT_TRUE(from_proto) << from_proto.error().message();
  EXPECT_EQ(*from_json, *from_proto);
  return std::get<T>(*from_proto);
}

proto::Service proto_web() {
  proto::Service out;
  out.mutable_metadata()->set_name("web");
  out.mutable_metadata()->set_namespace_("default");
  auto* port = out.mutable_spec()->add_ports();
  port->set_port(80);
  return out;
}
proto::EndpointSlice proto_slice(const char* type) {
  proto::EndpointSlice out;
  out.mutable_metadata()->set_name("a");
  out.mutable_metadata()->set_namespace_("default");
  (*out.mutable_metadata()->mutable_labels())["kubernetes.io/service-name"] = "web";
  out.set_addresstype(type);
  auto* port = out.add_ports();
  port->set_name("");
  port->set_port(8080);
  return out;
}

TEST(Wire, LeadingZerosAreDecimalAndGoNoFurther) {
  proto::Service message = proto_web();
  message.mutable_spec()->set_type("LoadBalancer");
  message.mutable_spec()->set_clusterip("172.30.0.041");
  message.mutable_spec()->add_clusterips("172.30.0.041");
  message.mutable_spec()->add_ipfamilies("IPv4");
  message.mutable_spec()->add_externalips("192.000.02.007");
  message.mutable_spec()->add_loadbalancersourceranges(" 203.0.113.000/025\n");
  message.mutable_status()->mutable_loadbalancer()->add_ingress()->set_ip("198.051.100.009");
  const auto service = read<Service>(kube::Kind::Service, R"({
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"type": "LoadBalancer", "clusterIP": "172.30.0.041", "clusterIPs": ["172.30.0.041"],
             "ipFamilies": ["IPv4"], "ports": [{"port": 80}], "externalIPs": ["192.000.02.007"],
             "loadBalancerSourceRanges": [" 203.0.113.000/025\n"]},
    "status": {"loadBalancer": {"ingress": [{"ip": "198.051.100.009"}]}}})",
                                     message);
  proto::EndpointSlice endpoints = proto_slice("IPv4");
  endpoints.add_endpoints()->add_addresses("10.244.001.010");
  const auto slice = read<EndpointSlice>(kube::Kind::EndpointSlice, R"({
    "metadata": {"name": "a", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": [{"addresses": ["10.244.001.010"]}]})",
                                         endpoints);
  const PortState port = resolved(service, {slice}).ports[0];
  Frontend balancer = from_outside(FrontendKind::LoadBalancerIp, ip("198.51.100.9"));
  balancer.restricted = true;
  EXPECT_EQ(port.frontends, (std::vector<Frontend>{cluster_ip("172.30.0.41"),
                                                   from_outside(FrontendKind::ExternalIp, ip("192.0.2.7")), balancer}));
  EXPECT_EQ(port.allowed_sources, std::vector<Prefix>{prefix("203.0.113.0/25")});
  EXPECT_EQ(places(port.cluster_endpoints), "10.244.1.10:8080");
}

TEST(Wire, OfLoadBalancersOnlyAddressesThatTheNodeIsToServeCount) {
  proto::Service message = proto_web();
  message.mutable_spec()->add_clusterips("10.96.0.1");
  auto* balancer = message.mutable_status()->mutable_loadbalancer();
  for (const auto& [address, mode] : std::vector<std::pair<const char*, const char*>>{
           {"198.51.100.1", ""}, {"198.51.100.2", "VIP"}, {"198.51.100.3", "Proxy"}, {"198.51.100.4", "Later"}}) {
    auto* ingress = balancer->add_ingress();
    ingress->set_ip(address);
    if (*mode != '\0') ingress->set_ipmode(mode);
  }
  balancer->add_ingress()->set_hostname("lb.example");
  const auto service = read<Service>(kube::Kind::Service, R"({
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
    "status": {"loadBalancer": {"ingress": [
      {"ip": "198.51.100.1"}, {"ip": "198.51.100.2", "ipMode": "VIP"}, {"ip": "198.51.100.3", "ipMode": "Proxy"},
      {"ip": "198.51.100.4", "ipMode": "Later"}, {"hostname": "lb.example"}]}}})",
                                     message);
  EXPECT_EQ(service.load_balancer_ips, (std::vector<Ip>{ip("198.51.100.1"), ip("198.51.100.2")}));
}

TEST(Wire, AServiceHasNoAddressThatIsNobodysOrTheNodesOwn) {
  proto::Service message = proto_web();
  message.mutable_spec()->add_clusterips("10.96.0.1");
  message.mutable_spec()->add_clusterips("::1");
  for (const char* address : {"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "192.0.2.7"}) {
    message.mutable_spec()->add_externalips(address);
    message.mutable_status()->mutable_loadbalancer()->add_ingress()->set_ip(address);
  }
  const auto service = read<Service>(kube::Kind::Service, R"({
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIPs": ["10.96.0.1", "::1"], "ports": [{"port": 80}],
             "externalIPs": ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "192.0.2.7"]},
    "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}, {"ip": "0.0.0.0"}, {"ip": "224.0.0.1"},
      {"ip": "255.255.255.255"}, {"ip": "::"}, {"ip": "ff02::1"}, {"ip": "192.0.2.7"}]}}})",
                                     message);
  EXPECT_EQ(service.cluster_ips, std::vector<Ip>{ip("10.96.0.1")});
  EXPECT_EQ(service.external_ips, std::vector<Ip>{ip("192.0.2.7")});
  EXPECT_EQ(service.load_balancer_ips, std::vector<Ip>{ip("192.0.2.7")});
}

TEST(Wire, FqdnSlicesAreIgnored) {
  proto::EndpointSlice endpoints = proto_slice("FQDN");
  endpoints.add_endpoints()->add_addresses("10.244.1.10");
  endpoints.add_endpoints()->add_addresses("web.example");
  const auto slice = read<EndpointSlice>(kube::Kind::EndpointSlice, R"({
    "metadata": {"name": "a", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "FQDN", "ports": [{"name": "", "port": 8080}],
    "endpoints": [{"addresses": ["10.244.1.10"]}, {"addresses": ["web.example"]}]})",
                                         endpoints);
  EXPECT_EQ(resolved(web(), {slice}), resolved(web(), {}));
}

TEST(Wire, APortWithoutANumberIsIgnoredAndConditionsThatAreAbsentMeanReady) {
  proto::EndpointSlice endpoints = proto_slice("IPv4");
  endpoints.mutable_ports(0)->clear_port();
  auto* udp = endpoints.add_ports();
  udp->set_name("");
  udp->set_protocol("UDP");
  udp->set_port(5353);
  endpoints.add_endpoints()->add_addresses("10.244.1.10");
  auto* down = endpoints.add_endpoints();
  down->add_addresses("10.244.1.11");
  down->mutable_conditions()->set_ready(false);
  endpoints.add_endpoints();  // no address at all
  const auto slice = read<EndpointSlice>(kube::Kind::EndpointSlice, R"({
    "metadata": {"name": "a", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4", "ports": [{"name": ""}, {"name": "", "protocol": "UDP", "port": 5353}],
    "endpoints": [{"addresses": ["10.244.1.10"]}, {"addresses": ["10.244.1.11"], "conditions": {"ready": false}}, {}]})",
                                         endpoints);
  Service service = web();
  service.ports.push_back({"", Protocol::Udp, 53, 0});
  const ServiceState state = resolved(service, {slice});
  EXPECT_EQ(places(state.ports[0].cluster_endpoints), "");
  EXPECT_EQ(places(state.ports[1].cluster_endpoints), "10.244.1.10:5353");
  EXPECT_EQ(places(state.ports[1].serving_endpoints), "10.244.1.10:5353 10.244.1.11:5353") << "it may serve";
}

}  // namespace
}  // namespace fairlead::proxy::model
