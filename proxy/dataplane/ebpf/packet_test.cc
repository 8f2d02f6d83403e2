// Per-packet load balancing on the real kernel: clients outside the cgroup, so that no socket hook helps.
#include <gtest/gtest.h>

#include <set>

#include "base/strings.h"
#include "proxy/dataplane/ebpf/ebpf.h"
#include "proxy/dataplane/ebpf/install.h"
#include "proxy/dataplane/ebpf/test_services.h"
#include "proxy/dataplane/ebpf/test_world.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;
using base::cat;

struct Case {
  net::Family family;
  bool udp;
  TcHook hook = TcHook::Tcx;
};

class Packets : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    world_.enter(Place::Node);
    world_.serve(Place::Pod1, 8080, "one");
    world_.serve(Place::Pod2, 8080, "two");
    world_.serve(Place::FarPod, 8080, "far");
    world_.serve(Place::Node, 8080, "node");
    reopen();
  }
  // Kernels with tcx have clsact as well, so that both ways are tested on one.
  void reopen() {
    dataplane_.reset();
    Result<std::unique_ptr<Dataplane>> opened =
        open_with(world_.options(), make_attacher(GetParam().hook, links_dir(world_.options())));
    ASSERT_TRUE(opened) << opened.error().message();
    dataplane_ = std::move(*opened);
  }
  void TearDown() override {
    if (HasFailure()) {
      std::cerr << world_.shell(Place::Node, cat("bpftool map dump pinned ", world_.options().bpf_root,
                                                 "/t/v2/counters | grep -B1 -A3 'value.*[1-9]' | head -60"));
    }
    if (dataplane_) {
      EXPECT_TRUE(dataplane_->remove());
    }
  }
  void replace(const std::vector<model::ServiceState>& services) { expect_ok(dataplane_->replace({}, services)); }

  net::Family family() const { return GetParam().family; }
  bool v4() const { return family() == net::Family::V4; }
  std::string at(Place place) const { return World::address(place, family()); }
  // As a dual-stack server shows a client.
  std::string seen(Place place) const { return v4() ? "::ffff:" + at(place) : at(place); }
  std::string vip() const { return v4() ? "10.96.0.1" : "fd00:96::1"; }
  std::string external() const { return v4() ? "198.51.100.1" : "fd00:99::1"; }
  ServiceBuilder web() const {
    ServiceBuilder builder = service("web");
    if (GetParam().udp) builder.udp();
    if (!v4()) builder.v6();
    return builder;
  }
  std::string from(Place place, const std::string& to, std::uint16_t port, std::uint16_t from_port = 0) const {
    return world_.run(place, Cgroup::Outside, [&] {
      return ask({.to = to, .port = port, .udp = GetParam().udp, .from_port = from_port, .show_peer = true});
    });
  }
  std::string peer(const std::string& ip, std::uint16_t port) const { return cat(" peer=", ip, "|", port); }

  World world_;
  std::unique_ptr<Dataplane> dataplane_;
};

TEST_P(Packets, NodePortMasqueradesToPodsHereAndElsewhere) {
  for (const Place place : {Place::Pod1, Place::FarPod}) {
    replace({web().node_port(30080).masquerade().endpoint(at(place), 8080)});
    EXPECT_EQ(from(Place::Client, at(Place::Node), 30080),
              cat(place == Place::Pod1 ? "one " : "far ", seen(Place::Node), peer(at(Place::Node), 30080)));
  }
}

TEST_P(Packets, AnExternalAddressWithoutMasqueradeKeepsTheClientAddress) {
  replace({web().external_ip(external(), 80).endpoint(at(Place::Pod2), 8080)});
  EXPECT_EQ(from(Place::Client, external(), 80), cat("two ", seen(Place::Client), peer(external(), 80)));
}

TEST_P(Packets, APodReachesAClusterIpWithItsOwnAddress) {
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::Pod2), 8080)});
  EXPECT_EQ(from(Place::Pod1, vip(), 80), cat("two ", seen(Place::Pod1), peer(vip(), 80)));
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::FarPod), 8080)});
  EXPECT_EQ(from(Place::Pod1, vip(), 80), cat("far ", seen(Place::Pod1), peer(vip(), 80)));
}

TEST_P(Packets, APodReachesItselfThroughItsService) {
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::Pod1), 8080)});
  EXPECT_EQ(from(Place::Pod1, vip(), 80), cat("one ", seen(Place::Node), peer(vip(), 80)));
}

TEST_P(Packets, ANodeProcessOutsideTheCgroupIsServedOnItsWayOut) {
  for (const auto& [place, name] : {std::pair{Place::Pod1, "one "}, std::pair{Place::FarPod, "far "}}) {
    replace({web().cluster_ip(vip(), 80).endpoint(at(place), 8080)});
    EXPECT_EQ(from(Place::Node, vip(), 80), cat(name, seen(Place::Node), peer(vip(), 80)));
  }
}

