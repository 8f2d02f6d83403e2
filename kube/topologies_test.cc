#include "kube/topologies.h"

#include <gtest/gtest.h>

namespace fairlead::kube {
namespace {

Object slice_on(const std::vector<Topology>& topologies) {
  EndpointSlice slice;
  for (const Topology& topology : topologies) {
    Endpoint endpoint;
    endpoint.topology = topology;
    slice.endpoints.push_back(std::move(endpoint));
  }
  return slice;
}
const Topology* place_of(const Object& slice, std::size_t endpoint) {
  return &*std::get<EndpointSlice>(slice).endpoints.at(endpoint).topology;
}

TEST(Topologies, ATopologyIsAValueWhoeverSharesIt) {
  const SharedTopology a = Topology{.node_name = "node1"};
  const SharedTopology same = Topology{.node_name = "node1"};
  EXPECT_EQ(a, same);
  EXPECT_NE(&*a, &*same);
  EXPECT_NE(a, SharedTopology(Topology{.node_name = "node2"}));
  EXPECT_NE(a, SharedTopology(Topology{.node_name = "node1", .zone_hints = {"zone-a"}}));
  EXPECT_EQ(SharedTopology(), SharedTopology(Topology()));
  EXPECT_EQ(*SharedTopology(), Topology());
}

TEST(Topologies, EqualOnesBecomeOneAndNoValueChanges) {
  const Topology plain{.node_name = "node1"};
  const Topology hinted{.node_name = "node1", .zone_hints = {"zone-a"}};
  const Topology nearer{.node_name = "node1", .node_hints = {"zone-a"}};
  Topologies topologies;
  Object first = slice_on({plain, hinted, nearer, {}});
  Object second = slice_on({{}, nearer, hinted, plain});
  topologies.share(first);
  topologies.share(second);
  EXPECT_EQ(first, slice_on({plain, hinted, nearer, {}}));
  EXPECT_EQ(second, slice_on({{}, nearer, hinted, plain}));
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(place_of(first, i), place_of(second, 3 - i)) << i;
}

TEST(Topologies, ThoseOfNobodyAreForgotten) {
  const auto numbered = [](std::size_t n) { return Topology{.node_name = "node" + std::to_string(n)}; };
  Topologies topologies;
  std::vector<Topology> of_kept;
  for (std::size_t n = 0; n < Topologies::kLeast; ++n) of_kept.push_back(numbered(n));
  Object kept = slice_on(of_kept);
  topologies.share(kept);
  for (std::size_t n = 0; n < 10 * Topologies::kLeast; ++n) {
    Object passing = slice_on({numbered(Topologies::kLeast + n)});
    topologies.share(passing);
    ASSERT_LE(topologies.size(), 2 * (Topologies::kLeast + 1));  // `passing` is in use too
  }
  Object again = slice_on(of_kept);
  topologies.share(again);
  for (std::size_t n = 0; n < Topologies::kLeast; ++n) ASSERT_EQ(place_of(again, n), place_of(kept, n)) << n;
}

}  // namespace
}  // namespace fairlead::kube
