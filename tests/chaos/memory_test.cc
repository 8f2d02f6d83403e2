#include "tests/chaos/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace fairlead::tests::chaos {
namespace {

std::vector<MemorySample> samples(std::size_t count, double start, double per_second) {
  std::vector<MemorySample> out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto seconds = static_cast<double>(i);
    out.push_back({.seconds = seconds, .rss_mb = start + per_second * seconds, .descriptors = 10});
  }
  return out;
}

TEST(Memory, ALeakShowsInTheSlopeAndAFlatProcessDoesNot) {
  const auto leak = growth(samples(120, 20, 0.05));
  ASSERT_TRUE(leak);
  EXPECT_NEAR(leak->mb_per_minute, 3, 0.01);
  EXPECT_NEAR(leak->to_mb - leak->from_mb, 2, 0.1);
  const auto flat = growth(samples(120, 20, 0));
  ASSERT_TRUE(flat);
  EXPECT_NEAR(flat->mb_per_minute, 0, 1e-9);
}

TEST(Memory, TheFirstHalfIsWarmUp) {
  std::vector<MemorySample> all = samples(100, 1, 1);
  for (std::size_t i = 50; i < all.size(); ++i) all[i].rss_mb = 51;
  const auto grown = growth(all);
  ASSERT_TRUE(grown);
  EXPECT_EQ(grown->from_mb, grown->to_mb);
}

TEST(Memory, TooShortALifeSaysNothing) { EXPECT_FALSE(growth(samples(59, 20, 1))); }

TEST(Memory, AProcessHasMemoryAndDescriptors) {
  const auto own = sample_process(::getpid(), 1);
  ASSERT_TRUE(own);
  EXPECT_GT(own->rss_mb, 1);
  EXPECT_GE(own->descriptors, 3);
  EXPECT_FALSE(sample_process(-1, 1));
}

}  // namespace
}  // namespace fairlead::tests::chaos