TEST_P(Packets, AnEndpointInTheNodesNamespaceSeesTheClient) {
  replace({web().cluster_ip(vip(), 80).node_port(30080).masquerade().endpoint(at(Place::Node), 8080)});
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080),
            cat("node ", seen(Place::Client), peer(at(Place::Node), 30080)));
  if (GetParam().udp) return;  // a wildcard UDP socket answers the pod from another address of the node
  EXPECT_EQ(from(Place::Pod1, vip(), 80), cat("node ", seen(Place::Pod1), peer(vip(), 80)));
}

TEST_P(Packets, WithoutEndpointsTheClientIsRefusedAtOnce) {
  replace({web().cluster_ip(vip(), 80).node_port(30080)});
  const std::string refused =
      GetParam().udp ? "error: receive: Connection refused" : "error: connect: Connection refused";
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080), refused);
  EXPECT_EQ(from(Place::Pod1, vip(), 80), refused);
  EXPECT_EQ(from(Place::Node, vip(), 80), refused);
}

TEST_P(Packets, AFlowStaysWithAnEndpointThatServesAndIsCutWhenItDoesNot) {
  if (!GetParam().udp) return;  // one exchange is one connection: see the next test
  const auto dns = [&](Place place) { return web().node_port(30080).masquerade().endpoint(at(place), 8080); };
  replace({dns(Place::Pod1)});
  const std::string one = cat("one ", seen(Place::Node), peer(at(Place::Node), 30080));
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555), one);
  replace({dns(Place::Pod2).draining(at(Place::Pod1), 8080)});
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555), one);
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5556).substr(0, 3), "two");
  expect_ok(dataplane_->apply({.upserted = {dns(Place::Pod2)}, .deleted = {}}));
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555).substr(0, 3), "two");
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5556).substr(0, 3), "two");
  expect_ok(dataplane_->apply({.upserted = {web().node_port(30080)}, .deleted = {}}));
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555), "error: receive: Connection refused");
}

TEST_P(Packets, ASynOnAFinishedConnectionIsANewFlow) {
  if (GetParam().udp) return;
  replace({web().node_port(30080).masquerade().endpoint(at(Place::Pod1), 8080)});
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555).substr(0, 3), "one");
  replace({web().node_port(30080).masquerade().endpoint(at(Place::Pod2), 8080)});
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555).substr(0, 3), "two");
}

TEST_P(Packets, TwoClientsWithOneSourcePortAreKeptApart) {
  world_.shell(Place::Client, "ip addr add 192.0.2.11/24 dev eth0; ip addr add fd00:2::11/64 dev eth0 nodad");
  replace({web().node_port(30080).masquerade().endpoint(at(Place::Pod1), 8080)});
  const std::string one = cat("one ", seen(Place::Node), peer(at(Place::Node), 30080));
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555), one);
  world_.shell(Place::Client, v4() ? "ip route replace 192.0.2.1/32 dev eth0 src 192.0.2.11"
                                   : "ip -6 route replace fd00:2::1/128 dev eth0 src fd00:2::11");
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555), one);
}

TEST_P(Packets, OneClientThroughTwoServicesToOneEndpointIsKeptApart) {
  replace({web().external_ip(external(), 80).external_ip(external(), 81).endpoint(at(Place::Pod1), 8080)});
  EXPECT_EQ(from(Place::Client, external(), 80, 5555), cat("one ", seen(Place::Client), peer(external(), 80)));
  EXPECT_EQ(from(Place::Client, external(), 81, 5555), cat("one ", seen(Place::Client), peer(external(), 81)));
}

TEST_P(Packets, AClientMayComeToTheEndpointItselfFromThePortItUsedForTheService) {
  replace({web().external_ip(external(), 80).endpoint(at(Place::Pod1), 8080)});
  const std::string directly = cat("one ", seen(Place::Client), peer(at(Place::Pod1), 8080));
  const std::string through = cat("one ", seen(Place::Client), peer(external(), 80));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(from(Place::Client, external(), 80, 5555), through);
    EXPECT_EQ(from(Place::Client, at(Place::Pod1), 8080, 5555), directly);
  }
}

TEST_P(Packets, ANewInterfaceIsServedAfterTheNotificationAndForgottenWhenItGoes) {
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::Pod2), 8080)});
  const std::string links = cat("ls ", world_.options().bpf_root, "/t/links");
  const std::string before = world_.shell(Place::Node, links);
  world_.shell(Place::Node, "ip link add late type veth peer name late-peer");
  expect_ok(dataplane_->handle_notification());
  EXPECT_NE(world_.shell(Place::Node, links), before);
  world_.shell(Place::Node, "ip link del late");
  expect_ok(dataplane_->handle_notification());
  EXPECT_EQ(world_.shell(Place::Node, links), before);
  EXPECT_EQ(dataplane_->handle_notification().kernel_writes, 0U);
}

