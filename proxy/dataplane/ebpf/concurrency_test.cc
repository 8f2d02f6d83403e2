// Readers in the kernel while the agent writes: every packet meets the old endpoints or the new ones.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <net/if.h>

#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include "base/strings.h"
#include "proxy/dataplane/ebpf/counters.h"
#include "proxy/dataplane/ebpf/ebpf.h"
#include "proxy/dataplane/ebpf/layout.h"
#include "proxy/dataplane/ebpf/test_services.h"
#include "proxy/dataplane/ebpf/test_world.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;
constexpr int kTcRedirect = 7;  // TC_ACT_REDIRECT
constexpr unsigned char kUplinkMac[ETH_ALEN] = {2, 0, 0, 0, 0, 1};

struct [[gnu::packed]] Syn {
  ethhdr eth;
  iphdr ip;
  tcphdr tcp;
};

std::uint32_t v4(const std::string& text) { return net::Ip::parse(text)->v4_be(); }

Syn make_syn(const std::string& to, std::uint16_t sport) {
  Syn syn{};
  std::memcpy(syn.eth.h_dest, kUplinkMac, sizeof kUplinkMac);  // else it is somebody else's frame
  syn.eth.h_proto = to_be16(ETH_P_IP);
  syn.ip.version = 4;
  syn.ip.ihl = 5;
  syn.ip.ttl = 64;
  syn.ip.protocol = 6;
  syn.ip.tot_len = to_be16(40);
  syn.ip.saddr = v4("192.0.2.10");
  syn.ip.daddr = v4(to);
  syn.tcp.source = to_be16(sport);
  syn.tcp.dest = to_be16(80);
  syn.tcp.doff = 5;
  syn.tcp.syn = 1;
  return syn;
}

// Where the ingress program of interface `ifindex` sends the SYN; empty when it does not.
std::string run_ingress(int program, std::uint32_t ifindex, const Syn& syn) {
  Syn out{};
  __sk_buff context{};
  context.ifindex = ifindex;
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &syn, .data_out = &out, .data_size_in = sizeof syn,
              .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context);
  if (::bpf_prog_test_run_opts(program, &run) != 0 || run.retval != kTcRedirect) return {};
  return net::Ip::from_v4_be(out.ip.daddr).to_string();
}

class Concurrency : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.enter(Place::Node);
    world_.shell(Place::Node, "ip link set up0 address 02:00:00:00:00:01; ip route add 10.1.0.0/24 dev pod1");
    dataplane_ = std::move(*open(world_.options()));
  }
  void TearDown() override { EXPECT_TRUE(dataplane_->remove()); }
  base::Fd program(const std::string& name) const {
    return base::Fd(::bpf_obj_get((world_.options().bpf_root + "/t/v2/programs/" + name).c_str()));
  }

  World world_;
  std::unique_ptr<Dataplane> dataplane_;
};

using Strays = Concurrency;

// What a program of `interface` makes of a segment: "source:port > destination:port"; empty when it leaves it alone.
std::string translated(int program, const std::string& interface, const Syn& segment) {
  Syn out{};
  __sk_buff context{};
  context.ifindex = ::if_nametoindex(interface.c_str());
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &segment, .data_out = &out, .data_size_in = sizeof segment,
              .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context);
  if (::bpf_prog_test_run_opts(program, &run) != 0 || run.retval != kTcRedirect) return {};
  return base::cat(net::host_port(net::Ip::from_v4_be(out.ip.saddr), from_be16(out.tcp.source)), " > ",
                   net::host_port(net::Ip::from_v4_be(out.ip.daddr), from_be16(out.tcp.dest)));
}

// Where connection tracking judges windows, such a segment reaches the client with the endpoint's address, and the
// client answers with a reset (kubernetes/kubernetes#74839).
TEST_F(Strays, ASegmentOfAServerOutsideTheWindowIsTranslatedAsAnyOther) {
  expect_ok(dataplane_->replace({}, {service("web").external_ip("198.51.100.1", 80).endpoint("10.1.0.11", 8080)}));
  world_.shell(Place::Node, "ip link set pod1 address 02:00:00:00:00:01");
  const base::Fd ingress = program("tc_ingress");
  EXPECT_EQ(translated(ingress.get(), "up0", make_syn("198.51.100.1", 5555)), "192.0.2.10:5555 > 10.1.0.11:8080");
  Syn stray = make_syn("192.0.2.10", 8080);
  stray.ip.saddr = v4("10.1.0.11");
  stray.tcp.dest = to_be16(5555);
  stray.tcp.syn = 0;
  stray.tcp.ack = 1;
  for (const std::uint32_t seq : {0U, 1U, 0x7fffffffU, 0xfffffff0U}) {
    stray.tcp.seq = __builtin_bswap32(seq);
    stray.tcp.ack_seq = __builtin_bswap32(seq / 2);
    EXPECT_EQ(translated(ingress.get(), "pod1", stray), "198.51.100.1:80 > 192.0.2.10:5555") << "seq " << seq;
  }
  stray.tcp.dest = to_be16(5556);
  EXPECT_EQ(translated(ingress.get(), "pod1", stray), "") << "of no flow: left alone";
}

TEST_F(Concurrency, EachPickIsOfTheOldSetOrTheNewAndNoneIsLost) {
  const auto even = service("web").external_ip("198.51.100.1", 80).endpoint("10.1.0.12", 2).endpoint("10.1.0.14", 4);
  auto odd = service("web").external_ip("198.51.100.1", 80);
  for (std::uint16_t i = 1; i < 16; i = static_cast<std::uint16_t>(i + 2))
    odd.endpoint(base::cat("10.1.0.", 10 + i), i);
  // Others come and go beside it, so that hash elements and extents are recycled all the time.
  const auto beside = service("beside").external_ip("198.51.100.2", 80).endpoint("10.9.9.9", 9);
  expect_ok(dataplane_->replace({}, {even}));

  std::atomic<bool> stop = false;
  std::atomic<int> changes = 0;
  std::thread writer([&] {
    world_.enter(Place::Node);
    while (!stop) {
      const bool flip = ++changes % 2 == 0;
      dataplane_->apply({.upserted = {flip ? even : odd}, .deleted = {}});
      dataplane_->apply(flip ? model::Changes{.upserted = {beside}, .deleted = {}}
                             : model::Changes{.upserted = {}, .deleted = {{"ns", "beside"}}});
    }
  });
  const base::Fd ingress = program("tc_ingress");
  const std::uint32_t uplink = ::if_nametoindex("up0");
  std::map<std::string, int> picks;
  for (int i = 0; i < 60000; ++i) {
    ++picks[run_ingress(ingress.get(), uplink, make_syn("198.51.100.1", static_cast<std::uint16_t>(1024 + i)))];
  }
  stop = true;
  writer.join();

  EXPECT_GT(changes, 100);
  for (const auto& [address, count] : picks) {
    EXPECT_EQ(address.substr(0, 7), "10.1.0.") << count << " picks";
  }
  const auto counters = read_counters(world_.options());
  ASSERT_TRUE(counters);
  for (const auto& [name, value] : *counters) {
    if (name == "lookups_given_up") {
      EXPECT_EQ(value, 0U);
    }
  }
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
