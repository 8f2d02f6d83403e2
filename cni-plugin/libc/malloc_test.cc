// The functions of this very test program are those of malloc.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

namespace fairlead::cni::libc {
namespace {

struct Block {
  unsigned char* at = nullptr;
  std::size_t size = 0;
  unsigned char fill = 0;

  static Block create(std::size_t size, unsigned char fill) {
    auto* const at = static_cast<unsigned char*>(std::malloc(size));
    std::memset(at, fill, size);
    return {at, size, fill};
  }
  bool intact() const {
    for (std::size_t i = 0; i < size; ++i) {
      if (at[i] != fill) return false;
    }
    return true;
  }
};

TEST(Malloc, BlocksAreAlignedApartAndStayWhatTheyAreWhileOthersComeAndGo) {
  std::mt19937 random(20'000);
  std::vector<Block> blocks;
  for (unsigned round = 0; round < 20'000; ++round) {
    if (blocks.size() > 200 || (!blocks.empty() && random() % 3 == 0)) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      ASSERT_TRUE(blocks.back().intact()) << blocks.back().size << " bytes";
      std::free(blocks.back().at);
      blocks.pop_back();
      continue;
    }
    const std::size_t size = random() % 50 == 0 ? random() % 400'000 : random() % 300;
    blocks.push_back(Block::create(size, static_cast<unsigned char>(round)));
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(blocks.back().at) % alignof(std::max_align_t), 0U);
  }
  for (const Block& block : blocks) {
    EXPECT_TRUE(block.intact()) << block.size << " bytes";
    std::free(block.at);
  }
}

TEST(Malloc, EverySizeAtTheEdgesOfABlockIsWhole) {
  for (std::size_t power = 4; power < 20; ++power) {
    for (std::size_t below = 0; below < 34; ++below) {
      const std::size_t size = (std::size_t{1} << power) - std::min(below, std::size_t{1} << power);
      const Block one = Block::create(size, 1);
      const Block other = Block::create(size, 2);
      EXPECT_TRUE(one.intact() && other.intact()) << size;
      std::free(one.at);
      std::free(other.at);
    }
  }
}

TEST(Malloc, WhatWasFreedServesTheNextOfItsSize) {
  const Block first = Block::create(100, 1);
  std::free(first.at);
  const Block second = Block::create(90, 2);
  EXPECT_EQ(second.at, first.at);
  std::free(second.at);
}

TEST(Malloc, CallocClearsWhatWasUsedBefore) {
  const Block used = Block::create(500, 0xff);
  std::free(used.at);
  const Block cleared{static_cast<unsigned char*>(std::calloc(5, 100)), 500, 0};
  EXPECT_EQ(cleared.at, used.at);
  EXPECT_TRUE(cleared.intact());
  std::free(cleared.at);
}

TEST(Malloc, ReallocKeepsWhatWasThere) {
  Block block = Block::create(10, 7);
  for (const std::size_t size : {20UL, 5000UL, 300'000UL, 900'000UL, 100UL}) {
    block.at = static_cast<unsigned char*>(std::realloc(block.at, size));
    ASSERT_NE(block.at, nullptr);
    ASSERT_TRUE(block.intact()) << size;
    block = {block.at, size, 7};
    std::memset(block.at, 7, size);
  }
  std::free(block.at);
  const Block fresh{static_cast<unsigned char*>(std::realloc(nullptr, 8)), 0, 0};
  EXPECT_NE(fresh.at, nullptr);
  std::free(fresh.at);
}

TEST(Malloc, WhatCannotBeIsRefused) {
  volatile std::size_t huge = SIZE_MAX;
  EXPECT_EQ(std::malloc(huge), nullptr);
  EXPECT_EQ(std::calloc(huge, 16), nullptr);
}

TEST(Malloc, MoreThanTheArenaIsHad) {
  std::vector<Block> blocks;
  for (unsigned i = 0; i < 9000; ++i) blocks.push_back(Block::create(1000, static_cast<unsigned char>(i)));
  for (const Block& block : blocks) {
    EXPECT_TRUE(block.intact());
    std::free(block.at);
  }
}

}  // namespace
}  // namespace fairlead::cni::libc
