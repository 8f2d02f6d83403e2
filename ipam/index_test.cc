#include "ipam/index.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>
#include <set>

#include "ipam/temporary_test.h"

namespace fairlead::ipam {
namespace {

net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }

class IndexTest : public ::testing::Test {
 protected:
  TemporaryDirectory temporary_{"/dev/shm"};  // as /run, a tmpfs
  std::string path_ = temporary_.path() + "/index";
};

TEST_F(IndexTest, SaysWhatItWasTold) {
  auto index = Index::build(path_, "boot", {{ip("10.1.0.2"), 7}, {ip("10.1.0.3"), 7}, {ip("fd00::1"), 9}});
  ASSERT_TRUE(index);
  EXPECT_EQ(index->held_by(7), (std::vector{ip("10.1.0.2"), ip("10.1.0.3")}));
  EXPECT_EQ(index->held_by(9), std::vector{ip("fd00::1")});
  EXPECT_TRUE(index->held_by(8).empty());
  const Number two = to_number(ip("10.1.0.2"));
  EXPECT_TRUE(index->first_free(two - 1, two + 9) == two - 1);
  EXPECT_TRUE(index->first_free(two, two + 9) == two + 2);
  EXPECT_FALSE(index->first_free(two, two + 1));
  EXPECT_TRUE(index->count(two, two + 9) == 2);
  index->remove({ip("10.1.0.2"), 7});
  EXPECT_EQ(index->held_by(7), std::vector{ip("10.1.0.3")});
  EXPECT_TRUE(index->first_free(two, two + 1) == two);
}

TEST_F(IndexTest, TheNextProcessReadsItInTheSameBootOnly) {
  const Mark mark{1, 2, 3, 4};
  {
    auto index = Index::build(path_, "boot", {{ip("10.1.0.2"), 7}});
    ASSERT_TRUE(index);
    index->set_mark(mark);
  }
  auto again = Index::open(path_, "boot");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->mark(), mark);
  EXPECT_EQ(again->held_by(7), std::vector{ip("10.1.0.2")});
  EXPECT_FALSE(Index::open(path_, "another boot"));
  EXPECT_FALSE(Index::open(path_ + "x", "boot"));
}

// Against a plain map, over every size it grows through.
TEST_F(IndexTest, IsAMapWhateverIsAddedAndRemoved) {
  std::mt19937 random(42);
  auto index = Index::build(path_, "boot", {});
  ASSERT_TRUE(index);
  std::map<Number, std::uint64_t> model;
  const Number base = to_number(ip("10.0.0.0"));
  for (int step = 0; step < 60000; ++step) {
    const Number number = base + random() % 20000;
    const auto it = model.find(number);
    if (it == model.end()) {
      const std::uint64_t holder = holder_key(std::to_string(random() % 3000));
      ASSERT_TRUE(index->add({to_ip(number), holder}));
      model[number] = holder;
    } else {
      index->remove({to_ip(number), it->second});
      model.erase(it);
    }
  }
  std::map<std::uint64_t, std::set<Number>> by_holder;
  for (const auto& [number, holder] : model) by_holder[holder].insert(number);
  for (const auto& [holder, numbers] : by_holder) {
    std::set<Number> found;
    for (const net::Ip& address : index->held_by(holder)) found.insert(to_number(address));
    ASSERT_TRUE(found == numbers);
  }
  EXPECT_TRUE(index->count(0, ~Number{0}) == model.size());
  for (Number at = base; at < base + 20000; ++at) {
    const auto free = index->first_free(at, at);
    ASSERT_EQ(free.has_value(), model.count(at) == 0);
  }
  EXPECT_TRUE(index->count(base + 777, base + 13001) ==
              static_cast<std::size_t>(std::distance(model.lower_bound(base + 777), model.upper_bound(base + 13001))));
  EXPECT_FALSE(index->damaged());
}

TEST_F(IndexTest, CannotBeKeptAndStillServesThisProcess) {
  auto index = Index::build("/proc/no/such/place", "boot", {{ip("10.1.0.2"), 7}});
  ASSERT_TRUE(index);
  for (unsigned i = 0; i < 1000; ++i) ASSERT_TRUE(index->add({to_ip(to_number(ip("10.2.0.0")) + i), 8}));
  EXPECT_EQ(index->held_by(7), std::vector{ip("10.1.0.2")});
  EXPECT_EQ(index->held_by(8).size(), 1000U);
}

TEST_F(IndexTest, DamageIsRefusedOrSeen) {
  std::vector<Entry> entries;
  for (unsigned i = 0; i < 100; ++i)
    entries.push_back({to_ip(to_number(ip("10.1.0.0")) + i), holder_key(std::to_string(i))});
  ASSERT_TRUE(Index::build(path_, "boot", entries));
  std::string good;
  {
    std::ifstream in(path_, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(in), {});
  }
  std::mt19937 random(7);
  unsigned refused = 0, seen = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string bad = good;
    const std::size_t at = random() % bad.size();
    for (std::size_t i = at; i < std::min(at + 64, bad.size()); ++i) bad[i] = static_cast<char>(random());
    if (round % 10 == 0) bad.resize(random() % bad.size());
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bad;
    auto index = Index::open(path_, "boot");
    if (!index) {
      ++refused;
      continue;
    }
    // Nothing of this may crash or hang.
    for (unsigned i = 0; i < 100; ++i) (void)index->held_by(holder_key(std::to_string(i)));
    (void)index->first_free(to_number(ip("10.1.0.0")), to_number(ip("10.1.0.99")));
    seen += index->damaged() ? 1 : 0;
    for (unsigned i = 0; i < 50; ++i) index->remove(entries[i]);
    for (unsigned i = 0; i < 300; ++i) (void)index->add({to_ip(to_number(ip("10.3.0.0")) + i), 5}).has_value();
  }
  EXPECT_GT(refused, 100U);
  EXPECT_GT(seen, 500U);
}

}  // namespace
}  // namespace fairlead::ipam
