// Tables of iptables-legacy without a kernel.
#include "net/xtables/table.h"

#include <gtest/gtest.h>

#include <cstring>

namespace fairlead::net::xtables {
namespace {

class Tables : public ::testing::TestWithParam<Family> {
 protected:
  Family family() const { return GetParam(); }
  // FORWARD with a rule that jumps to a chain of its own.
  Table table() const {
    Table t{.family = family(), .chains = {}, .rules_read = 0};
    t.find_or_add("own").rules.push_back(accept_marked(family(), 0x1000, "let"));
    const Rule policy = t.chains.front().end;
    for (std::size_t hook = 1; hook < 4; ++hook) {
      const char* names[] = {"", "INPUT", "FORWARD", "OUTPUT"};
      t.chains.insert(t.chains.begin() + static_cast<std::ptrdiff_t>(hook) - 1, Chain{names[hook], hook, {}, policy});
    }
    t.find("FORWARD")->rules.push_back(jump_rule(family(), "own", "first"));
    return t;
  }
  Table again(const Image& image) const { return Table::parse(family(), image.places, image.bytes).value(); }
};

TEST_P(Tables, WhatIsLaidOutIsReadAgain) {
  const Image image = lay_out(table()).value();
  Table read = again(image);
  EXPECT_EQ(read.rules_read, image.was.size());
  ASSERT_EQ(read.chains.size(), 4U);
  ASSERT_NE(read.find("FORWARD"), nullptr);
  EXPECT_EQ(read.find("FORWARD")->hook, 2U);
  EXPECT_TRUE(read.find("FORWARD")->rules.at(0).same(jump_rule(family(), "own", "first"), family()));
  EXPECT_TRUE(read.find("own")->rules.at(0).same(accept_marked(family(), 0x1000, "let"), family()));
  EXPECT_FALSE(read.find("own")->rules.at(0).same(accept_marked(family(), 0x2000, "let"), family()));
  const Image second = lay_out(read).value();
  EXPECT_EQ(second.bytes, image.bytes);
  EXPECT_EQ(second.places, image.places);
}

TEST_P(Tables, JumpsFollowTheirChainAndRulesKeepTheirNumbers) {
  Table read = again(lay_out(table()).value());
  read.find("INPUT")->rules.push_back(jump_rule(family(), "new", "second"));
  read.find_or_add("new");
  const Image image = lay_out(read).value();
  EXPECT_EQ(std::count(image.was.begin(), image.was.end(), Rule::kNew), 5) << "a rule, a chain of two, and two heads";
  Table changed = again(image);
  EXPECT_EQ(changed.find("INPUT")->rules.at(0).jump, "new");
  EXPECT_EQ(changed.find("FORWARD")->rules.at(0).jump, "own");
}

TEST_P(Tables, AJumpToNowhereIsAnError) {
  Table t = table();
  t.chains.pop_back();
  EXPECT_EQ(lay_out(t).error().message(), "a rule jumps to own, which is not there");
}

// Whatever the kernel or a newer one says: an error or a table, and nothing read beyond the bytes.
TEST_P(Tables, TornAndForeignBytesAreErrors) {
  const Image image = lay_out(table()).value();
  for (std::size_t size = 0; size < image.bytes.size(); size += 4) {
    EXPECT_FALSE(Table::parse(family(), image.places, std::string_view(image.bytes).substr(0, size))) << size;
  }
  for (std::size_t at = 0; at < image.bytes.size(); ++at) {
    for (const int other : {0x01, 0x80, 0xff}) {
      std::string bytes = image.bytes;
      bytes[at] = static_cast<char>(bytes[at] ^ other);
      const auto parsed = Table::parse(family(), image.places, bytes);
      if (parsed) {
        EXPECT_TRUE(lay_out(*parsed)) << at;
      }
    }
  }
  Places elsewhere = image.places;
  elsewhere.underflow[2] += 8;
  EXPECT_FALSE(Table::parse(family(), elsewhere, image.bytes));
  elsewhere = image.places;
  elsewhere.hook_entry[2] += 8;
  EXPECT_FALSE(Table::parse(family(), elsewhere, image.bytes));
}

INSTANTIATE_TEST_SUITE_P(Families, Tables, ::testing::Values(Family::V4, Family::V6),
                         [](const auto& family) { return family.param == Family::V4 ? "V4" : "V6"; });

}  // namespace
}  // namespace fairlead::net::xtables
