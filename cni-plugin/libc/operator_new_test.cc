// The operators of this very test program are those of operator_new.cc.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
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
    auto* const at = static_cast<unsigned char*>(::operator new(size));
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

TEST(OperatorNew, BlocksAreAlignedApartAndStayWhatTheyAreWhileOthersComeAndGo) {
  std::mt19937 random(20'000);
  std::vector<Block> blocks;
  for (unsigned round = 0; round < 20'000; ++round) {
    if (blocks.size() > 200 || (!blocks.empty() && random() % 3 == 0)) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      ASSERT_TRUE(blocks.back().intact()) << blocks.back().size << " bytes";
      ::operator delete(blocks.back().at);
      blocks.pop_back();
      continue;
    }
    const std::size_t size = random() % 50 == 0 ? random() % 100'000 : random() % 300;
    blocks.push_back(Block::create(size, static_cast<unsigned char>(round)));
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(blocks.back().at) % alignof(std::max_align_t), 0U);
  }
  for (const Block& block : blocks) {
    EXPECT_TRUE(block.intact()) << block.size << " bytes";
    ::operator delete(block.at, block.size);
  }
}

TEST(OperatorNew, EverySizeAtTheEdgesOfABlockIsWhole) {
  for (std::size_t power = 4; power < 18; ++power) {
    for (std::size_t below = 0; below < 34; ++below) {
      const std::size_t size = (std::size_t{1} << power) - std::min(below, std::size_t{1} << power);
      const Block one = Block::create(size, 1);
      const Block other = Block::create(size, 2);
      EXPECT_TRUE(one.intact() && other.intact()) << size;
      ::operator delete(one.at);
      ::operator delete(other.at);
    }
  }
}

TEST(OperatorNew, WhatWasFreedServesTheNextOfItsSize) {
  const Block first = Block::create(100, 1);
  ::operator delete(first.at);
  const Block second = Block::create(90, 2);
  EXPECT_EQ(second.at, first.at);
  ::operator delete(second.at);
}

TEST(OperatorNew, MoreThanTheArenaIsHad) {
  std::vector<Block> blocks;
  for (unsigned i = 0; i < 4000; ++i) blocks.push_back(Block::create(1000, static_cast<unsigned char>(i)));
  for (const Block& block : blocks) {
    EXPECT_TRUE(block.intact());
    ::operator delete(block.at);
  }
}

}  // namespace
}  // namespace fairlead::cni::libc
