// The real kernel behind the seam, in a namespace of its own.
#include "net/conntrack/netlink.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "net/conntrack/creator.h"

namespace fairlead::net::conntrack {
namespace {

Ip ip(const char* text) { return *Ip::parse(text); }

// A client's flow to 10.96.0.1:53 that went to 10.244.0.5:5353; `n` makes clients.
Entry flow(std::uint32_t n, std::uint8_t protocol = kUdp) {
  const Ip client = Ip::v4(10, static_cast<std::uint8_t>(1 + (n >> 16 & 0x3f)), static_cast<std::uint8_t>(n >> 8),
                           static_cast<std::uint8_t>(n));
  Entry out{.protocol = protocol,
            .original = {client, ip("10.96.0.1"), 1000, 53},
            .reply = {ip("10.244.0.5"), client, 5353, 1000},
            .status = kConfirmed};
  if (protocol == kTcp) out.state = kTcpSynSent;
  if (protocol == kSctp) out.state = kSctpCookieWait;
  return out;
}

Entry flow6(std::uint8_t protocol = kUdp) {
  Entry out = flow(1, protocol);
  out.original = {ip("fd00::1"), ip("fd00:96::1"), 1000, 53};
  out.reply = {ip("fd00:244::5"), ip("fd00::1"), 5353, 1000};
  return out;
}

// Sockets keep the namespace they were made in, and a namespace of one thread goes with its last socket.
class ConntrackKernel : public testing::Test {
 protected:
  void SetUp() override {
    std::thread([this] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
      auto opened = open_netlink();
      ASSERT_TRUE(opened) << opened.error().message();
      kernel_ = std::move(*opened);
      auto creator = Creator::open();
      ASSERT_TRUE(creator) << creator.error().message();
      creator_ = std::move(*creator);
    }).join();
    ASSERT_TRUE(creator_);
  }

  void create(const std::vector<Entry>& entries) {
    const Status created = creator_->create(entries);
    ASSERT_TRUE(created) << created.error().message();
  }
  // As the kernel has them, without what it alone knows.
  std::vector<Entry> listed(const Question& question) {
    std::vector<Entry> out;
    const Status status = kernel_->list(question, [&](const Entry& entry) {
      out.push_back(entry);
      EXPECT_NE(entry.id, 0U);
      out.back().id = 0;
    });
    EXPECT_TRUE(status) << status.error().message();
    std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.original, a.zone) < std::tie(b.original, b.zone);
    });
    return out;
  }
  std::vector<Entry> udp() { return listed({Family::V4, kUdp}); }

  std::unique_ptr<Kernel> kernel_;
  std::optional<Creator> creator_;
};

TEST_F(ConntrackKernel, ReadsEntriesOfOneFamilyAndProtocolBackAsTheyWereMade) {
  for (const std::uint8_t protocol : {kUdp, kTcp, kSctp}) {
    Entry v4 = flow(1, protocol);
    v4.mark = 7;
    create({v4, flow6(protocol)});
    if (HasFatalFailure()) return;
    EXPECT_EQ(listed({Family::V4, protocol}), std::vector<Entry>{v4});
    EXPECT_EQ(listed({Family::V6, protocol}), std::vector<Entry>{flow6(protocol)});
  }
}

TEST_F(ConntrackKernel, UnansweredLeavesOutWhatAReplyWasSeenOf) {
  Entry answered = flow(2, kTcp);
  answered.state = 3;  // established
  answered.status |= kSeenReply | kAssured;
  create({flow(1, kTcp), answered});
  EXPECT_EQ(listed({Family::V4, kTcp}), (std::vector<Entry>{flow(1, kTcp), answered}));
  EXPECT_EQ(listed({Family::V4, kTcp, true}), std::vector<Entry>{flow(1, kTcp)});
}

