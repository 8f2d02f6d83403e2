#include "proxy/conntrack/reconcile.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "net/conntrack/fake.h"
#include "proxy/conntrack/test_flows.h"

namespace fairlead::proxy::conntrack {
namespace {

using namespace test;
using net::Family;
using net::conntrack::FakeKernel;
using net::conntrack::Question;

class Reconcile : public testing::Test {
 protected:
  // 10.96.0.1:53 of `protocols`, which 10.244.0.1 serves.
  static Review review(const std::vector<Protocol>& protocols = {Protocol::Udp}) {
    Review out;
    for (const Protocol protocol : protocols) {
      out.frontends[{Family::V4, protocol, ip("10.96.0.1"), 53}].serving = {{ip("10.244.0.1"), 53}};
    }
    return out;
  }
  // Each from a source port of its own.
  void add(std::size_t count, const std::string& endpoint, Protocol protocol = Protocol::Udp) {
    for (std::size_t i = 0; i < count; ++i) {
      Entry entry = unanswered(flow(protocol, "10.96.0.1", 53, endpoint, 53));
      entry.original.source_port = static_cast<std::uint16_t>(1000 + kernel.entries.size());
      kernel.entries.push_back(entry);
    }
  }
  std::size_t deleted(const Review& what) {
    const auto passes = reconcile(kernel, clock, what, {});
    EXPECT_TRUE(passes) << passes.error().message();
    std::size_t sum = 0;
    for (const Pass& pass : *passes) sum += pass.deleted;
    return sum;
  }
  FakeKernel kernel;
  base::FakeClock clock;
};

TEST_F(Reconcile, DeletesWhatIsStaleAndNothingElse) {
  add(2, "10.244.0.1");
  add(3, "10.244.0.2");
  EXPECT_EQ(deleted(review()), 3U);
  EXPECT_EQ(kernel.entries.size(), 2U);
}

TEST_F(Reconcile, AsksForTheFamiliesAndProtocolsInQuestionAlone) {
  EXPECT_EQ(deleted({}), 0U);
  EXPECT_TRUE(kernel.questions.empty());
  Review both = review({Protocol::Udp, Protocol::Tcp});
  both.frontends[{Family::V6, Protocol::Sctp, ip("fd00:96::1"), 53}] = {};
  const auto passes = reconcile(kernel, clock, both, {});
  ASSERT_TRUE(passes);
  EXPECT_EQ(kernel.questions, (std::vector<Question>{{Family::V4, net::conntrack::kTcp, true},
                                                     {Family::V4, net::conntrack::kUdp, false},
                                                     {Family::V6, net::conntrack::kSctp, true}}));
  ASSERT_EQ(passes->size(), 2U);
  EXPECT_EQ((*passes)[0].family, Family::V4);
  EXPECT_EQ((*passes)[1].family, Family::V6);
}

TEST_F(Reconcile, AnInterruptedListIsReadAgain) {
  add(8, "10.244.0.2");
  kernel.interrupt = 2;
  EXPECT_EQ(deleted(review()), 8U);
  EXPECT_EQ(kernel.questions.size(), 3U);
}

TEST_F(Reconcile, AfterFiveAttemptsWhatCameHasToDo) {
  add(64, "10.244.0.2");
  kernel.interrupt = 100;
  EXPECT_EQ(deleted(review()), 62U) << "half of the table comes each time";
  EXPECT_EQ(kernel.questions.size(), 5U);
}

TEST_F(Reconcile, HoldsABoundedNumberOfEntries) {
  add(5000, "10.244.0.2");
  EXPECT_EQ(deleted(review()), 5000U);
  EXPECT_LE(kernel.largest_erase, 1024U);
}

TEST_F(Reconcile, ARefusalIsAnError) {
  kernel.refuse = 1;
  const auto passes = reconcile(kernel, clock, review(), {});
  ASSERT_FALSE(passes);
  EXPECT_EQ(passes.error().errno_value(), EPERM);
}

TEST_F(Reconcile, HalfOpenConnectionsAreAskedForAsSuch) {
  add(2, "10.244.0.2", Protocol::Tcp);
  EXPECT_EQ(deleted(review()), 0U);
  EXPECT_EQ(deleted(review({Protocol::Tcp})), 2U);
}

}  // namespace
}  // namespace fairlead::proxy::conntrack
