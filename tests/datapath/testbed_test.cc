// The testbed itself, by plain routing: what the scenarios take for granted.
#include "tests/datapath/testbed.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/remains.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using net::Family;

// "NAME saw SOURCE", or the error; for comparing whole outcomes.
std::string outcome(const Result<std::vector<Attempt>>& attempts) {
  if (!attempts) return attempts.error().message();
  const Attempt& first = attempts->front();
  return first.error.empty() ? cat(first.answer, " saw ", first.source) : first.error;
}

bool leaves_nothing(const std::string& prefix) {
  return !std::filesystem::exists(run_dir(prefix)) && !std::filesystem::exists(cat(*cgroup2_root(), "/", prefix));
}

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

// One testbed for all tests that only look at it.
class TestbedTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto created = Testbed::create();
    ASSERT_OK(created);
    bed_ = std::move(*created);
    for (const Place* pod : bed_->pods()) ASSERT_OK(bed_->serve(pod->name, {"[::]:8080/tcp", "[::]:8080/udp"}));
    ASSERT_OK(bed_->serve("node2", {"[::]:7070/tcp", "[::]:7070/udp"}));
  }
  static void TearDownTestSuite() { bed_.reset(); }

  static net::Ip ip_of(const std::string& name, Family family) { return (*bed_->place(name))->ip(family); }
  static std::string ask(const std::string& from, const std::string& to, std::uint16_t port, Transport transport,
                         Family family, SocketStyle style = SocketStyle::Connected) {
    return outcome(bed_->connect(from, {.to = {ip_of(to, family), port, transport}, .style = style}));
  }
  static std::unique_ptr<Testbed> bed_;
};
std::unique_ptr<Testbed> TestbedTest::bed_;

TEST_F(TestbedTest, PodsReachEachOtherUnderTheirOwnAddresses) {
  for (const Family family : {Family::V4, Family::V6}) {
    for (const Transport transport : {Transport::Tcp, Transport::Udp}) {
      for (const std::string to : {"pod1a", "pod1b", "pod2a", "pod3b"}) {
        EXPECT_EQ(ask("pod1a", to, 8080, transport, family), cat(to, " saw ", ip_of("pod1a", family).to_string()));
      }
    }
  }
}

TEST_F(TestbedTest, NodesReachPodsUnderTheirUnderlayAddress) {
  for (const Family family : {Family::V4, Family::V6}) {
    for (const std::string to : {"pod1a", "pod3b"}) {
      EXPECT_EQ(ask("node1", to, 8080, Transport::Tcp, family), cat(to, " saw ", ip_of("node1", family).to_string()));
    }
  }
}

TEST_F(TestbedTest, TheClientReachesNodesButNoPod) {
  for (const Family family : {Family::V4, Family::V6}) {
    const std::string client = ip_of("client", family).to_string();
    EXPECT_EQ(ask("client", "node2", 7070, Transport::Tcp, family), cat("node2 saw ", client));
    EXPECT_EQ(ask("client", "node2", 7070, Transport::Udp, family), cat("node2 saw ", client));
    EXPECT_EQ(ask("client", "node2", 7071, Transport::Tcp, family), "refused");
    EXPECT_EQ(ask("client", "node2", 7071, Transport::Udp, family), "refused");
    EXPECT_EQ(ask("client", "pod2a", 8080, Transport::Tcp, family), "unreachable");
  }
}

TEST_F(TestbedTest, AnAddressThatNobodyServesIsSilent) {
  for (const std::string address : {"10.96.0.1", "fd00:10:96::1"}) {
    for (const std::string from : {"pod1a", "node1"}) {
      const auto attempts =
          bed_->connect(from, {.to = {*net::Ip::parse(address), 80, Transport::Tcp}, .timeout_ms = 100});
      EXPECT_EQ(outcome(attempts), "timeout") << from << " to " << address;
    }
  }
}

