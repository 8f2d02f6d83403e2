// The rules of services, one by one, at the socket hooks: clients inside the cgroup.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "proxy/dataplane/ebpf/counters.h"
#include "proxy/dataplane/ebpf/ebpf.h"
#include "proxy/dataplane/ebpf/test_services.h"
#include "proxy/dataplane/ebpf/test_world.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;
using base::cat;

const char* const kTcpRefused = "error: connect: Connection refused";

class SocketRules : public ::testing::TestWithParam<net::Family> {
 protected:
  void SetUp() override {
    world_.enter(Place::Node);
    world_.serve(Place::Pod1, 8080, "one");
    world_.serve(Place::Pod2, 8080, "two");
    world_.serve(Place::FarPod, 8080, "far");
    world_.serve(Place::Node, 8080, "node");
    Result<std::unique_ptr<Dataplane>> opened = open(world_.options());
    ASSERT_TRUE(opened) << opened.error().message();
    dataplane_ = std::move(*opened);
  }
  void TearDown() override {
    if (dataplane_) {
      EXPECT_TRUE(dataplane_->remove());
    }
  }
  void replace(const std::vector<model::ServiceState>& services) { expect_ok(dataplane_->replace(node_, services)); }
  void apply(const model::ServiceState& service) {
    expect_ok(dataplane_->apply({.upserted = {service}, .deleted = {}}));
  }

  bool v4() const { return GetParam() == net::Family::V4; }
  std::string at(Place place) const { return World::address(place, GetParam()); }
  std::string seen(Place place) const { return v4() ? "::ffff:" + at(place) : at(place); }
  std::string vip() const { return v4() ? "10.96.0.1" : "fd00:96::1"; }
  std::string external() const { return v4() ? "198.51.100.1" : "fd00:99::1"; }
  std::string host(const std::string& ip) const { return cat(ip, v4() ? "/32" : "/128"); }
  net::Prefix pods() const { return *net::Prefix::parse(v4() ? "10.1.0.0/24" : "fd00:1::/64"); }
  ServiceBuilder web() const {
    ServiceBuilder builder = service("web");
    if (!v4()) builder.v6();
    return builder;
  }
  std::string from(Place place, const Ask& what) const {
    return world_.run(place, Cgroup::Inside, [&] { return ask(what); });
  }
  std::string from(Place place, const std::string& to, std::uint16_t port, int timeout_ms = 3000) const {
    return from(place, Ask{.to = to, .port = port, .timeout_ms = timeout_ms});
  }
  std::set<std::string> answers(Place place, const Ask& what, int tries = 16) const {
    std::set<std::string> out;
    for (int i = 0; i < tries; ++i) out.insert(from(place, what));
    return out;
  }
  std::uint64_t counted(std::string_view name) const {
    const auto counters = read_counters(world_.options());
    if (!counters) return 0;
    for (const auto& [counter, value] : *counters) {
      if (counter == name) return value;
    }
    return 0;
  }

  World world_;
  model::NodeState node_;
  std::unique_ptr<Dataplane> dataplane_;
};

// A UDP socket of the calling process, connected or not, that keeps its address while it is used again and again.
class Socket {
 public:
  Socket(const std::string& to, std::uint16_t port, bool connect) : connected_(connect) {
    const bool v6 = to.find(':') != std::string::npos;
    fd_ = base::Fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0));
    const timeval patience{2, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (v6) {
      auto* a = reinterpret_cast<sockaddr_in6*>(&to_);
      a->sin6_family = AF_INET6;
      a->sin6_port = htons(port);
      ::inet_pton(AF_INET6, to.c_str(), &a->sin6_addr);
      size_ = sizeof *a;
    } else {
      auto* a = reinterpret_cast<sockaddr_in*>(&to_);
      a->sin_family = AF_INET;
      a->sin_port = htons(port);
      ::inet_pton(AF_INET, to.c_str(), &a->sin_addr);
      size_ = sizeof *a;
    }
    if (connect) (void)::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to_), size_);
  }
  // The first word of the answer, "refused" or "silence"; "stranger" when it does not come from the service.
  std::string exchange() {
    const auto* to = connected_ ? nullptr : reinterpret_cast<sockaddr*>(&to_);
    char buffer[256];
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    ssize_t got = ::sendto(fd_.get(), "?", 1, 0, to, connected_ ? 0 : size_);
    if (got > 0) got = ::recvfrom(fd_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&peer), &size);
    if (got < 0) return errno == ECONNREFUSED ? "refused" : "silence";
    if (std::memcmp(&peer, &to_, 8) != 0) return "stranger";
    const std::string_view answer(buffer, static_cast<std::size_t>(got));
    return std::string(answer.substr(0, answer.find(' ')));
  }

 private:
  base::Fd fd_;
  bool connected_;
  sockaddr_storage to_{};
  socklen_t size_ = 0;
};