TEST_P(Packets, AnotherBuildIsSwappedInUnderTheLinks) {
  const std::vector<model::ServiceState> services{web().node_port(30080).masquerade().endpoint(at(Place::Pod1), 8080)};
  replace(services);
  const std::string answer = from(Place::Client, at(Place::Node), 30080);
  world_.shell(Place::Node, cat("bpftool map update pinned ", world_.options().bpf_root,
                                "/t/v2/build key 0 0 0 0 value 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"));
  reopen();
  const Report report = dataplane_->replace({}, services);
  expect_ok(report);
  EXPECT_EQ(world_.shell(Place::Node, "tc filter show dev up0 ingress | grep -c 'bpf.* id ' || true"),
            GetParam().hook == TcHook::Tcx ? "0\n" : "1\n");
  EXPECT_EQ(report.kernel_writes, 8U + 2U * 3U + 1U) << "cgroup links, two for each of three interfaces, the build";
  EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U);
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080), answer);
}

TEST_P(Packets, FlowsAreCarriedOverFromAnOlderLayout) {
  const std::vector<model::ServiceState> services{web().node_port(30080).masquerade().endpoint(at(Place::Pod1), 8080)};
  replace(services);
  const std::string answer = from(Place::Client, at(Place::Node), 30080, 5555);
  const std::string root = world_.options().bpf_root + "/t";
  const auto map_id = [&] {
    return world_.shell(Place::Node, cat("bpftool map show pinned ", root, "/v2/flows | head -1"));
  };
  const std::string before = map_id();
  dataplane_.reset();
  world_.shell(Place::Node, cat("mkdir ", root, "/v1; bpftool map pin pinned ", root, "/v2/flows ", root,
                                "/v1/flows; rm -r ", root, "/v2"));
  reopen();
  replace(services);
  EXPECT_EQ(map_id(), before);
  EXPECT_EQ(world_.shell(Place::Node, "ls " + root), "links\nv2\n");
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080, 5555), answer);
}

TEST_P(Packets, ARestartServesOnAndWritesNothing) {
  const std::vector<model::ServiceState> services{web().node_port(30080).masquerade().endpoint(at(Place::Pod1), 8080)};
  replace(services);
  const std::string answer = from(Place::Client, at(Place::Node), 30080);
  EXPECT_EQ(answer.substr(0, 4), "one ");
  dataplane_.reset();
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080), answer);
  reopen();
  const Report report = dataplane_->replace({}, services);
  expect_ok(report);
  EXPECT_EQ(report.kernel_writes, 0U);
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080), answer);
}

TEST_P(Packets, RemoveLeavesNothing) {
  const std::string qdiscs = world_.shell(Place::Node, "tc qdisc show");
  replace({web().node_port(30080).masquerade().endpoint(at(Place::Pod1), 8080)});
  EXPECT_EQ(from(Place::Client, at(Place::Node), 30080).substr(0, 4), "one ");
  // Whoever removes need not know how it was attached.
  dataplane_.reset();
  ASSERT_TRUE(remove(world_.options()));
  ASSERT_TRUE(remove(world_.options()));
  EXPECT_EQ(world_.shell(Place::Node, "tc qdisc show"), qdiscs);
  EXPECT_EQ(world_.shell(Place::Node, "bpftool net show | grep -E 'tc_(in|e)gress' || true"), "");
  EXPECT_EQ(world_.shell(Place::Node, "ls -A " + world_.options().bpf_root), "maps.debug\nprogs.debug\n");
}

TEST_P(Packets, ARouterThatNeedsSmallerPacketsIsHeardByTheSender) {
  if (!GetParam().udp) return;  // one large datagram provokes the error
  world_.shell(Place::Client, "ip link set far0 mtu 1300");
  replace({web().cluster_ip(vip(), 80).node_port(30080).masquerade().endpoint(at(Place::FarPod), 8080)});
  world_.run(Place::Pod1, Cgroup::Outside, [&] {
    Ask what{.to = vip(), .port = 80, .udp = true};
    what.payload_bytes = 1400;
    what.timeout_ms = 500;
    return ask(what);
  });
  const std::string route = world_.shell(Place::Pod1, "ip route get " + vip());
  EXPECT_NE(route.find("mtu 1300"), route.npos) << route;
}

TEST_P(Packets, AFragmentedDatagramArrivesWhole) {
  if (!GetParam().udp) return;
  replace({web().node_port(30080).masquerade().endpoint(at(Place::FarPod), 8080)});
  const std::string answer = world_.run(Place::Client, Cgroup::Outside, [&] {
    Ask what{.to = at(Place::Node), .port = 30080, .udp = true};
    what.payload_bytes = 5000;
    return ask(what);
  });
  EXPECT_EQ(answer, cat("far ", seen(Place::Node)));
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  return cat(info.param.udp ? "Udp" : "Tcp", info.param.family == net::Family::V4 ? "4" : "6",
             info.param.hook == TcHook::Tcx ? "" : "Clsact");
}
INSTANTIATE_TEST_SUITE_P(All, Packets,
                         ::testing::Values(Case{net::Family::V4, false}, Case{net::Family::V4, true},
                                           Case{net::Family::V6, false}, Case{net::Family::V6, true},
                                           Case{net::Family::V4, false, TcHook::Clsact},
                                           Case{net::Family::V4, true, TcHook::Clsact},
                                           Case{net::Family::V6, false, TcHook::Clsact},
                                           Case{net::Family::V6, true, TcHook::Clsact}),
                         name_of);

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
