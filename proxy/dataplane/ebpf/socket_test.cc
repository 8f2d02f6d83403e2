// Socket load balancing on the real kernel.
#include <gtest/gtest.h>

#include <set>

#include "proxy/dataplane/ebpf/ebpf.h"
#include "proxy/dataplane/ebpf/test_services.h"
#include "proxy/dataplane/ebpf/test_world.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;

class Sockets : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.enter(Place::Node);
    world_.serve(Place::Pod1, 8080, "one");
    world_.serve(Place::Pod2, 8080, "two");
    Result<std::unique_ptr<Dataplane>> opened = open(world_.options());
    ASSERT_TRUE(opened) << opened.error().message();
    dataplane_ = std::move(*opened);
  }
  void TearDown() override {
    if (dataplane_) {
      const Status removed = dataplane_->remove();
      EXPECT_TRUE(removed) << removed.error().message();
    }
  }
  void replace(const std::vector<model::ServiceState>& services) { expect_ok(dataplane_->replace({}, services)); }
  std::string from(Place place, const Ask& what) {
    return world_.run(place, Cgroup::Inside, [&] { return ask(what); });
  }
  // Who answers in some tries, without the client address.
  std::set<std::string> answers(Place place, const Ask& what, int tries = 20) {
    std::set<std::string> seen;
    for (int i = 0; i < tries; ++i) seen.insert(from(place, what));
    return seen;
  }

  World world_;
  std::unique_ptr<Dataplane> dataplane_;
};

TEST_F(Sockets, ConnectReachesEveryEndpointAndTheSocketBelievesInTheService) {
  replace({service("web").cluster_ip("10.96.0.1", 80).endpoint("10.1.0.11", 8080)});
  EXPECT_EQ(from(Place::Pod2, {.to = "10.96.0.1", .port = 80, .show_peer = true}),
            "one ::ffff:10.1.0.12 peer=10.96.0.1|80");
  replace({service("web").cluster_ip("10.96.0.1", 80).endpoint("10.1.0.11", 8080).endpoint("10.1.0.12", 8080)});
  EXPECT_EQ(answers(Place::Node, {.to = "10.96.0.1", .port = 80}),
            (std::set<std::string>{"one ::ffff:10.1.0.1", "two ::ffff:10.1.0.1"}));
}

TEST_F(Sockets, Ipv6AndV4MappedSocketsAreTranslated) {
  replace({service("six").cluster_ip("fd00:96::1", 80).endpoint("fd00:1::11", 8080),
           service("web").cluster_ip("10.96.0.1", 80).endpoint("10.1.0.11", 8080)});
  EXPECT_EQ(from(Place::Pod2, {.to = "fd00:96::1", .port = 80, .show_peer = true}),
            "one fd00:1::12 peer=fd00:96::1|80");
  EXPECT_EQ(from(Place::Pod2, {.to = "::ffff:10.96.0.1", .port = 80, .v6_socket = true, .show_peer = true}),
            "one ::ffff:10.1.0.12 peer=::ffff:10.96.0.1|80");
  EXPECT_EQ(from(Place::Pod2, {.to = "::ffff:10.96.0.1", .port = 80, .v6_socket = true}), "one ::ffff:10.1.0.12");
}

TEST_F(Sockets, UdpIsTranslatedBothWays) {
  replace({service("dns").udp().cluster_ip("10.96.0.10", 53).endpoint("10.1.0.11", 8080),
           service("dns6").udp().cluster_ip("fd00:96::a", 53).endpoint("fd00:1::11", 8080)});
  for (const bool connect : {true, false}) {
    EXPECT_EQ(from(Place::Pod2, {.to = "10.96.0.10", .port = 53, .udp = true, .connect = connect, .show_peer = true}),
              "one ::ffff:10.1.0.12 peer=10.96.0.10|53");
    EXPECT_EQ(from(Place::Pod2, {.to = "fd00:96::a", .port = 53, .udp = true, .connect = connect, .show_peer = true}),
              "one fd00:1::12 peer=fd00:96::a|53");
    EXPECT_EQ(from(Place::Pod2, {.to = "::ffff:10.96.0.10",
                                 .port = 53,
                                 .udp = true,
                                 .connect = connect,
                                 .v6_socket = true,
                                 .show_peer = true}),
              "one ::ffff:10.1.0.12 peer=::ffff:10.96.0.10|53");
  }
}