// ------------------------------------------------------------------------------------------------ affinity

TEST_P(SocketRules, ANamespaceStaysWithOneEndpointOfAService) {
  ServiceBuilder web = this->web().cluster_ip(vip(), 80).external_ip(external(), 80);
  for (const Place place : {Place::Pod1, Place::Pod2, Place::FarPod}) web.endpoint(at(place), 8080);
  replace({web});
  EXPECT_EQ(answers(Place::Node, {.to = vip(), .port = 80}, 40).size(), 3U) << "without affinity";
  web.affinity(60);
  replace({web});
  std::set<std::string> servers = answers(Place::Node, {.to = vip(), .port = 80});
  servers.merge(answers(Place::Node, {.to = external(), .port = 80}));
  EXPECT_EQ(servers.size(), 1U);
  EXPECT_EQ(answers(Place::Pod2, {.to = vip(), .port = 80}).size(), 1U);
  EXPECT_GT(counted("affinity_kept"), 0U);
}

TEST_P(SocketRules, ANamespaceThatLosesItsEndpointIsGivenAnother) {
  const auto with = [&](Place place) { return web().cluster_ip(vip(), 80).affinity(60).endpoint(at(place), 8080); };
  replace({with(Place::Pod1)});
  EXPECT_EQ(from(Place::Node, vip(), 80).substr(0, 3), "one");
  apply(with(Place::FarPod));
  EXPECT_EQ(from(Place::Node, vip(), 80).substr(0, 3), "far");
  apply(with(Place::FarPod).endpoint(at(Place::Pod1), 8080));
  EXPECT_EQ(from(Place::Node, vip(), 80).substr(0, 3), "far");
}

// ------------------------------------------------------------------------------------------------
// externalTrafficPolicy

TEST_P(SocketRules, ExternalTrafficPolicyLocalServesTheNodeAndItsPodsFromEverywhere) {
  const model::ServiceState web = this->web()
                                      .external_ip(external(), 80)
                                      .short_circuit()
                                      .endpoint(at(Place::Pod1), 8080, true)
                                      .endpoint(at(Place::FarPod), 8080);
  const Ask what{.to = external(), .port = 80};
  node_.pods.sources = {pods()};
  replace({web});
  EXPECT_EQ(answers(Place::Node, what).size(), 2U);
  EXPECT_EQ(answers(Place::Pod2, what),
            (std::set<std::string>{"one " + seen(Place::Pod2), "far " + seen(Place::Pod2)}));
  node_.pods = {};
  replace({web});
  EXPECT_EQ(answers(Place::Node, what).size(), 2U);
  EXPECT_EQ(answers(Place::Pod2, what), std::set<std::string>{"one " + seen(Place::Pod2)})
      << "pods cannot be told from strangers";
}

// ------------------------------------------------------------------------------------------------ source ranges

TEST_P(SocketRules, ARestrictedFrontendIsServedByTheRealSourceOfAPodAndOfTheNode) {
  const auto web = [&](const std::string& allowed, Place endpoint) {
    return this->web().external_ip(external(), 80).masquerade().only_for({host(allowed)}).endpoint(at(endpoint), 8080);
  };
  for (const auto& [endpoint, name] :
       {std::pair{Place::Pod1, "one"}, std::pair{Place::FarPod, "far"}, std::pair{Place::Node, "node"}}) {
    replace({web(at(Place::Pod2), endpoint)});
    EXPECT_EQ(base::split(from(Place::Pod2, external(), 80), ' ')[0], name);
    const std::uint64_t denied = counted("packets_source_denied");
    EXPECT_EQ(from(Place::Node, external(), 80, 300), "error: connect: Operation now in progress");
    EXPECT_GT(counted("packets_source_denied"), denied);
    replace({web(at(Place::Node), endpoint)});
    EXPECT_EQ(base::split(from(Place::Node, external(), 80), ' ')[0], name);
    EXPECT_EQ(from(Place::Pod2, external(), 80, 300), "error: connect: Operation now in progress");
  }
}

// ------------------------------------------------------------------------------------------------ node ports

