#include "tests/bench/targets.h"

#include <gtest/gtest.h>

namespace fairlead::tests::bench {
namespace {

Row row(std::string dataplane, std::uint64_t services, std::string metric, double value) {
  return {.bench = "sync",
          .dataplane = std::move(dataplane),
          .cluster = "plain",
          .services = services,
          .endpoints_per_service = 10,
          .metric = std::move(metric),
          .value = value,
          .unit = "ms",
          .samples = 1};
}

TEST(Targets, AValueAtItsLimitIsMetAndOneAboveIsNot) {
  const auto judged = judge({row("ebpf", 10000, "change_cpu", 1), row("nftables", 10000, "change_cpu", 1.01)});
  ASSERT_EQ(judged.size(), 2u);
  EXPECT_TRUE(judged[0].met());
  EXPECT_FALSE(judged[1].met());
}

TEST(Targets, IptablesHasItsOwnAndOtherSizesHaveNone) {
  const auto judged = judge({row("iptables", 10000, "change_visible_p50", 100), row("iptables", 10000, "rss", 1000),
                             row("ebpf", 1000, "change_cpu", 9)});
  ASSERT_EQ(judged.size(), 1u);
  EXPECT_EQ(judged[0].limit, 150);
}

TEST(Targets, ACniRowIsHeldToItsConfigurationsTargetUnlessItIsTheReferences) {
  const auto cni = [](std::string who, std::string what, double value) {
    return Row{.bench = "cni",
               .dataplane = std::move(who),
               .cluster = std::move(what),
               .services = 1,
               .endpoints_per_service = 0,
               .metric = "add_p50",
               .value = value,
               .unit = "ms",
               .samples = 1};
  };
  const auto judged = judge({cni("reference", "bridge", 8), cni("fairlead", "bridge", 2.1),
                             cni("one-entry", "full", 2.1), cni("fairlead", "storm-full", 90)});
  ASSERT_EQ(judged.size(), 2u);
  EXPECT_FALSE(judged[0].met());
  EXPECT_TRUE(judged[1].met());
}

TEST(Targets, GrowthIsTheLargeClusterOverTheSmallOneOfTheSameKind) {
  Row other_kind = row("ebpf", 1000, "change_visible_p50", 1);
  other_kind.cluster = "mixed";
  const auto growth =
      growth_rows({row("ebpf", 1000, "change_visible_p50", 2), other_kind,
                   row("nftables", 1000, "change_visible_p50", 5), row("ebpf", 50000, "change_visible_p50", 5)});
  ASSERT_EQ(growth.size(), 1u);
  EXPECT_EQ(growth[0].value, 2.5);
  const auto judged = judge(growth);
  ASSERT_EQ(judged.size(), 1u);
  EXPECT_FALSE(judged[0].met());
}

}  // namespace
}  // namespace fairlead::tests::bench
