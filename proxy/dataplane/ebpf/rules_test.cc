// The rules of services, one by one, per packet: clients outside the cgroup, so that no socket hook helps.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <time.h>

#include <functional>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "proxy/dataplane/ebpf/counters.h"
#include "proxy/dataplane/ebpf/ebpf.h"
#include "proxy/dataplane/ebpf/layout.h"
#include "proxy/dataplane/ebpf/test_services.h"
#include "proxy/dataplane/ebpf/test_world.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;
using base::cat;

struct Case {
  net::Family family;
  bool udp;
};

class Rules : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    world_.enter(Place::Node);
    world_.serve(Place::Pod1, 8080, "one");
    world_.serve(Place::Pod2, 8080, "two");
    world_.serve(Place::FarPod, 8080, "far");
    world_.serve(Place::Node, 8080, "node");
    reopen();
  }
  void TearDown() override {
    if (dataplane_) {
      EXPECT_TRUE(dataplane_->remove());
    }
  }
  void reopen() {
    dataplane_.reset();
    Result<std::unique_ptr<Dataplane>> opened = open(world_.options());
    ASSERT_TRUE(opened) << opened.error().message();
    dataplane_ = std::move(*opened);
  }
  void replace(const std::vector<model::ServiceState>& services) { expect_ok(dataplane_->replace(node_, services)); }

  bool v4() const { return GetParam().family == net::Family::V4; }
  std::string at(Place place) const { return World::address(place, GetParam().family); }
  std::string seen(Place place) const { return v4() ? "::ffff:" + at(place) : at(place); }
  std::string vip() const { return v4() ? "10.96.0.1" : "fd00:96::1"; }
  std::string nobody() const { return v4() ? "10.96.0.99" : "fd00:96::99"; }
  std::string external() const { return v4() ? "198.51.100.1" : "fd00:99::1"; }
  net::Prefix pods() const { return *net::Prefix::parse(v4() ? "10.1.0.0/24" : "fd00:1::/64"); }
  net::Prefix service_cidr() const { return *net::Prefix::parse(v4() ? "10.96.0.0/16" : "fd00:96::/112"); }
  std::string host(Place place) const { return cat(at(place), v4() ? "/32" : "/128"); }

  ServiceBuilder web() const {
    ServiceBuilder builder = service("web");
    if (GetParam().udp) builder.udp();
    if (!v4()) builder.v6();
    return builder;
  }
  ServiceBuilder& all_endpoints(ServiceBuilder& builder) const {
    return builder.endpoint(at(Place::Pod1), 8080, true)
        .endpoint(at(Place::Pod2), 8080, true)
        .endpoint(at(Place::FarPod), 8080);
  }
  std::string from(Place place, const std::string& to, std::uint16_t port, int timeout_ms = 3000) const {
    return world_.run(place, Cgroup::Outside,
                      [&] { return ask({.to = to, .port = port, .udp = GetParam().udp, .timeout_ms = timeout_ms}); });
  }
  std::set<std::string> answers(Place place, const std::string& to, std::uint16_t port, int tries = 16) const {
    std::set<std::string> out;
    for (int i = 0; i < tries; ++i) out.insert(from(place, to, port));
    return out;
  }
  std::string refused() const {
    return GetParam().udp ? "error: receive: Connection refused" : "error: connect: Connection refused";
  }
  // Nobody answers and nobody refuses.
  void expect_silence(Place place, const std::string& to, std::uint16_t port, std::string_view counter) const {
    const std::uint64_t before = counted(counter);
    const std::string answer = from(place, to, port, 300);
    EXPECT_TRUE(answer == "error: receive: Resource temporarily unavailable" ||
                answer == "error: connect: Operation now in progress")
        << answer;
    EXPECT_GT(counted(counter), before) << counter;
  }
  std::uint64_t counted(std::string_view name) const {
    const auto counters = read_counters(world_.options());
    if (!counters) return 0;
    for (const auto& [counter, value] : *counters) {
      if (counter == name) return value;
    }
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }
  // Lets `seconds` pass for every client with affinity; returns how long ago the most recent connection then was.
  std::uint32_t age_affinity(std::uint32_t seconds) const {
    const base::Fd map(::bpf_obj_get((world_.options().bpf_root + "/t/v2/affinity").c_str()));
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    std::uint32_t youngest = ~0U;
    bpf::affinity_key key{};
    for (bool first = true; ::bpf_map_get_next_key(map.get(), first ? nullptr : &key, &key) == 0; first = false) {
      bpf::affinity row{};
      if (::bpf_map_lookup_elem(map.get(), &key, &row) != 0) continue;
      row.seen -= seconds;
      youngest = std::min(youngest, static_cast<std::uint32_t>(now.tv_sec) - row.seen);
      ::bpf_map_update_elem(map.get(), &key, &row, BPF_EXIST);
    }
    return youngest;
  }

  World world_;
  model::NodeState node_;
  std::unique_ptr<Dataplane> dataplane_;
};

