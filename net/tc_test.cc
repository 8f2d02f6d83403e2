// Against the kernel, in a namespace of its own; tc(8) is the witness.
#include "net/tc.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>

#include <cerrno>
#include <functional>
#include <limits>
#include <thread>

#include "base/subprocess.h"

namespace fairlead::net {
namespace {

constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint32_t kLatency = 25'000;

TEST(TokenBucketTest, ABucketOfTwelveThousandBytesAtAMegabytePerSecondLastsTwelveMilliseconds) {
  EXPECT_EQ(token_bucket(1'000'000, 12'000, kLatency),
            (TokenBucket{.rate = 1'000'000, .buffer = 12'000'000 / 64, .limit = 25'000 + 12'000}));
}

TEST(TokenBucketTest, ABurstThatOutlastsTheKernelsClockIsTheLongestItHas) {
  // What Kubernetes' runtimes ask for: a burst of 2^31 bits. At a megabit per second it would last 2147 s.
  EXPECT_EQ(token_bucket(125'000, 268'435'455, kLatency).buffer, kMost);
  EXPECT_EQ(token_bucket(10'000'000'000'000, 4'000'000'000, kLatency).limit, kMost);
}

// One thread of the test in a namespace with a veth pair and an ifb.
void in_new_namespace(const std::function<void(NetlinkSocket&)>& work) {
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
    for (const auto& command :
         std::vector<std::vector<std::string>>{{"ip", "link", "add", "host", "type", "veth", "peer", "name", "pod"},
                                               {"ip", "link", "add", "ifb", "type", "ifb"},
                                               {"ip", "link", "add", "ifb2", "type", "ifb"}}) {
      auto done = base::run_checked(command);
      ASSERT_TRUE(done) << done.error().message();
    }
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(socket) << socket.error().message();
    work(*socket);
  }).join();
}

std::string tc(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {"tc", "-d"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  auto done = base::run_checked(argv);
  return done ? *done : done.error().message();
}

TEST(TcKernelTest, ATokenBucketIsWhatTcCallsItAndReplacesTheOneBefore) {
  in_new_namespace([](NetlinkSocket& socket) {
    const std::uint32_t host = ::if_nametoindex("host");
    const TokenBucket first = token_bucket(125'000, 100'000, kLatency);
    ASSERT_TRUE(socket.order_all({replace_token_bucket(host, first)}));
    EXPECT_NE(
        tc({"qdisc", "show", "dev", "host"}).find("tbf 1: root refcnt 3 rate 1Mbit burst 100000b/1 mpu 0b lat 25ms"),
        std::string::npos)
        << tc({"qdisc", "show", "dev", "host"});
    EXPECT_EQ(*list_token_buckets(socket, host), std::vector{first});

    const TokenBucket second = token_bucket(250'000, 90'000, kLatency);
    ASSERT_TRUE(socket.order_all({replace_token_bucket(host, second), replace_token_bucket(host, second)}));
    EXPECT_EQ(*list_token_buckets(socket, host), std::vector{second});
  });
}

TEST(TcKernelTest, ARateOfMoreThanThirtyTwoBitsIsKept) {
  in_new_namespace([](NetlinkSocket& socket) {
    const std::uint32_t host = ::if_nametoindex("host");
    const TokenBucket fast = token_bucket(12'500'000'000, 100'000'000, kLatency);
    ASSERT_TRUE(socket.order_all({replace_token_bucket(host, fast)}));
    EXPECT_EQ(*list_token_buckets(socket, host), std::vector{fast});
  });
}

TEST(TcKernelTest, ALinkWithoutATokenBucketHasNone) {
  in_new_namespace([](NetlinkSocket& socket) {
    EXPECT_TRUE(list_token_buckets(socket, ::if_nametoindex("host"))->empty());
    EXPECT_TRUE(list_ingress_redirects(socket, ::if_nametoindex("host"))->empty());
  });
}

TEST(TcKernelTest, WhatALinkReceivesIsRedirectedWhateverItsProtocol) {
  in_new_namespace([](NetlinkSocket& socket) {
    const std::uint32_t host = ::if_nametoindex("host"), ifb = ::if_nametoindex("ifb");
    ASSERT_TRUE(socket.order_all({add_ingress(host), add_ingress_redirect(host, ifb)}));
    EXPECT_EQ(*list_ingress_redirects(socket, host), std::vector{ifb});
    const std::string shown = tc({"filter", "show", "dev", "host", "ingress"});
    EXPECT_NE(shown.find("filter protocol all pref 1 u32"), std::string::npos) << shown;
    EXPECT_NE(shown.find("mirred (Egress Redirect to device ifb) stolen"), std::string::npos) << shown;
  });
}

TEST(TcKernelTest, TheRedirectIsReplacedByTakingItAwayFirst) {
  in_new_namespace([](NetlinkSocket& socket) {
    const std::uint32_t host = ::if_nametoindex("host"), ifb = ::if_nametoindex("ifb2");
    ASSERT_TRUE(socket.order_all({add_ingress(host), add_ingress_redirect(host, ::if_nametoindex("ifb"))}));
    auto again = socket.order({add_ingress(host), delete_ingress_redirect(host), add_ingress_redirect(host, ifb)});
    ASSERT_TRUE(again);
    EXPECT_EQ((*again)[0].error().errno_value(), EEXIST);
    EXPECT_TRUE((*again)[1]);
    EXPECT_TRUE((*again)[2]);
    EXPECT_EQ(*list_ingress_redirects(socket, host), std::vector{ifb});
  });
}

TEST(TcKernelTest, TheRedirectHangsUnderSomebodysClsactToo) {
  in_new_namespace([](NetlinkSocket& socket) {
    const std::uint32_t host = ::if_nametoindex("host"), ifb = ::if_nametoindex("ifb");
    ASSERT_EQ(tc({"qdisc", "add", "dev", "host", "clsact"}), "");
    auto done = socket.order({add_ingress(host), delete_ingress_redirect(host), add_ingress_redirect(host, ifb)});
    ASSERT_TRUE(done);
    EXPECT_EQ((*done)[0].error().errno_value(), EEXIST);
    EXPECT_TRUE((*done)[2]) << (*done)[2].error().message();
    EXPECT_EQ(*list_ingress_redirects(socket, host), std::vector{ifb});
  });
}

}  // namespace
}  // namespace fairlead::net