TEST_P(SocketRules, NodePortsOnLoopbackAreTheNodesOwnAndOnlyIfWanted) {
  const std::string loopback = v4() ? "127.0.0.1" : "::1";
  const std::vector<model::ServiceState> services{web().node_port(30080).endpoint(at(Place::Pod1), 8080),
                                                  ServiceBuilder(v4() ? service("dns") : service("dns").v6())
                                                      .udp()
                                                      .node_port(30053)
                                                      .endpoint(at(Place::Pod1), 8080)};
  replace(services);
  EXPECT_EQ(from(Place::Node, loopback, 30080), kTcpRefused);
  node_.localhost_node_ports = true;
  replace(services);
  EXPECT_EQ(from(Place::Node, {.to = loopback, .port = 30080, .show_peer = true}).substr(0, 3), "one");
  for (const bool connect : {true, false}) {
    const std::string answer =
        from(Place::Node, {.to = loopback, .port = 30053, .udp = true, .connect = connect, .show_peer = true});
    EXPECT_EQ(answer.substr(0, 3), "one");
    EXPECT_EQ(answer.substr(answer.find(" peer")), cat(" peer=", loopback, "|30053"));
  }
  EXPECT_EQ(from(Place::Pod2, loopback, 30080), kTcpRefused) << "a pod's loopback is its own";
  EXPECT_EQ(from(Place::Node, loopback, 8080).substr(0, 4), "node") << "what is no NodePort is left alone";
  EXPECT_EQ(dataplane_->replace(node_, services).kernel_writes, 0U);
}

TEST_P(SocketRules, NodePortsAnswerOnTheGivenAddressesAlone) {
  node_.node_port_addresses = {*net::Prefix::parse(host(at(Place::Node)))};
  replace({web().node_port(30080).endpoint(at(Place::Pod1), 8080)});
  EXPECT_EQ(from(Place::Pod2, at(Place::Node), 30080).substr(0, 3), "one");
  EXPECT_EQ(from(Place::Pod2, v4() ? "10.1.0.1" : "fd00:1::1", 30080), kTcpRefused);
}

// ------------------------------------------------------------------------------------------------ addresses of
// services

TEST_P(SocketRules, AnUnknownPortOfAClusterIpIsRefusedAndAnAddressWithoutServiceIsSilent) {
  node_.service_cidrs = {*net::Prefix::parse(v4() ? "10.96.0.0/16" : "fd00:96::/112")};
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::Pod1), 8080)});
  for (const Place place : {Place::Node, Place::Pod2}) {
    EXPECT_EQ(from(place, vip(), 81), kTcpRefused);
    EXPECT_EQ(from(place, {.to = vip(), .port = 80, .udp = true}), kTcpRefused);
    EXPECT_EQ(from(place, {.to = vip(), .port = 80, .udp = true, .connect = false}), "error: send: Connection refused");
    EXPECT_EQ(from(place, v4() ? "10.96.0.99" : "fd00:96::99", 80, 300), "error: connect: Operation now in progress");
  }
  EXPECT_GT(counted("packets_unallocated"), 0U);
}

// ------------------------------------------------------------------------------------------------ UDP

TEST_P(SocketRules, AUdpSocketMovesWhenItsEndpointIsGoneAndStaysWhileItServes) {
  const auto dns = [&](const std::vector<Place>& places) {
    ServiceBuilder builder = web().udp().cluster_ip(vip(), 53);
    for (const Place place : places) builder.endpoint(at(place), 8080);
    return builder;
  };
  for (const bool connect : {true, false}) {
    for (const Place place : {Place::Pod2, Place::Node}) {
      replace({dns({Place::Pod1})});
      // The maps are the kernel's, whoever writes them: the child changes the service between two datagrams.
      EXPECT_EQ(world_.run(place, Cgroup::Inside,
                           [&] {
                             Socket socket(vip(), 53, connect);
                             std::string said = socket.exchange();
                             const auto then = [&](const model::ServiceState& state) {
                               dataplane_->apply({.upserted = {state}, .deleted = {}});
                               for (int i = 0; i < 3; ++i) said += " " + socket.exchange();
                             };
                             then(dns({Place::FarPod, Place::Pod1}));
                             then(dns({Place::FarPod}).draining(at(Place::Pod1), 8080));
                             then(dns({Place::FarPod}));
                             then(dns({}));
                             return said;
                           }),
                "one one one one one one one far far far refused refused refused")
          << (connect ? "connected" : "unconnected") << (place == Place::Node ? " on the node" : " in a pod");
    }
  }
  EXPECT_GT(counted("udp_moved"), 0U);
}

TEST_P(SocketRules, AConnectedUdpSocketOfADeletedServiceIsRefused) {
  replace({web().udp().cluster_ip(vip(), 53).endpoint(at(Place::Pod1), 8080)});
  EXPECT_EQ(world_.run(Place::Pod2, Cgroup::Inside,
                       [&] {
                         Socket socket(vip(), 53, true);
                         std::string said = socket.exchange();
                         dataplane_->apply({.upserted = {}, .deleted = {{"ns", "web"}}});
                         return said + " " + socket.exchange();
                       }),
            "one refused");
}

INSTANTIATE_TEST_SUITE_P(All, SocketRules, ::testing::Values(net::Family::V4, net::Family::V6),
                         [](const auto& p) { return p.param == net::Family::V4 ? "V4" : "V6"; });

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