TEST_F(ConntrackKernel, ErasesExactlyWhatItIsGiven) {
  create({flow(1), flow(2), flow(1, kTcp)});
  auto erased = kernel_->erase({flow(1)});
  ASSERT_TRUE(erased) << erased.error().message();
  EXPECT_EQ(*erased, 1U);
  EXPECT_EQ(udp(), std::vector<Entry>{flow(2)});
  EXPECT_EQ(listed({Family::V4, kTcp}).size(), 1U);
  create({flow6()});
  EXPECT_EQ(kernel_->erase({flow6()}).value(), 1U);
  EXPECT_TRUE(listed({Family::V6, kUdp}).empty());
}

TEST_F(ConntrackKernel, AZoneIsPartOfWhatAnEntryIs) {
  Entry zoned = flow(1);
  zoned.zone = 9;
  Entry one_way = flow(1);  // in zone 5 on the way there; answers are told apart by their port
  one_way.original.zone = 5;
  one_way.reply.destination_port = 2000;
  create({flow(1), zoned, one_way});
  EXPECT_EQ(udp().size(), 3U);
  EXPECT_EQ(kernel_->erase({zoned}).value(), 1U);
  EXPECT_EQ(udp(), (std::vector<Entry>{flow(1), one_way}));
  EXPECT_EQ(kernel_->erase({one_way}).value(), 1U);
  EXPECT_EQ(udp(), std::vector<Entry>{flow(1)});
}

TEST_F(ConntrackKernel, AnIdThatIsAnotherEntrysErasesNothing) {
  create({flow(1)});
  Entry later = flow(1);
  later.id = 12345;
  EXPECT_EQ(kernel_->erase({later}).value(), 0U);
  EXPECT_EQ(udp().size(), 1U);
}

TEST_F(ConntrackKernel, WhatIsGoneAlreadyIsNoErrorAmongThousands) {
  std::vector<Entry> there;
  std::vector<Entry> all;
  for (std::uint32_t n = 0; n < 4000; ++n) {
    all.push_back(flow(n));
    if (n % 3 == 0) there.push_back(flow(n));
  }
  create(there);
  EXPECT_EQ(kernel_->erase(all).value(), there.size());
  EXPECT_TRUE(udp().empty());
  EXPECT_EQ(kernel_->erase({}).value(), 0U);
}

TEST_F(ConntrackKernel, WhatIsListedMayBeErasedMeanwhile) {
  std::vector<Entry> all;
  for (std::uint32_t n = 0; n < 5000; ++n) all.push_back(flow(n));
  create(all);
  std::size_t erased = 0;
  ASSERT_TRUE(
      kernel_->list({Family::V4, kUdp}, [&](const Entry& entry) { erased += kernel_->erase({entry}).value(); }));
  EXPECT_EQ(erased, all.size());
  EXPECT_TRUE(udp().empty());
}

// Printed, not asserted.
TEST_F(ConntrackKernel, AHundredThousandEntries) {
  using Clock = std::chrono::steady_clock;
  const auto ms = [](Clock::time_point since) {
    return std::chrono::duration<double, std::milli>(Clock::now() - since).count();
  };
  std::vector<Entry> all;
  for (std::uint32_t n = 0; n < 100'000; ++n) all.push_back(flow(n));
  create(all);
  if (HasFatalFailure()) return;
  all.clear();
  auto start = Clock::now();
  ASSERT_TRUE(kernel_->list({Family::V4, kUdp}, [&](const Entry& entry) { all.push_back(entry); }));
  std::printf("listed %zu in %.1f ms\n", all.size(), ms(start));
  ASSERT_EQ(all.size(), 100'000U);
  start = Clock::now();
  std::size_t others = 0;
  ASSERT_TRUE(kernel_->list({Family::V4, kTcp}, [&](const Entry&) { ++others; }));
  std::printf("listed %zu of another protocol in %.1f ms\n", others, ms(start));
  start = Clock::now();
  ASSERT_EQ(kernel_->erase(all).value(), all.size());
  const double took = ms(start);
  std::printf("erased %zu in %.1f ms, %.0f/s\n", all.size(), took, static_cast<double>(all.size()) / took * 1000);
}

}  // namespace
}  // namespace fairlead::net::conntrack