TEST_F(Sockets, AServiceWithoutEndpointsRefusesAtOnce) {
  replace({service("none").cluster_ip("10.96.0.1", 80), service("none-udp").udp().cluster_ip("10.96.0.1", 53)});
  EXPECT_EQ(from(Place::Pod1, {.to = "10.96.0.1", .port = 80}), "error: connect: Connection refused");
  EXPECT_EQ(from(Place::Pod1, {.to = "10.96.0.1", .port = 53, .udp = true}), "error: connect: Connection refused");
  EXPECT_EQ(from(Place::Pod1, {.to = "10.96.0.1", .port = 53, .udp = true, .connect = false}),
            "error: send: Connection refused");
}

TEST_F(Sockets, NodePortIsServedOnEveryAddressOfTheNode) {
  replace({service("web").node_port(30080).endpoint("10.1.0.11", 8080),
           service("web6").v6().node_port(30080).endpoint("fd00:1::12", 8080)});
  EXPECT_EQ(from(Place::Pod2, {.to = "192.0.2.1", .port = 30080, .show_peer = true}),
            "one ::ffff:10.1.0.12 peer=192.0.2.1|30080");
  EXPECT_EQ(from(Place::Node, {.to = "10.1.0.1", .port = 30080}), "one ::ffff:10.1.0.1");
  EXPECT_EQ(from(Place::Node, {.to = "fd00:2::1", .port = 30080}), "two fd00:1::1");
  EXPECT_EQ(from(Place::Node, {.to = "127.0.0.1", .port = 30080}), "error: connect: Connection refused");
}

TEST_F(Sockets, ANewAddressOfTheNodeServesNodePortsAfterTheNotification) {
  replace({service("web").node_port(30080).endpoint("10.1.0.11", 8080)});
  world_.shell(Place::Node, "ip addr add 192.0.2.77/24 dev up0");
  expect_ok(dataplane_->handle_notification());
  EXPECT_EQ(from(Place::Node, {.to = "192.0.2.77", .port = 30080}), "one ::ffff:10.1.0.1");
  world_.shell(Place::Node, "ip addr del 192.0.2.77/24 dev up0");
  EXPECT_EQ(dataplane_->handle_notification().kernel_writes, 1U);
}

TEST_F(Sockets, ARestartAdoptsEverythingAndWritesNothing) {
  const std::vector<model::ServiceState> services{
      service("web").cluster_ip("10.96.0.1", 80).node_port(30080).endpoint("10.1.0.11", 8080),
      service("none").cluster_ip("10.96.0.2", 80)};
  EXPECT_GT(dataplane_->replace({}, services).kernel_writes, 0U);
  EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U);
  dataplane_.reset();
  EXPECT_EQ(from(Place::Pod2, {.to = "10.96.0.1", .port = 80}), "one ::ffff:10.1.0.12");
  dataplane_ = std::move(*open(world_.options()));
  const Report report = dataplane_->replace({}, services);
  expect_ok(report);
  EXPECT_EQ(report.kernel_writes, 0U);
  EXPECT_EQ(from(Place::Pod2, {.to = "10.96.0.1", .port = 80}), "one ::ffff:10.1.0.12");
}

TEST_F(Sockets, RemoveLeavesNothingAndIsSafeTwice) {
  replace({service("web").cluster_ip("10.96.0.1", 80).endpoint("10.1.0.11", 8080)});
  ASSERT_TRUE(dataplane_->remove());
  ASSERT_TRUE(dataplane_->remove());
  EXPECT_EQ(world_.shell(Place::Node, "ls -A " + world_.options().bpf_root),
            "maps.debug\nprogs.debug\n");  // bpffs's own
  EXPECT_EQ(world_.shell(Place::Node, "bpftool cgroup show " + world_.options().cgroup), "");
  EXPECT_EQ(world_.shell(Place::Node, "bpftool net show dev up0 | grep fairlead || true"), "");
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
