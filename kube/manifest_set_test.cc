#include "kube/manifest_set.h"

#include <gtest/gtest.h>

namespace fairlead::kube {
namespace {

ManifestObject service(std::string name, std::uint16_t port, int line = 1) {
  Service out;
  out.meta.key = {"default", std::move(name)};
  out.ports = {{"", Protocol::Tcp, port, 0}};
  return {Object(out), line};
}

ManifestObject node(std::string name) {
  Node out;
  out.meta.key = {"", std::move(name)};
  return {Object(out), 1};
}

std::vector<Object> objects(std::vector<ManifestObject> list) {
  std::vector<Object> out;
  out.reserve(list.size());
  for (ManifestObject& one : list) out.push_back(std::move(one.object));
  return out;
}

using Erased = std::vector<std::pair<Kind, Key>>;

TEST(ManifestSet, AChangedFileYieldsOnlyWhatDiffers) {
  ManifestSet set("node1");
  EXPECT_EQ(set.set_file("a", {service("x", 1), service("y", 1), service("z", 1)}).upserted.size(), 3U);
  const auto change = set.set_file("a", {service("x", 1), service("y", 2, 9)});
  EXPECT_EQ(change.upserted, objects({service("y", 2)}));
  EXPECT_EQ(change.erased, (Erased{{Kind::Service, {"default", "z"}}}));
  EXPECT_EQ(set.set_file("a", {}).erased.size(), 2U);
  EXPECT_TRUE(set.in_force(Kind::Service).empty());
}

TEST(ManifestSet, OfTwoDefinitionsTheFirstByFileNameIsInForce) {
  ManifestSet set("node1");
  (void)set.set_file("b", {service("x", 2, 7)});
  const auto change = set.set_file("a", {service("x", 1)});
  EXPECT_EQ(change.upserted, objects({service("x", 1)}));
  const std::vector<ManifestError> expected = {
      {"b", "line 7: Service default/x is defined in a too; that definition is in force"}};
  EXPECT_EQ(change.conflicts, expected);
  EXPECT_EQ(set.conflicts(), expected);

  const auto loser_changed = set.set_file("b", {service("x", 3, 7)});
  EXPECT_TRUE(loser_changed.upserted.empty());
  EXPECT_TRUE(loser_changed.conflicts.empty());  // said before

  const auto winner_gone = set.set_file("a", {});
  EXPECT_EQ(winner_gone.upserted, objects({service("x", 3)}));
  EXPECT_TRUE(winner_gone.erased.empty());
  EXPECT_TRUE(set.conflicts().empty());
}

TEST(ManifestSet, AServiceThatGainsTheProxyNameLabelIsErased) {
  ManifestSet set("node1");
  (void)set.set_file("a", {service("x", 1)});
  ManifestObject labelled = service("x", 1);
  std::get<Service>(labelled.object).has_proxy_name_label = true;
  EXPECT_EQ(set.set_file("a", {labelled}).erased, (Erased{{Kind::Service, {"default", "x"}}}));
  EXPECT_TRUE(set.in_force(Kind::Service).empty());
  EXPECT_EQ(set.set_file("a", {service("x", 1)}).upserted.size(), 1U);
}

TEST(ManifestSet, ASliceThatGainsTheHeadlessLabelIsErased) {
  ManifestSet set("node1");
  EndpointSlice slice;
  slice.meta.key = {"default", "x-1"};
  EXPECT_EQ(set.set_file("a", {{Object(slice), 1}}).upserted.size(), 1U);
  slice.has_headless_label = true;
  EXPECT_EQ(set.set_file("a", {{Object(slice), 1}}).erased, (Erased{{Kind::EndpointSlice, {"default", "x-1"}}}));
}

TEST(ManifestSet, OnlyTheOwnNodeCounts) {
  ManifestSet set("node1");
  EXPECT_EQ(set.set_file("a", {node("node1"), node("node2")}).upserted, objects({node("node1")}));
  EXPECT_EQ(set.in_force(Kind::Node), objects({node("node1")}));
}

TEST(ParseManifest, ReadsYamlAndJsonByName) {
  constexpr std::string_view kJson = R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"a"}})";
  const auto json = parse_manifest("x.json", kJson);
  ASSERT_TRUE(json) << json.error().message();
  EXPECT_EQ(json->objects, std::vector<ManifestObject>{node("a")});
  EXPECT_EQ(parse_manifest("x.yaml", kJson)->objects, json->objects);
  EXPECT_FALSE(parse_manifest("x.json", "kind: Node"));
  EXPECT_TRUE(parse_manifest("x.yaml", "")->objects.empty());
}

TEST(ParseManifest, AnObjectDefinedTwiceInOneFileIsAnError) {
  const auto read = parse_manifest("x.yaml",
                                   "{apiVersion: v1, kind: Node, metadata: {name: a}}\n---\n"
                                   "{apiVersion: v1, kind: Node, metadata: {name: a}}\n");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message(), "line 3: Node a appears twice, first in line 1");
}

}  // namespace
}  // namespace fairlead::kube
