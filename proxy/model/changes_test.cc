// What a batch of events makes of the services.
#include <gtest/gtest.h>

#include <sstream>

#include "proxy/model/test_objects.h"

namespace fairlead::proxy::model {
namespace {

using namespace test;

TEST(ResolveChanges, CarriesOnlyTheServicesThatAreDirty) {
  kube::Store store;
  store.upsert(web());
  Service other = web();
  other.meta.key.name = "other";
  store.upsert(other);
  Changes changes = resolve_changes(store, store.take_dirty(), kNode);
  EXPECT_EQ(changes, (Changes{resolve_all(store, kNode), {}}));

  store.upsert(slice("a", {at("10.244.1.10")}));
  store.erase(kube::Kind::Service, other.meta.key);
  changes = resolve_changes(store, store.take_dirty(), kNode);
  EXPECT_EQ(changes, (Changes{{resolved(web(), {slice("a", {at("10.244.1.10")})})}, {other.meta.key}}));
  EXPECT_TRUE(resolve_changes(store, store.take_dirty(), kNode).empty());
}

TEST(ResolveChanges, ResolvesEverythingWhenTheNodeChanged) {
  kube::Store store;
  store.upsert(web());
  (void)store.take_dirty();
  kube::Node node;
  node.meta.key.name = "node1";
  node.labels[std::string(kube::kZoneLabel)] = "zone-a";
  store.upsert(node);
  const kube::Dirty dirty = store.take_dirty();
  EXPECT_EQ(resolve_changes(store, dirty, node_view(store, "node1")).upserted.size(), 1U);
  EXPECT_EQ(node_view(store, "node1"), kNode);
  EXPECT_EQ(node_view(kube::Store(), "node1"), (NodeView{.name = "node1", .zone = ""}));
}

TEST(ServiceState, ReadsWellInATestFailure) {
  Service service = web();
  service.ports[0].node_port = 30080;
  std::ostringstream out;
  out << resolved(service, {slice("a", {at("10.244.1.10", "node1")})});
  EXPECT_EQ(
      out.str(),
      "default/web ClusterIP endpoints 1/1/1\n"
      "  {\"\" TCP IPv4, ClusterIP 10.96.0.1:80, NodePort 30080 masquerade always: cluster=[10.244.1.10:8080(local)]}");
}

// ---- slices that change under a service ----

// A store behind a source: what kube-proxy's selectors do not let through is erased.
class Tracker : public testing::Test {
 protected:
  void deliver(kube::Object object) {
    if (kube::selected(object)) {
      store.upsert(std::move(object));
    } else {
      store.erase(kube::kind_of(object), kube::meta_of(object).key);
    }
  }
  void SetUp() override {
    deliver(web());
    (void)store.take_dirty();
  }
  // The services that the last events changed, with their endpoints: "web 10.244.1.10:8080, old -".
  std::string changed() {
    std::string out;
    const Changes changes = resolve_changes(store, store.take_dirty(), kNode);
    for (const ServiceState& state : changes.upserted) {
      const std::string at = state.ports.empty() ? "nothing" : places(state.ports[0].cluster_endpoints);
      out += (out.empty() ? "" : ", ") + state.key.name + " " + (at.empty() ? "-" : at);
    }
    for (const Key& key : changes.deleted) out += (out.empty() ? "" : ", ") + key.name + " deleted";
    return out;
  }
  kube::Store store;
};

TEST_F(Tracker, AnEndpointComesGoesAndComesBack) {
  deliver(slice("a", {at("10.244.1.10")}));
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
  deliver(slice("a", {}));
  EXPECT_EQ(changed(), "web -");
  deliver(slice("a", {at("10.244.1.10")}));
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
  store.erase(kube::Kind::EndpointSlice, {"default", "a"});
  EXPECT_EQ(changed(), "web -");
}

TEST_F(Tracker, APortIsRenamed) {
  EndpointSlice endpoints = slice("a", {at("10.244.1.10")});
  deliver(endpoints);
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
  endpoints.ports[0].name = "http";
  deliver(endpoints);
  EXPECT_EQ(changed(), "web -") << "until the service is renamed too";
  Service renamed = web();
  renamed.ports[0].name = "http";
  deliver(renamed);
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
}

TEST_F(Tracker, APortIsRenumbered) {
  EndpointSlice endpoints = slice("a", {at("10.244.1.10")});
  deliver(endpoints);
  endpoints.ports[0].port = 9090;
  deliver(endpoints);
  EXPECT_EQ(changed(), "web 10.244.1.10:9090");
  endpoints.ports[0].protocol = Protocol::Udp;
  deliver(endpoints);
  EXPECT_EQ(changed(), "web -");
}

TEST_F(Tracker, AnEndpointMovesBetweenSlicesInEitherOrderOfEvents) {
  deliver(slice("a", {at("10.244.1.10"), at("10.244.1.11")}));
  deliver(slice("b", {at("10.244.1.12")}));
  EXPECT_EQ(changed(), "web 10.244.1.10:8080 10.244.1.11:8080 10.244.1.12:8080");
  deliver(slice("b", {at("10.244.1.11"), at("10.244.1.12")}));  // for a moment in both
  EXPECT_EQ(changed(), "web 10.244.1.10:8080 10.244.1.11:8080 10.244.1.12:8080");
  deliver(slice("a", {at("10.244.1.10")}));
  EXPECT_EQ(changed(), "web 10.244.1.10:8080 10.244.1.11:8080 10.244.1.12:8080");
  deliver(slice("b", {at("10.244.1.12")}));  // for a moment in none
  EXPECT_EQ(changed(), "web 10.244.1.10:8080 10.244.1.12:8080");
  deliver(slice("a", {at("10.244.1.10"), at("10.244.1.11")}));
  EXPECT_EQ(changed(), "web 10.244.1.10:8080 10.244.1.11:8080 10.244.1.12:8080");
}

TEST_F(Tracker, AnEndpointMovesToThisNodeAndAway) {
  Service local = web();
  local.internal_traffic_policy = kube::TrafficPolicy::Local;
  deliver(local);
  for (const std::string node : {"node2", "node1", "node2", ""}) {
    deliver(slice("a", {at("10.244.1.10", node)}));
    const Changes changes = resolve_changes(store, store.take_dirty(), kNode);
    ASSERT_EQ(changes.upserted.size(), 1U);
    EXPECT_EQ(places(changes.upserted[0].ports[0].local_endpoints), node == "node1" ? "10.244.1.10:8080" : "");
    EXPECT_EQ(changes.upserted[0].counts.local, node == "node1" ? 1U : 0U);
  }
}

TEST_F(Tracker, AChangeOfOneServiceIsNoneOfAnother) {
  Service other = web();
  other.meta.key.name = "other";
  deliver(other);
  EndpointSlice others = slice("o", {at("10.244.1.20")});
  others.service_name = "other";
  deliver(others);
  deliver(slice("a", {at("10.244.1.10")}));
  EXPECT_EQ(changed(), "other 10.244.1.20:8080, web 10.244.1.10:8080");
  others.endpoints = {};
  deliver(others);
  EXPECT_EQ(changed(), "other -");
}

TEST_F(Tracker, ASliceOfThatNameInAnotherNamespaceIsAnothers) {
  EndpointSlice elsewhere = slice("a", {at("10.244.1.10")});
  elsewhere.meta.key.ns = "other";
  deliver(elsewhere);
  (void)store.take_dirty();
  deliver(slice("a", {}));
  EXPECT_EQ(changed(), "web -");
}

// docs/adr/0006
TEST_F(Tracker, ARelabelledSliceLeavesTheServiceItHad) {
  Service other = web();
  other.meta.key.name = "other";
  deliver(other);
  deliver(slice("a", {at("10.244.1.10")}));
  EXPECT_EQ(changed(), "other -, web 10.244.1.10:8080");
  EndpointSlice moved = slice("a", {at("10.244.1.10")});
  moved.service_name = "other";
  deliver(moved);
  EXPECT_EQ(changed(), "other 10.244.1.10:8080, web -");
  moved.service_name.clear();
  deliver(moved);
  EXPECT_EQ(changed(), "other -");
}

TEST_F(Tracker, TheHeadlessLabelTakesASliceOutAndBackIn) {
  EndpointSlice endpoints = slice("a", {at("10.244.1.10")});
  deliver(endpoints);
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
  endpoints.has_headless_label = true;
  deliver(endpoints);
  EXPECT_EQ(changed(), "web -");
  endpoints.has_headless_label = false;
  deliver(endpoints);
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
}

TEST_F(Tracker, TheProxyNameLabelTakesAServiceOutAndBackIn) {
  deliver(slice("a", {at("10.244.1.10")}));
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
  Service labelled = web();
  labelled.has_proxy_name_label = true;
  deliver(labelled);
  EXPECT_EQ(changed(), "web deleted");
  deliver(web());
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
}

TEST_F(Tracker, AServiceBecomesHeadlessOrAnExternalNameAndReturns) {
  deliver(slice("a", {at("10.244.1.10")}));
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
  Service headless = web();
  headless.headless = true;
  headless.cluster_ips.clear();
  deliver(headless);
  EXPECT_EQ(changed(), "web deleted");
  Service external_name = web();
  external_name.type = kube::ServiceType::ExternalName;
  deliver(external_name);
  EXPECT_EQ(changed(), "web nothing");
  deliver(web());
  EXPECT_EQ(changed(), "web 10.244.1.10:8080");
}

TEST_F(Tracker, WhatEndsBeforeItIsLookedAtIsStillADelete) {
  Service brief = web();
  brief.meta.key.name = "brief";
  deliver(brief);
  store.erase(kube::Kind::Service, brief.meta.key);
  EXPECT_EQ(changed(), "brief deleted");
}

TEST_F(Tracker, ARelistThatMissesObjectsDeletesThem) {
  deliver(slice("a", {at("10.244.1.10")}));
  (void)store.take_dirty();
  store.replace(kube::Kind::EndpointSlice, {});
  EXPECT_EQ(changed(), "web -");
  store.replace(kube::Kind::Service, {});
  EXPECT_EQ(changed(), "web deleted");
}

TEST_F(Tracker, AnUpdateOfMetadataAloneChangesNothing) {
  deliver(slice("a", {at("10.244.1.10")}));
  (void)store.take_dirty();
  EndpointSlice same = slice("a", {at("10.244.1.10")});
  same.meta.resource_version = "2";
  deliver(same);
  EXPECT_EQ(changed(), "");
}

}  // namespace
}  // namespace fairlead::proxy::model
