// What of the demo needs no kernel: editing manifests, tables, options.

#include <gtest/gtest.h>

#include "kube/yaml.h"
#include "tests/demo/manifests.h"
#include "tests/demo/options.h"
#include "tests/demo/screen.h"
#include "tests/demo/yaml_text.h"

namespace fairlead::demo {
namespace {

using Lines = std::vector<std::string>;

const kube::Key kWeb{"default", "web"};

Manifests examples() {
  auto manifests = Manifests::load(FAIRLEAD_EXAMPLES);
  EXPECT_TRUE(manifests.has_value()) << manifests.error().message();
  return *std::move(manifests);
}

Lines addresses(const Manifests& manifests) {
  Lines found;
  for (const kube::EndpointSlice* slice : manifests.slices_of(kWeb)) {
    for (const kube::Endpoint& endpoint : slice->endpoints) {
      found.push_back(endpoint.address.to_string() + (endpoint.ready.value_or(true) ? "" : " not ready"));
    }
  }
  return found;
}

TEST(YamlText, ReadsBackAsTheSameValues) {
  const auto documents = kube::parse_yaml(R"(
text: [plain, "with: colon", "", "1", "true", "- dash", "fd00::1", 10.0.0.1, "quoted \"and\" \n"]
number: -5
flag: false
nothing: null
empty: {list: [], object: {}}
nested: [[1, [2]], {a: [{b: c}, d]}]
---
second: document
)");
  ASSERT_TRUE(documents.has_value());
  const auto again = kube::parse_yaml(to_yaml(*documents));
  ASSERT_TRUE(again.has_value()) << again.error().message() << "\n" << to_yaml(*documents);
  EXPECT_EQ(*again, *documents) << to_yaml(*documents);
}

TEST(YamlText, LooksAsAPersonWouldWriteIt) {
  const auto documents =
      kube::parse_yaml(R"({kind: Service, spec: {ports: [{port: 80}, {port: 81, name: x}], ips: ["::1"]}})");
  ASSERT_TRUE(documents.has_value());
  EXPECT_EQ(to_yaml(*documents),
            "kind: Service\nspec:\n  ports:\n  - port: 80\n  - port: 81\n    name: x\n  ips:\n  - \"::1\"\n");
}

TEST(Manifests, AnEditReplacesTheEndpointsOfBothFamiliesAndNothingElse) {
  Manifests manifests = examples();
  const Manifests before = manifests;
  const auto changed = manifests.set_endpoints(
      kWeb, {{.v4 = *net::Ip::parse("10.244.1.10"), .v6 = *net::Ip::parse("fd00:10:244:1::10"), .node = "node1"},
             {.v4 = *net::Ip::parse("10.244.2.10"),
              .v6 = *net::Ip::parse("fd00:10:244:2::10"),
              .node = "node2",
              .ready = false}});
  ASSERT_TRUE(changed.has_value()) << changed.error().message();
  ASSERT_EQ(changed->size(), 1U);
  EXPECT_EQ((*changed)[0]->name, "web.yaml");
  EXPECT_EQ(addresses(manifests),
            (Lines{"10.244.1.10", "10.244.2.10 not ready", "fd00:10:244:1::10", "fd00:10:244:2::10 not ready"}));
  EXPECT_EQ(manifests.services(), before.services());
  EXPECT_EQ(manifests.slices().size(), before.slices().size());
}

TEST(Manifests, TheTextOfAnEditedFileHoldsTheEdit) {
  Manifests manifests = examples();
  const auto changed = manifests.set_endpoints(kWeb, {});
  ASSERT_TRUE(changed.has_value());
  const auto documents = kube::parse_yaml((*changed)[0]->text);
  ASSERT_TRUE(documents.has_value());
  EXPECT_EQ(*documents, (*changed)[0]->documents);
  EXPECT_EQ(addresses(manifests), Lines{});
}

TEST(Manifests, AServiceWithoutSlicesCannotBeEdited) {
  Manifests manifests = examples();
  const auto changed = manifests.set_endpoints({"default", "empty"}, {});
  ASSERT_FALSE(changed.has_value());
  EXPECT_EQ(changed.error().message(), "no EndpointSlice of default/empty in the manifests");
}

TEST(Table, ColumnsAreAsWideAsTheirWidestCellAndLinesEndWithoutBlanks) {
  Table table({{"name", Align::Left}, {"count"}, {"note", Align::Left}});
  table.add({"a", "1000000", "first"});
  table.add({"longer", "7", ""});
  EXPECT_EQ(table.lines(), (Lines{"name      count  note", "a       1000000  first", "longer        7"}));
}

TEST(Options, TheDataplaneIsOneOfThree) {
  EXPECT_EQ(parse_options({"--dataplane", "nftables"})->dataplane, "nftables");
  EXPECT_EQ(parse_options({"--dataplane=ebpf", "--api"})->dataplane, "ebpf");
  EXPECT_EQ(parse_options({"--dataplane", "ipvs"}).error().message(),
            "--dataplane: \"ipvs\" is not allowed: use auto, ebpf or nftables");
  EXPECT_FALSE(parse_options({"--dataplane"}).has_value());
  EXPECT_EQ(parse_options({"--fast"}).error().message(), "\"--fast\" is no option of the demo");
}

}  // namespace
}  // namespace fairlead::demo
