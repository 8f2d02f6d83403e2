// One-way UDP senders that keep their source port, as statsd, syslog and media streams do: the flow never falls silent,
// so conntrack alone would keep it with its first endpoint for ever (docs/adr/0012).
#include <poll.h>
#include <sys/socket.h>

#include <map>

#include "base/strings.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/driver.h"
#include "tests/datapath/probe/sockets.h"
#include "tests/datapath/scenarios.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using net::Family;

constexpr ServiceAddresses kAddresses{.number = 1};
constexpr std::uint16_t kTarget = 9125;
constexpr std::uint16_t kNewTarget = 9126;
constexpr std::uint16_t kSourcePort = 12345;
constexpr auto kPatience = std::chrono::seconds(10);

using Clock = std::chrono::steady_clock;

struct Param {
  std::string dataplane;
  Family family;
};
std::ostream& operator<<(std::ostream& out, const Param& param) {
  return out << param.dataplane << ", " << net::to_string(param.family);
}

class ConntrackTest : public testing::TestWithParam<Param> {
 protected:
  void SetUp() override {
    auto created = Testbed::create({.nodes = 2, .pods_per_node = 2});
    ASSERT_OK(created);
    bed_ = std::move(*created);
    for (const std::string pod : {"pod1b", "pod2a"}) {
      for (const std::uint16_t port : {kTarget, kNewTarget}) {
        auto socket = bound(pod, port);
        ASSERT_OK(socket);
        receivers_[cat(pod, ":", port)] = std::move(*socket);
      }
    }
    auto driver = AgentDriver::create(*bed_, GetParam().dataplane);
    ASSERT_OK(driver);
    driver_ = std::move(*driver);
  }
  void TearDown() override {
    if (HasFailure() && driver_) std::cout << driver_->diagnosis() << std::endl;
    driver_.reset();
  }

  net::Ip ip_of(const std::string& place) { return (*bed_->place(place))->ip(GetParam().family); }
  Result<base::Fd> bound(const std::string& at, std::uint16_t port) {
    const auto open = [&]() -> Result<base::Fd> {
      base::Fd socket = TRY(probe::open_socket(GetParam().family == Family::V4 ? AF_INET : AF_INET6, Transport::Udp));
      const auto address = probe::socket_address(ip_of(at), port);
      if (::bind(socket.get(), address.raw(), address.size) < 0) return Error::from_errno("bind", errno);
      return socket;
    };
    return value_in_namespace<base::Fd>((*bed_->place(at))->netns->fd(), open);
  }

  void set_endpoints(std::vector<std::string> pods, std::uint16_t target = kTarget) {
    const auto metrics = service("metrics")
                             .as(Exposure::NodePort)
                             .with_port({.name = "", .port = 8125, .transport = Transport::Udp, .target = target})
                             .with_endpoints(std::move(pods));
    auto objects = manifests(metrics, kAddresses, GetParam().family, *bed_);
    ASSERT_OK(objects);
    ASSERT_OK(driver_->apply(std::move(*objects)));
  }

  // A flow from kSourcePort, so that all datagrams of a sender are one connection to conntrack.
  struct Sender {
    base::Fd socket;
    probe::SocketAddress to;
    void send() { (void)::sendto(socket.get(), "x", 1, 0, to.raw(), to.size); }  // refused while there is no endpoint
  };
  Result<Sender> sender(const std::string& at, const net::Ip& to, std::uint16_t port) {
    return Sender{TRY(bound(at, kSourcePort)), probe::socket_address(to, port)};
  }

