// A pass over a full table of the real kernel, in a namespace of its own.
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdio>
#include <thread>

#include "net/conntrack/creator.h"
#include "net/conntrack/netlink.h"
#include "proxy/conntrack/reconcile.h"
#include "proxy/conntrack/test_flows.h"

namespace fairlead::proxy::conntrack {
namespace {

using namespace test;

constexpr std::uint32_t kServices = 100;
constexpr std::uint32_t kFlows = 100'000;

std::string service_ip(std::uint32_t n) { return "10.96.0." + std::to_string(1 + n % kServices); }

// The n-th client's flow to the n-th service, to an endpoint that serves or to one that does not.
Entry nth(std::uint32_t n, bool serves) {
  Entry out = flow(Protocol::Udp, service_ip(n), 53, serves ? "10.244.0.1" : "10.244.0.2", 53);
  out.original.source = net::Ip::v4(10, 2, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n));
  out.original.source_port = static_cast<std::uint16_t>(1000 + (n >> 16));
  out.reply.destination = out.original.source;
  out.reply.destination_port = out.original.source_port;
  return out;
}

std::size_t count(net::conntrack::Kernel& kernel) {
  std::size_t entries = 0;
  EXPECT_TRUE(kernel.list({}, [&](const Entry&) { ++entries; }));
  return entries;
}

TEST(ConntrackPass, OfAHundredThousandEntriesDeletesTheStaleHalf) {
  std::unique_ptr<net::conntrack::Kernel> kernel;
  std::thread([&] {  // sockets keep the namespace they were made in
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
    auto opened = net::conntrack::open_netlink();
    ASSERT_TRUE(opened) << opened.error().message();
    auto creator = net::conntrack::Creator::open();
    ASSERT_TRUE(creator) << creator.error().message();
    std::vector<Entry> entries;
    for (std::uint32_t n = 0; n < kFlows; ++n) entries.push_back(nth(n, n % 2 == 0));
    const Status created = creator->create(entries);
    ASSERT_TRUE(created) << created.error().message();
    kernel = std::move(*opened);
  })
      .join();
  ASSERT_NE(kernel, nullptr);
  Review review;
  for (std::uint32_t n = 0; n < kServices; ++n) {
    review.frontends[{net::Family::V4, Protocol::Udp, ip(service_ip(n)), 53}].serving = {{ip("10.244.0.1"), 53}};
  }
  const base::SystemClock clock;
  for (const std::size_t expected : {kFlows / 2, 0U}) {
    const auto passes = reconcile(*kernel, clock, review, {});
    ASSERT_TRUE(passes) << passes.error().message();
    ASSERT_EQ(passes->size(), 1U);
    EXPECT_EQ((*passes)[0].deleted, expected);
    std::printf("%u entries, %zu deleted: %.1f ms\n", kFlows, expected,
                std::chrono::duration<double, std::milli>((*passes)[0].took).count());
  }
  EXPECT_EQ(count(*kernel), kFlows / 2);
}

}  // namespace
}  // namespace fairlead::proxy::conntrack