// ------------------------------------------------------------------------------------------------ affinity

TEST_P(Rules, AClientStaysWithOneEndpointThroughEveryFrontendAndOverARestart) {
  ServiceBuilder web = this->web().external_ip(external(), 80).masquerade().node_port(30080).masquerade();
  all_endpoints(web);
  replace({web});
  EXPECT_EQ(answers(Place::Client, external(), 80, 40).size(), 3U) << "without affinity";
  web.affinity(60);
  replace({web});
  std::set<std::string> servers{from(Place::Client, external(), 80).substr(0, 4)};
  EXPECT_EQ(servers.count("erro"), 0U);
  for (const bool node_port : {false, true}) {
    for (const std::string& answer :
         answers(Place::Client, node_port ? at(Place::Node) : external(), node_port ? 30080 : 80))
      servers.insert(answer.substr(0, 4));
  }
  EXPECT_EQ(servers.size(), 1U);
  reopen();
  EXPECT_EQ(dataplane_->replace(node_, {web}).kernel_writes, 0U);
  for (const std::string& answer : answers(Place::Client, external(), 80)) servers.insert(answer.substr(0, 4));
  EXPECT_EQ(servers.size(), 1U);
}

TEST_P(Rules, AnEndpointThatLeavesLosesItsClientsAtOnceAndForGood) {
  const auto with = [&](const std::vector<Place>& places) {
    ServiceBuilder web = this->web().external_ip(external(), 80).masquerade().affinity(60);
    for (const Place place : places) web.endpoint(at(place), 8080);
    replace({web});
    return from(Place::Client, external(), 80).substr(0, 4);
  };
  EXPECT_EQ(with({Place::Pod1}), "one ");
  EXPECT_EQ(with({Place::Pod1, Place::Pod2, Place::FarPod}), "one ") << "others come, and it has another slot";
  EXPECT_EQ(with({Place::Pod2}), "two ");
  EXPECT_EQ(with({Place::Pod1, Place::Pod2, Place::FarPod}), "two ");
}

TEST_P(Rules, AffinityEndsWhenNoConnectionCameForItsTime) {
  ServiceBuilder web = this->web().external_ip(external(), 80).masquerade().affinity(600);
  all_endpoints(web);
  replace({web});
  const std::string first = from(Place::Client, external(), 80);
  EXPECT_NE(first.substr(0, 5), "error");
  for (int i = 0; i < 12; ++i) {
    age_affinity(500);
    EXPECT_EQ(from(Place::Client, external(), 80), first) << "each connection begins the time anew";
  }
  EXPECT_LT(age_affinity(0), 400U);
  std::set<std::string> servers;
  for (int i = 0; i < 40; ++i) {
    age_affinity(601);
    servers.insert(from(Place::Client, external(), 80));
  }
  EXPECT_EQ(servers, (std::set<std::string>{"one " + seen(Place::Node), "two " + seen(Place::Node),
                                            "far " + seen(Place::Node)}));
}

// ------------------------------------------------------------------------------------------------
// externalTrafficPolicy