  // Datagrams that have arrived at each receiver since the last call.
  std::map<std::string, unsigned> arrived() {
    std::map<std::string, unsigned> out;
    for (auto& [name, socket] : receivers_) {
      char byte = 0;
      while (::recv(socket.get(), &byte, 1, MSG_DONTWAIT) >= 0) ++out[name];
    }
    return out;
  }
  // Sends every few milliseconds until ten in a row arrived at `receiver`, and nowhere else. How long that took.
  std::optional<Clock::duration> moves_to(Sender& from, const std::string& receiver) {
    const auto start = Clock::now();
    (void)arrived();
    for (unsigned in_a_row = 0; Clock::now() - start < kPatience;) {
      from.send();
      ::poll(nullptr, 0, 2);
      const auto seen = arrived();
      const bool only_there = seen.size() == 1 && seen.begin()->first == receiver;
      in_a_row = only_there ? in_a_row + 1 : 0;
      if (in_a_row == 10) return Clock::now() - start;
    }
    return std::nullopt;
  }
  void expect_move(Sender& from, const std::string& receiver) {
    const auto took = moves_to(from, receiver);
    ASSERT_TRUE(took) << "never reached " << receiver;
    std::printf("%s after %.0f ms\n", receiver.c_str(), std::chrono::duration<double, std::milli>(*took).count());
  }
  // Until ten datagrams in a row arrived nowhere.
  bool falls_silent(Sender& from) {
    const auto start = Clock::now();
    for (unsigned in_a_row = 0; Clock::now() - start < kPatience;) {
      from.send();
      ::poll(nullptr, 0, 2);
      in_a_row = arrived().empty() ? in_a_row + 1 : 0;
      if (in_a_row == 10) return true;
    }
    return false;
  }

  // Through the ClusterIP from a pod, and through the NodePort from outside.
  std::vector<Sender> senders() {
    std::vector<Sender> out;
    auto inside = sender("pod1a", kAddresses.cluster_ip(GetParam().family), 8125);
    auto outside = sender("client", ip_of("node1"), kAddresses.node_port(0));
    EXPECT_OK(inside);
    EXPECT_OK(outside);
    if (inside) out.push_back(std::move(*inside));
    if (outside) out.push_back(std::move(*outside));
    return out;
  }

  std::unique_ptr<Testbed> bed_;
  std::map<std::string, base::Fd> receivers_;
  std::unique_ptr<AgentDriver> driver_;
};

TEST_P(ConntrackTest, AOneWaySenderFollowsTheEndpoints) {
  set_endpoints({"pod1b"});
  for (Sender& each : senders()) {
    set_endpoints({"pod1b"});
    expect_move(each, cat("pod1b:", kTarget));
    set_endpoints({"pod2a"});
    expect_move(each, cat("pod2a:", kTarget));
    set_endpoints({"pod2a"}, kNewTarget);
    expect_move(each, cat("pod2a:", kNewTarget));
  }
}

TEST_P(ConntrackTest, AOneWaySenderSurvivesScalingToZeroAndBack) {
  set_endpoints({"pod1b"});
  for (Sender& each : senders()) {
    set_endpoints({"pod1b"});
    expect_move(each, cat("pod1b:", kTarget));
    set_endpoints({});
    EXPECT_TRUE(falls_silent(each)) << "still reaches an endpoint that does not serve";
    set_endpoints({"pod2a"});
    expect_move(each, cat("pod2a:", kTarget));
  }
}

TEST_P(ConntrackTest, ASenderThatWasThereBeforeItsServiceReachesIt) {
  for (Sender& each : senders()) {
    ASSERT_OK(driver_->apply({}));
    each.send();  // leaves the node, or ends there, untranslated
    ::poll(nullptr, 0, 5);
    each.send();
    set_endpoints({"pod2a"});
    expect_move(each, cat("pod2a:", kTarget));
  }
}

TEST_P(ConntrackTest, AFlowToADeletedServiceEnds) {
  for (Sender& each : senders()) {
    set_endpoints({"pod2a"});
    expect_move(each, cat("pod2a:", kTarget));
    ASSERT_OK(driver_->apply({}));
    EXPECT_TRUE(falls_silent(each));
  }
}

INSTANTIATE_TEST_SUITE_P(Conntrack, ConntrackTest,
                         testing::Values(Param{"nftables", Family::V4}, Param{"nftables", Family::V6}),
                         [](const auto& param) {
                           return cat(param.param.dataplane, "_", net::to_string(param.param.family));
                         });

}  // namespace
}  // namespace fairlead::testbed
