// The client of the CNI binary in a real kernel, beside others that change the same set.
#include "net/nft/client.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <map>
#include <thread>

namespace fairlead::net::nft {
namespace {

using std::chrono::steady_clock;

const TableId kTable{Family::V4, "t"};
const Set kSet{.name = "s", .kind = Set::Kind::Set, .key = {DataType::Mark}, .data = {}};

std::vector<Element> numbers(std::uint32_t from, std::uint32_t to) {
  std::vector<Element> out;
  for (std::uint32_t n = from; n < to; ++n) {
    Element& e = out.emplace_back();
    for (std::size_t i = 0; i < 4; ++i) e.key[i] = static_cast<std::uint8_t>(n >> 8 * i);
    e.key_size = 4;
  }
  return out;
}

// Sockets keep the namespace they were made in, and a namespace of one thread goes with its last socket.
class ClientKernel : public testing::Test {
 protected:
  void SetUp() override {
    std::thread([this] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
      for (auto* client : {&reader_, &writer_}) {
        auto opened = Client::open();
        ASSERT_TRUE(opened) << opened.error().message();
        client->emplace(*std::move(opened));
      }
    }).join();
    ASSERT_TRUE(writer_);
  }
  std::optional<Client> reader_, writer_;
};

// A hash that has grown or shrunk is copied into another one a moment later, with no new generation.
TEST_F(ClientKernel, ElementsAreToldOnceAndAllWhileTheirHashGrowsAndShrinks) {
  constexpr std::uint32_t kStay = 1500, kAll = 9000;
  ASSERT_TRUE(writer_->commit({AddTable{kTable, ""}, AddSet{kTable, kSet},
                               AddElements{kTable, "s", numbers(0, kStay), "of somebody with a long enough name"}}));
  std::uint32_t undisturbed = 0;
  const auto deadline = steady_clock::now() + std::chrono::seconds(60);
  for (int round = 0; round < 60 && steady_clock::now() < deadline; ++round) {
    ASSERT_TRUE(writer_->commit({AddElements{kTable, "s", numbers(kStay, kAll)}}));
    ASSERT_TRUE(writer_->commit({DeleteElements{kTable, "s", numbers(kStay, kAll)}}));
    const auto before = reader_->generation();
    const auto found = reader_->elements(kTable, "s");
    const auto after = reader_->generation();
    ASSERT_TRUE(before && found && after);
    if (*before != *after) continue;
    ++undisturbed;
    std::map<Element, int> times;
    for (const NotedElement& one : *found) ++times[one.element];
    EXPECT_EQ(times.size(), kStay);
    EXPECT_EQ(found->size(), kStay);
    if (HasFailure()) return;
  }
  EXPECT_GT(undisturbed, 50U);
}

}  // namespace
}  // namespace fairlead::net::nft
