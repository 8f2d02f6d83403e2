#include "tests/apiserver/selector.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/apiserver/cluster.h"
#include "tests/apiserver/generate.h"

namespace fairlead::tests::apiserver {
namespace {

ObjectPtr service(const std::string& cluster_ip, const std::vector<std::pair<std::string, std::string>>& labels) {
  base::Value value = make_service("shop", "web", cluster_ip);
  for (const auto& [key, text] : labels) member(member(member(value, "metadata"), "labels"), key) = base::Value(text);
  return *ApiObject::create(Resource::Services, std::move(value), 1);
}

bool matches(std::string_view labels, std::string_view fields, const ObjectPtr& object) {
  const auto selector = Selector::parse(Resource::Services, labels, fields);
  EXPECT_TRUE(selector) << selector.error().message();
  return selector->matches(*object);
}

TEST(Selector, LabelsAreMatchedByPresenceAbsenceAndValue) {
  const ObjectPtr object = service("10.0.0.1", {{"app", "web"}, {"empty", ""}});
  EXPECT_TRUE(matches("", "", object));
  EXPECT_TRUE(matches("app", "", object));
  EXPECT_FALSE(matches("!app", "", object));
  EXPECT_TRUE(matches("!other", "", object));
  EXPECT_TRUE(matches("app=web,empty=", "", object));
  EXPECT_TRUE(matches("app==web", "", object));
  EXPECT_FALSE(matches("app!=web", "", object));
  EXPECT_TRUE(matches("other!=web", "", object));
  EXPECT_TRUE(matches("app in (api, web),empty", "", object));
  EXPECT_FALSE(matches("app notin (api,web)", "", object));
  EXPECT_TRUE(matches("other notin (x)", "", object));
}

TEST(Selector, KubeProxySelectsItsServicesByTheLabelsPresenceWhateverItsValue) {
  constexpr std::string_view kLabels = "!service.kubernetes.io/service-proxy-name";
  EXPECT_TRUE(matches(kLabels, "spec.clusterIP!=None", service("10.0.0.1", {})));
  EXPECT_FALSE(matches(kLabels, "spec.clusterIP!=None", service("None", {})));
  EXPECT_FALSE(matches(kLabels, "spec.clusterIP!=None",
                       service("10.0.0.1", {{"service.kubernetes.io/service-proxy-name", ""}})));
}

TEST(Selector, WhatTheServerCannotSelectByIsAnError) {
  const auto refused = Selector::parse(Resource::Services, "", "spec.externalName=x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "field label not supported: spec.externalName");
  EXPECT_FALSE(Selector::parse(Resource::Services, "a within (b)", ""));
  EXPECT_FALSE(Selector::parse(Resource::Nodes, "", "spec.clusterIP=x"));
}

TEST(Cluster, EveryChangeHasTheNextVersionAndNoChangeHasNone) {
  Cluster cluster(100, 10);
  std::vector<std::string> seen;
  cluster.on_event = [&](const ClusterEvent& event) {
    seen.push_back(base::cat(event.version, event.before ? " before" : "", event.after ? " after" : ""));
  };
  ASSERT_TRUE(cluster.upsert(Resource::Services, make_service("a", "b", "10.0.0.1")));
  ASSERT_TRUE(cluster.upsert(Resource::Services, make_service("a", "b", "10.0.0.1")));
  ASSERT_TRUE(cluster.upsert(Resource::Services, make_service("a", "b", "10.0.0.2")));
  EXPECT_TRUE(cluster.erase(Resource::Services, {.ns = "a", .name = "b"}));
  EXPECT_FALSE(cluster.erase(Resource::Services, {.ns = "a", .name = "b"}));
  EXPECT_EQ(seen, (std::vector<std::string>{"101 after", "102 before after", "103 before"}));
  EXPECT_EQ(cluster.version(), 103u);
}

TEST(Cluster, ForgetsTheOldestChangesBeyondItsWindow) {
  Cluster cluster(100, 2);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(cluster.upsert(Resource::Services, make_service("a", base::cat("s", i), "10.0.0.1")));
  }
  EXPECT_EQ(cluster.history().size(), 2u);
  EXPECT_EQ(cluster.compacted(), 103u);
}

TEST(Cluster, ANewEpochKeepsTheObjectsAndNothingElse) {
  Cluster cluster(5000, 10);
  ASSERT_TRUE(cluster.upsert(Resource::Services, make_service("a", "b", "10.0.0.1")));
  cluster.restart(10);
  EXPECT_EQ(cluster.find(Resource::Services, {.ns = "a", .name = "b"})->version(), 11u);
  EXPECT_EQ(cluster.version(), 11u);
  EXPECT_TRUE(cluster.history().empty());
}

}  // namespace
}  // namespace fairlead::tests::apiserver