TEST_F(TestbedTest, EverySocketStyleIsAnswered) {
  const std::string expected = cat("pod2a saw ", ip_of("pod1a", Family::V4).to_string());
  EXPECT_EQ(ask("pod1a", "pod2a", 8080, Transport::Udp, Family::V4, SocketStyle::Unconnected), expected);
  EXPECT_EQ(ask("pod1a", "pod2a", 8080, Transport::Tcp, Family::V4, SocketStyle::Mapped), expected);
  EXPECT_EQ(ask("pod1a", "pod2a", 8080, Transport::Udp, Family::V4, SocketStyle::Mapped), expected);
  EXPECT_EQ(ask("pod1a", "pod2a", 8080, Transport::Udp, Family::V4, SocketStyle::MappedUnconnected), expected);
  EXPECT_EQ(ask("pod1a", "pod2a", 8080, Transport::Udp, Family::V6, SocketStyle::Unconnected),
            cat("pod2a saw ", ip_of("pod1a", Family::V6).to_string()));
}

TEST_F(TestbedTest, LargeTransfersArriveIntact) {
  for (const Family family : {Family::V4, Family::V6}) {
    const net::Ip to = ip_of("pod2a", family);
    const std::string expected = cat("pod2a saw ", ip_of("pod1a", family).to_string());
    EXPECT_EQ(outcome(bed_->connect("pod1a", {.to = {to, 8080, Transport::Tcp}, .timeout_ms = 5000, .bytes = 1 << 20})),
              expected);
    EXPECT_EQ(outcome(bed_->connect("pod1a", {.to = {to, 8080, Transport::Udp}, .bytes = 2000})), expected);
  }
}

TEST_F(TestbedTest, AttemptsTellWhatBothEndsSaw) {
  const auto attempts = bed_->connect(
      "pod1a",
      {.to = {ip_of("pod2a", Family::V4), 8080, Transport::Tcp}, .count = 1, .source_port = 4242, .requests = 3});
  ASSERT_OK(attempts);
  Attempt attempt = attempts->front();
  EXPECT_GT(attempt.latency_us, 0U);
  attempt.latency_us = 0;
  EXPECT_EQ(attempt, (Attempt{.answer = "pod2a",
                              .source = "10.244.1.10",
                              .source_port = 4242,
                              .local = "10.244.2.10:8080",
                              .peer = "10.244.2.10:8080",
                              .error = ""}));
}

TEST_F(TestbedTest, ProcessesStandInTheCgroupOfTheirNodeOrOutside) {
  const auto cgroup_of = [&](Membership membership) {
    auto process = bed_->start("pod1a", {"sleep", "60"}, "sleep", Pipes::None, membership);
    if (!process) return process.error().message();
    // The process exists before it has moved.
    std::string last;
    eventually([&] {
      const auto text = base::read_file(cat("/proc/", process->pid(), "/comm"));
      return text && base::trim(*text) == "sleep";
    });
    const auto text = base::read_file(cat("/proc/", process->pid(), "/cgroup"));
    if (!text) return text.error().message();
    for (const auto line : base::split(*text, '\n')) {
      if (line.substr(0, 3) == "0::") last = line.substr(3);
    }
    return last;
  };
  EXPECT_EQ(cgroup_of(Membership::Inside), cat("/", bed_->prefix(), "/node1/pods/pod1a"));
  EXPECT_EQ(cgroup_of(Membership::Outside), cat("/", bed_->prefix(), "/outside"));
}

TEST_F(TestbedTest, LoadCountsEveryRequest) {
  for (const bool long_lived : {false, true}) {
    auto load = bed_->start_load("pod1a", {.to = {ip_of("pod2a", Family::V4), 8080, Transport::Tcp},
                                           .long_lived = long_lived,
                                           .parallel = 2,
                                           .rate = 500,
                                           .report_every_ms = 20});
    ASSERT_OK(load);
    ASSERT_TRUE(eventually([&] {
      const auto report = (*load)->next_report(std::chrono::seconds(5));
      return report && report->answered >= 20;
    }));
    const auto report = (*load)->stop();
    ASSERT_OK(report);
    EXPECT_EQ(report->failed(), 0U) << *report;
    EXPECT_EQ(report->answers, (std::map<std::string, std::uint64_t>{{"pod2a", report->requests}}));
    EXPECT_EQ(report->connections, long_lived ? 2 : report->requests);
  }
}

