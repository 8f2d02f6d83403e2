// What the soak throws at the agents is itself held to rules.
#include "tests/chaos/history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "kube/decode.h"

namespace fairlead::tests::chaos {
namespace {

using apiserver::Resource;

Universe universe() {
  Universe out;
  for (const char* name : {"node1", "node2"}) {
    kube::Node node;
    node.meta.key.name = name;
    node.internal_ips = {net::Ip::v4(172, 18, 0, 1)};
    out.nodes.push_back(node);
  }
  kube::ServiceCidr cidr;
  cidr.meta.key.name = "kubernetes";
  cidr.cidrs = {*net::Prefix::parse("10.96.0.0/16")};
  out.cidrs = {cidr};
  cidr.meta.key.name = "more";
  out.cidrs.push_back(cidr);
  for (const char* text : {"10.244.1.10", "10.244.1.11", "fd00:10:244:1::10", "fd00:10:244:2::11"})
    out.endpoint_addresses.push_back(*net::Ip::parse(text));
  return out;
}

std::string text_of(const Event& event) {
  std::string out = std::string(event.kind) + ": " + event.text + "\n";
  for (const Edit& edit : event.edits) {
    out += edit.key.to_string() + " " + (edit.object ? base::to_json(*edit.object) : "deleted") + "\n";
  }
  return out;
}

kube::Kind kind_of(Resource resource) { return static_cast<kube::Kind>(resource); }

TEST(History, TheSameSeedTellsTheSameStory) {
  History one(7, universe());
  History same(7, universe());
  History other(8, universe());
  bool differs = false;
  for (int i = 0; i < 500; ++i) {
    const std::string text = text_of(one.next());
    ASSERT_EQ(text, text_of(same.next())) << "event " << i;
    differs = differs || text != text_of(other.next());
  }
  EXPECT_TRUE(differs);
}

TEST(History, EveryKindOfChangeHappens) {
  History history(1, universe());
  std::set<std::string_view> seen;
  for (int i = 0; i < 5000; ++i) {
    const Event event = history.next();
    EXPECT_FALSE(event.edits.empty()) << event.kind;
    seen.insert(event.kind);
  }
  for (const std::string_view kind : History::kinds()) EXPECT_TRUE(seen.contains(kind)) << kind;
}

// A rejected object would be a change that never took place.
TEST(History, EveryObjectIsOneThatAnApiServerTakesAndDecodesToWhatWasMeant) {
  History history(2, universe());
  std::map<std::pair<Resource, std::string>, base::Value> standing;
  for (const apiserver::Manifest& manifest : history.objects()) {
    standing.emplace(std::pair(manifest.resource, *manifest.value["metadata"]["name"].as_string()), manifest.value);
  }
  for (int i = 0; i < 3000; ++i) {
    for (const Edit& edit : history.next().edits) {
      standing.erase({edit.resource, edit.key.name});
      if (!edit.object) continue;
      standing.emplace(std::pair(edit.resource, edit.key.name), *edit.object);
      const bool port_absent = edit.resource == Resource::EndpointSlices;  // which a manifest may not say
      const auto decoded = kube::decode_object(kind_of(edit.resource), *edit.object,
                                               port_absent ? kube::Strictness::Lenient : kube::Strictness::Strict);
      ASSERT_TRUE(decoded) << decoded.error().message() << "\n" << base::to_json(*edit.object);
      const auto* slice = std::get_if<kube::EndpointSlice>(&*decoded);
      if (slice != nullptr) {
        EXPECT_EQ(base::to_json(to_value(*slice)), base::to_json(*edit.object));
      }
      const auto* service = std::get_if<kube::Service>(&*decoded);
      if (service != nullptr &&
          (*edit.object)["status"]["loadBalancer"]["ingress"].as_array()->size() == service->load_balancer_ips.size()) {
        EXPECT_EQ(base::to_json(to_value(ServiceDraft{*service, {}})), base::to_json(*edit.object));
      }
    }
  }
  // And objects() is what all these edits come to.
  for (const apiserver::Manifest& manifest : history.objects()) {
    const auto it = standing.find({manifest.resource, *manifest.value["metadata"]["name"].as_string()});
    ASSERT_NE(it, standing.end());
    EXPECT_EQ(it->second, manifest.value);
    standing.erase(it);
  }
  EXPECT_TRUE(standing.empty());
}

TEST(History, NoTwoServicesHoldOneAllocatedAddressOrPort) {
  History history(3, universe());
  for (int i = 0; i < 3000; ++i) {
    (void)history.next();
    if (i % 20 != 0) continue;
    std::set<net::Ip> ips;
    std::set<std::uint16_t> node_ports;
    for (const apiserver::Manifest& manifest : history.objects()) {
      if (manifest.resource != Resource::Services) continue;
      const auto decoded = kube::decode_object(kube::Kind::Service, manifest.value, kube::Strictness::Strict);
      const auto& service = std::get<kube::Service>(*decoded);
      for (const net::Ip& ip : service.cluster_ips) EXPECT_TRUE(ips.insert(ip).second) << ip << " at event " << i;
      for (const kube::ServicePort& port : service.ports) {
        if (port.node_port == 0) continue;
        EXPECT_TRUE(node_ports.insert(port.node_port).second) << port.node_port;
      }
    }
  }
}

TEST(History, CalmLeavesNoContestedAddress) {
  History history(4, universe());
  for (int i = 0; i < 2000; ++i) (void)history.next();
  EXPECT_FALSE(history.calm().edits.empty());
  std::map<std::string, kube::Key> owners;
  for (const apiserver::Manifest& manifest : history.objects()) {
    if (manifest.resource != Resource::Services) continue;
    const auto decoded = kube::decode_object(kube::Kind::Service, manifest.value, kube::Strictness::Strict);
    const auto& service = std::get<kube::Service>(*decoded);
    std::set<net::Ip> ips(service.external_ips.begin(), service.external_ips.end());
    ips.insert(service.load_balancer_ips.begin(), service.load_balancer_ips.end());
    for (const net::Ip& ip : ips) {
      for (const kube::ServicePort& port : service.ports) {
        const std::string spot = net::host_port(ip, port.port) + std::string(kube::to_string(port.protocol));
        EXPECT_TRUE(owners.emplace(spot, service.meta.key).second) << spot;
      }
    }
  }
  EXPECT_TRUE(history.calm().edits.empty());
}

}  // namespace
}  // namespace fairlead::tests::chaos