TEST_P(Rules, ExternalTrafficPolicyLocalServesStrangersHereAndPodsEverywhere) {
  const model::ServiceState web = this->web()
                                      .external_ip(external(), 80)
                                      .short_circuit()
                                      .node_port(30080)
                                      .short_circuit()
                                      .endpoint(at(Place::Pod1), 8080, true)
                                      .endpoint(at(Place::FarPod), 8080);
  const auto expect_served = [&] {
    EXPECT_EQ(answers(Place::Client, external(), 80), std::set<std::string>{"one " + seen(Place::Client)});
    EXPECT_EQ(answers(Place::Client, at(Place::Node), 30080), std::set<std::string>{"one " + seen(Place::Client)});
    EXPECT_EQ(answers(Place::Pod2, external(), 80),
              (std::set<std::string>{"one " + seen(Place::Pod2), "far " + seen(Place::Pod2)}));
    EXPECT_EQ(answers(Place::Node, external(), 80),
              (std::set<std::string>{"one " + seen(Place::Node), "far " + seen(Place::Node)}));
  };
  node_.pods.sources = {pods()};
  replace({web});
  expect_served();
  node_.pods = {.sources = {}, .interface = "pod", .interface_is_prefix = true};
  replace({web});
  expect_served();
  node_.pods = {};
  replace({web});
  EXPECT_EQ(answers(Place::Pod2, external(), 80), std::set<std::string>{"one " + seen(Place::Pod2)})
      << "a pod that cannot be told is a stranger";
}

TEST_P(Rules, WithoutALocalEndpointStrangersMeetSilenceAndPodsAreServed) {
  node_.pods.sources = {pods()};
  const auto web = [&] { return this->web().external_ip(external(), 80).short_circuit(); };
  replace({web().endpoint(at(Place::FarPod), 8080)});
  expect_silence(Place::Client, external(), 80, "packets_dropped");
  EXPECT_EQ(from(Place::Pod2, external(), 80), "far " + seen(Place::Pod2));
  replace({web()});
  EXPECT_EQ(from(Place::Pod2, external(), 80), refused()) << "an empty cluster set is refused in any case";
}

// ------------------------------------------------------------------------------------------------ masquerade

TEST_P(Rules, AClusterIpMasqueradesStrangersAndNotPods) {
  node_.pods.sources = {pods()};
  replace({web().cluster_ip(vip(), 80).masquerade_off_cluster().endpoint(at(Place::Pod1), 8080)});
  EXPECT_EQ(from(Place::Client, vip(), 80), "one " + seen(Place::Node));
  EXPECT_EQ(from(Place::Pod2, vip(), 80), "one " + seen(Place::Pod2));
}

// ------------------------------------------------------------------------------------------------ source ranges

TEST_P(Rules, ARestrictedFrontendIsForItsSourcesAlone) {
  const auto web = [&](const std::vector<std::string>& ranges) {
    return this->web().external_ip(external(), 80).masquerade().only_for(ranges).cluster_ip(vip(), 80);
  };
  const auto with_endpoint = [&](const std::vector<std::string>& ranges) {
    return web(ranges).endpoint(at(Place::Pod1), 8080);
  };
  replace({with_endpoint({host(Place::Client)})});
  EXPECT_EQ(from(Place::Client, external(), 80), "one " + seen(Place::Node));
  expect_silence(Place::Pod2, external(), 80, "packets_source_denied");
  expect_silence(Place::Node, external(), 80, "packets_source_denied");
  EXPECT_EQ(from(Place::Pod2, vip(), 80), "one " + seen(Place::Pod2)) << "other frontends are not restricted";
  expect_ok(dataplane_->apply({.upserted = {with_endpoint({pods().to_string()})}, .deleted = {}}));
  EXPECT_EQ(from(Place::Pod2, external(), 80), "one " + seen(Place::Node));
  expect_silence(Place::Client, external(), 80, "packets_source_denied");
  replace({web({host(Place::Client)})});
  EXPECT_EQ(from(Place::Client, external(), 80), refused());
  expect_silence(Place::Pod2, external(), 80, "packets_source_denied");
  replace({with_endpoint({})});
  expect_silence(Place::Client, external(), 80, "packets_source_denied");
}

// ------------------------------------------------------------------------------------------------ node ports