TEST_F(TestbedTest, AStoppedServerRefuses) {
  ASSERT_OK(bed_->serve("pod3a", {"[::]:9999/tcp"}, "extra"));
  EXPECT_EQ(ask("pod1a", "pod3a", 9999, Transport::Tcp, Family::V4), "pod3a saw 10.244.1.10");
  bed_->stop_server("pod3a", "extra");
  EXPECT_EQ(ask("pod1a", "pod3a", 9999, Transport::Tcp, Family::V4), "refused");
}

TEST(TestbedLife, SeveralStandSideBySideAndLeaveNothing) {
  std::vector<std::string> prefixes;
  {
    auto first = Testbed::create({.nodes = 1, .pods_per_node = 2});
    auto second = Testbed::create({.nodes = 1, .pods_per_node = 2});
    ASSERT_OK(first);
    ASSERT_OK(second);
    prefixes = {(*first)->prefix(), (*second)->prefix()};
    ASSERT_OK((*first)->serve("pod1b", {"[::]:8080/tcp"}));
    const ConnectSpec spec{.to = {(*(*first)->place("pod1b"))->v4, 8080, Transport::Tcp}};
    EXPECT_EQ(outcome((*first)->connect("pod1a", spec)), "pod1b saw 10.244.1.10");
    EXPECT_EQ(outcome((*second)->connect("pod1a", spec)), "refused");
  }
  EXPECT_TRUE(leaves_nothing(prefixes[0]));
  EXPECT_TRUE(leaves_nothing(prefixes[1]));
}

// A process that builds a testbed and tells its prefix; its life is the caller's.
struct Builder {
  pid_t pid = -1;
  std::string prefix;
};

Builder fork_builder(const std::function<void(Testbed&)>& then) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return {};
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto bed = Testbed::create({.nodes = 1, .pods_per_node = 1});
    if (bed && (*bed)->serve("pod1a", {"[::]:8080/tcp"})) {
      then(**bed);
      (void)!::write(fds[1], (*bed)->prefix().data(), (*bed)->prefix().size());
    }
    ::close(fds[1]);
    for (;;) ::pause();
  }
  ::close(fds[1]);
  char text[64] = {};
  const ssize_t n = ::read(fds[0], text, sizeof text);
  ::close(fds[0]);
  return {pid, std::string(text, n > 0 ? static_cast<std::size_t>(n) : 0)};
}

TEST(TestbedLife, AKilledTestLeavesNothing) {
  const Builder builder = fork_builder([](Testbed&) {});
  ASSERT_FALSE(builder.prefix.empty());
  EXPECT_FALSE(leaves_nothing(builder.prefix));
  ::kill(builder.pid, SIGKILL);
  ::waitpid(builder.pid, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return leaves_nothing(builder.prefix); }));
}

TEST(TestbedLife, AKeptTestbedIsNotSwept) {
  const Builder builder = fork_builder([](Testbed& bed) { (void)bed.keep().has_value(); });
  ASSERT_FALSE(builder.prefix.empty());
  ::kill(builder.pid, SIGKILL);
  ::waitpid(builder.pid, nullptr, 0);
  ASSERT_OK(sweep());
  EXPECT_FALSE(leaves_nothing(builder.prefix));
  ASSERT_OK(remove_remains(builder.prefix));  // and not sweep(Kept::Remove): others may keep theirs
  EXPECT_TRUE(leaves_nothing(builder.prefix));
}

}  // namespace
}  // namespace fairlead::testbed