TEST_P(Rules, NodePortsAnswerOnTheGivenAddressesAlone) {
  const std::string inner = v4() ? "10.1.0.1" : "fd00:1::1";
  const model::ServiceState web = this->web().node_port(30080).masquerade().endpoint(at(Place::Pod1), 8080);
  replace({web});
  EXPECT_EQ(from(Place::Pod2, inner, 30080), "one " + seen(Place::Node));
  node_.node_port_addresses = {*net::Prefix::parse(host(Place::Node))};
  replace({web});
  EXPECT_EQ(from(Place::Pod2, inner, 30080), refused());
  EXPECT_EQ(from(Place::Pod2, at(Place::Node), 30080), "one " + seen(Place::Node));
  EXPECT_EQ(dataplane_->replace(node_, {web}).kernel_writes, 0U);
  // One that comes, and is inside; deprecated, so that the node does not take it as its source from now on.
  node_.node_port_addresses = {*net::Prefix::parse(v4() ? "192.0.2.0/24" : "fd00:2::/64")};
  replace({web});
  const std::string late = v4() ? "192.0.2.77" : "fd00:2::77";
  world_.shell(Place::Node,
               cat("ip addr add ", late, v4() ? "/24" : "/64", " dev up0", v4() ? "" : " nodad preferred_lft 0"));
  expect_ok(dataplane_->handle_notification());
  EXPECT_EQ(from(Place::Client, late, 30080), "one " + seen(Place::Node));
}

// ------------------------------------------------------------------------------------------------ addresses of
// services

TEST_P(Rules, AnUnknownPortOfAClusterIpIsRefusedAndAnAddressWithoutServiceIsSilent) {
  node_.service_cidrs = {service_cidr()};
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::Pod1), 8080)});
  for (const Place place : {Place::Pod2, Place::Client, Place::Node}) {
    EXPECT_EQ(from(place, vip(), 81), refused());
    expect_silence(place, nobody(), 80, "packets_unallocated");
    EXPECT_EQ(from(place, vip(), 80).substr(0, 4), "one ");
  }
  // A process of the node may have the address; then it is nobody else's business.
  world_.shell(Place::Node,
               cat("ip addr add ", nobody(), v4() ? "/32" : "/128", " dev lo", v4() ? "" : " nodad preferred_lft 0"));
  expect_ok(dataplane_->handle_notification());
  EXPECT_EQ(from(Place::Pod2, nobody(), 81), refused()) << "by the stack, which has no such socket";
  if (GetParam().udp) return;  // a wildcard UDP socket answers from another address
  EXPECT_EQ(from(Place::Pod2, nobody(), 8080), "node " + seen(Place::Pod2));
}

TEST_P(Rules, WithoutAServiceNetworkNothingIsDropped) {
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::Pod1), 8080)});
  const std::uint64_t before = counted("packets_unallocated");
  from(Place::Pod2, nobody(), 80, 300);
  EXPECT_EQ(counted("packets_unallocated"), before);
}

// ------------------------------------------------------------------------------------------------ UDP

TEST_P(Rules, ADeletedUdpServiceLosesItsFlows) {
  if (!GetParam().udp) return;
  node_.service_cidrs = {service_cidr()};
  replace({web().cluster_ip(vip(), 80).endpoint(at(Place::Pod1), 8080)});
  const auto exchange = [&](int timeout_ms) {
    return world_.run(Place::Pod2, Cgroup::Outside, [&] {
      return ask({.to = vip(), .port = 80, .udp = true, .from_port = 5555, .timeout_ms = timeout_ms});
    });
  };
  EXPECT_EQ(exchange(3000), "one " + seen(Place::Pod2));
  expect_ok(dataplane_->apply({.upserted = {}, .deleted = {{"ns", "web"}}}));
  EXPECT_EQ(exchange(300), "error: receive: Resource temporarily unavailable");
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  return cat(info.param.udp ? "Udp" : "Tcp", info.param.family == net::Family::V4 ? "4" : "6");
}
INSTANTIATE_TEST_SUITE_P(All, Rules,
                         ::testing::Values(Case{net::Family::V4, false}, Case{net::Family::V4, true},
                                           Case{net::Family::V6, false}, Case{net::Family::V6, true}),
                         name_of);

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
