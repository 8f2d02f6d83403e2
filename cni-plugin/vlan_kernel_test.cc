// VLANs of a bridge, 802.1Q masters and ipvlan with real packets: what few kernels of build machines have, so that
// tools/run_tests.py plays this program in a virtual machine (tools/vm.py) where the kernel at hand lacks it.
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <tuple>

#include "cni-plugin/interface_testing.h"
#include "net/bridge.h"

namespace fairlead::cni::testing {
namespace {

// IFLA_INFO_DATA of an 802.1Q link.
std::string vlan_data(std::uint16_t id) {
  return net::NetlinkMessage::attributes([&](net::NetlinkMessage& data) { data.value(IFLA_VLAN_ID, id); });
}

class OtherLinks : public InterfaceTest {
 protected:
  void SetUp() override {
    std::string lacking;
    run([&](Rtnl& host) {
      ok(host.order(net::create_veth({.name = "eth0", .peer_name = "wire"})));
      const std::uint32_t eth0 = ok(host.link("eth0")).index;
      const net::NewLink needed[] = {
          {.name = "x0", .kind = "bridge", .data = net::bridge_data({.vlan_filtering = true})},
          {.name = "x1", .kind = "vlan", .data = vlan_data(5), .link = eth0},
          {.name = "x2", .kind = "ipvlan", .link = eth0},
      };
      for (const net::NewLink& link : needed) {
        if (!host.order(net::create_link(link))) lacking += cat(" ", link.kind);
      }
    });
    if (!lacking.empty()) GTEST_SKIP() << "this kernel lacks" << lacking << ": run it by tools/vm.py";
  }

  // A link with an address that is there at once.
  static void give(Rtnl& rtnl, const std::string& link, std::string_view address) {
    const net::AddressInfo info{.address = *net::InterfaceAddress::parse(address),
                                .link = ok(rtnl.link(link)).index,
                                .flags = address.find(':') == address.npos ? 0U : unsigned{IFA_F_NODAD}};
    ok(rtnl.order({net::change_link({.up = true, .name = link}), net::add_address(info)}));
  }
  static void tag(Rtnl& rtnl, const std::string& link, std::uint16_t id) {
    ok(rtnl.order(net::create_link({.name = cat(link, ".", id),
                                    .kind = "vlan",
                                    .data = vlan_data(id),
                                    .link = ok(rtnl.link(link)).index,
                                    .up = true})));
  }
  // The host's eth0, whose other end is the interface `wire` of another machine.
  Container& another_machine(Rtnl& host) {
    Container& machine = container();
    ok(host.order(net::create_veth({.name = "eth0", .peer_name = "wire", .peer_netns_fd = machine.netns->fd()})));
    auto inside = ok(Rtnl::open(*machine.netns));
    ok(inside.order({net::change_link({.up = true, .name = "wire"})}));
    return machine;
  }
};

// Nobody answers for the address: broadcasts do not get there. The kernel gives up after three seconds, and tells by
// lo.
::testing::AssertionResult apart(const Container& from, const Container& to, std::string_view address) {
  auto inside = ok(Rtnl::open(*from.netns));
  ok(inside.order({net::change_link({.up = true, .name = "lo"})}));
  const Status connected = connects(&*from.netns, &*to.netns, ip(address));
  if (connected) return ::testing::AssertionFailure() << address << " is reached";
  if (connected.error().errno_value() == EHOSTUNREACH) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << connected.error().message();
}

class CniVlan : public OtherLinks {
 protected:
  static std::string bridge(unsigned host, std::string_view keys) {
    return config("bridge", keys, address(cat("10.85.0.", host, "/16")), "");
  }
  // What a container's port carries: "100 pvid untagged".
  static Names vlans(Rtnl& host, const std::string& id) {
    const std::uint32_t port = ok(host.link(host_link_name(attachment(id)))).index;
    ifinfomsg header{};
    header.ifi_family = AF_BRIDGE;
    net::NetlinkMessage question(RTM_GETLINK, NLM_F_DUMP);
    question.header(header).value(IFLA_EXT_MASK, std::uint32_t{RTEXT_FILTER_BRVLAN});
    Names out;
    for (const std::string_view body : ok(host.socket().ask(question))) {
      if (net::netlink_value<ifinfomsg>(body).ifi_index != static_cast<int>(port)) continue;
      const auto spec = net::netlink_attribute(body.substr(sizeof header), IFLA_AF_SPEC);
      net::for_each_netlink_attribute(spec, [&](std::uint16_t type, std::string_view value) {
        if (type != IFLA_BRIDGE_VLAN_INFO) return;
        const auto info = net::netlink_value<bridge_vlan_info>(value);
        out.push_back(cat(info.vid, (info.flags & BRIDGE_VLAN_INFO_PVID) != 0 ? " pvid" : "",
                          (info.flags & BRIDGE_VLAN_INFO_UNTAGGED) != 0 ? " untagged" : ""));
      });
    }
    return out;
  }
};

TEST_F(CniVlan, ContainersOfOneVlanReachEachOtherAndThoseOfOthersDoNot) {
  run([&](Rtnl&) {
    Container &a = container(), &b = container(), &other = container(), &plain = container();
    add("bridge", "a", a, bridge(5, R"("vlan":100)"));
    add("bridge", "b", b, bridge(6, R"("vlan":100)"));
    add("bridge", "other", other, bridge(7, R"("vlan":200)"));
    add("bridge", "plain", plain, bridge(8, ""));
    ok(connects(&*a.netns, &*b.netns, ip("10.85.0.6")));
    EXPECT_TRUE(apart(a, other, "10.85.0.7"));
    EXPECT_TRUE(apart(a, plain, "10.85.0.8"));
    EXPECT_EQ(check("bridge", "a", a, bridge(5, R"("vlan":100)")), "");
  });
}

TEST_F(CniVlan, ThePortCarriesTheVlanUntaggedBesideTheDefaultOneUnlessThatIsNotPreserved) {
  run([&](Rtnl& host) {
    Container &a = container(), &b = container();
    add("bridge", "a", a, bridge(5, R"("vlan":100)"));
    add("bridge", "b", b, bridge(6, R"("vlan":100,"preserveDefaultVlan":false)"));
    EXPECT_EQ(vlans(host, "a"), (Names{"1 untagged", "100 pvid untagged"}));
    EXPECT_EQ(vlans(host, "b"), Names{"100 pvid untagged"});
  });
}

TEST_F(CniVlan, ATrunkCarriesItsVlansTaggedAndItsOwnUntagged) {
  run([&](Rtnl& host) {
    Container &trunk = container(), &native = container(), &tagged = container(), &absent = container();
    add("bridge", "trunk", trunk,
        bridge(5, R"("vlan":100,"vlanTrunk":[{"id":200},{"minID":301,"maxID":303}],"preserveDefaultVlan":false)"));
    add("bridge", "native", native, bridge(6, R"("vlan":100)"));
    add("bridge", "tagged", tagged, config("bridge", R"("vlan":200)", address("10.86.0.6/16"), ""));
    add("bridge", "absent", absent, config("bridge", R"("vlan":300)", address("10.87.0.6/16"), ""));
    EXPECT_EQ(vlans(host, "trunk"), (Names{"100 pvid untagged", "200", "301", "302", "303"}));
    auto inside = ok(Rtnl::open(*trunk.netns));
    for (const std::uint16_t id : std::initializer_list<std::uint16_t>{200, 300}) tag(inside, "eth0", id);
    give(inside, "eth0.200", "10.86.0.5/16");
    give(inside, "eth0.300", "10.87.0.5/16");
    ok(connects(&*trunk.netns, &*native.netns, ip("10.85.0.6")));
    ok(connects(&*trunk.netns, &*tagged.netns, ip("10.86.0.6")));
    ok(connects(&*tagged.netns, &*trunk.netns, ip("10.86.0.5")));
    EXPECT_TRUE(apart(trunk, absent, "10.87.0.6"));
  });
}

TEST_F(CniVlan, ATrunkWithoutAVlanOfItsOwnIsUntaggedInVlanOne) {
  run([&](Rtnl& host) {
    Container &trunk = container(), &plain = container();
    add("bridge", "trunk", trunk, bridge(5, R"("vlanTrunk":[{"id":200}],"preserveDefaultVlan":false)"));
    add("bridge", "plain", plain, bridge(6, ""));
    EXPECT_EQ(vlans(host, "trunk"), (Names{"1 pvid untagged", "200"}));
    ok(connects(&*trunk.netns, &*plain.netns, ip("10.85.0.6")));
  });
}

// The gateway's addresses are on cni0.<vlan>.
std::string by_gateway(unsigned vlan, unsigned host) {
  return config(
      "bridge", cat(R"("isGateway":true,"vlan":)", vlan),
      cat(address(cat("10.", vlan, ".0.", host, "/16")), ",", address(cat("fd00:", vlan, "::", host, "/64"))));
}

TEST_F(CniVlan, TheHostIsTheGatewayOfEachVlanByALegOfItsOwnAndRoutesBetweenThem) {
  run([&](Rtnl& host) {
    Container &a = container(), &b = container(), &other = container();
    const NetResult result = add("bridge", "a", a, by_gateway(100, 5));
    add("bridge", "b", b, by_gateway(100, 6));
    add("bridge", "other", other, by_gateway(200, 5));
    EXPECT_EQ(addresses(host, "cni0.100"), (Names{"10.100.0.1/16", "fd00:100::1/64"}));
    EXPECT_EQ(addresses(host, "cni0.200"), (Names{"10.200.0.1/16", "fd00:200::1/64"}));
    EXPECT_EQ(addresses(host, "cni0"), Names{});
    ASSERT_EQ(result.interfaces.size(), 4U);
    EXPECT_EQ(result.interfaces[3],
              (Interface{.name = "cni0.100", .mac = net::to_string(ok(host.link("cni0.100")).mac)}));
    EXPECT_EQ(result.ips[0].interface, 2U);
    for (const auto& [family, own, gateway, next, far] :
         {std::tuple("IPv4", "10.100.0.5", "10.100.0.1", "10.100.0.6", "10.200.0.5"),
          std::tuple("IPv6", "fd00:100::5", "fd00:100::1", "fd00:100::6", "fd00:200::5")}) {
      SCOPED_TRACE(family);
      ok(connects(nullptr, &*a.netns, ip(own)));
      ok(connects(&*a.netns, nullptr, ip(gateway)));
      ok(connects(&*a.netns, &*b.netns, ip(next)));
      ok(connects(&*a.netns, &*other.netns, ip(far)));
    }
    EXPECT_EQ(check("bridge", "a", a, by_gateway(100, 5)), "");
    for (const char* id : {"a", "b"}) del("bridge", id, "", by_gateway(100, 5));
    del("bridge", "other", other.path, by_gateway(200, 5));
    for (const net::LinkInfo& link : ok(host.list_links())) {
      const bool stays = link.kind == "bridge" || link.name == "lo" || link.name.find("cni0.") == 0 ||
                         link.alias.find("fairlead:vlan:") == 0;
      EXPECT_TRUE(stays) << link.name;
    }
    Container& later = container();
    add("bridge", "later", later, by_gateway(100, 7));
    ok(connects(&*later.netns, nullptr, ip("10.100.0.1")));
  });
}

TEST_F(CniVlan, AGatewaysLegThatWasLeftHalfMadeIsFinishedByTheNextAdd) {
  run([&](Rtnl& host) {
    Container &a = container(), &b = container();
    add("bridge", "a", a, by_gateway(100, 5));
    const net::LinkInfo leg = ok(host.link("cni0.100"));
    ok(host.order({net::change_link({.index = leg.index, .up = false}), net::delete_port_vlan(leg.peer, 100)}));
    add("bridge", "b", b, by_gateway(100, 6));
    ok(connects(&*b.netns, nullptr, ip("10.100.0.1")));
    ok(connects(&*a.netns, nullptr, ip("10.100.0.1")));
  });
}

TEST_F(CniVlan, TheFirstAddsOfAVlanMayComeAtOnce) {
  run([&](Rtnl& host) {
    constexpr unsigned kAtOnce = 6;
    std::vector<std::string> paths;
    for (unsigned i = 0; i < kAtOnce; ++i) paths.push_back(container().path);
    std::vector<Answer> answers(kAtOnce);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kAtOnce; ++i) {
      threads.emplace_back(
          [&, i] { answers[i] = call("ADD", "bridge", cat("c", i), paths[i], by_gateway(100, 5 + i)); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Answer& answer : answers) EXPECT_EQ(answer.exit_code, 0) << answer.out;
    EXPECT_EQ(addresses(host, "cni0.100"), (Names{"10.100.0.1/16", "fd00:100::1/64"}));
    for (const Container& each : containers_) ok(connects(&*each.netns, nullptr, ip("10.100.0.1")));
  });
}

class CniVlanMaster : public OtherLinks {};

TEST_F(CniVlanMaster, AMacvlansFramesBearTheTagOfItsMaster) {
  run([&](Rtnl& host) {
    Container &machine = another_machine(host), &a = container(), &b = container();
    auto outside = ok(Rtnl::open(*machine.netns));
    ok(host.order({net::change_link({.up = true, .name = "eth0"})}));
    tag(host, "eth0", 5);
    tag(outside, "wire", 5);
    give(outside, "wire.5", "10.2.0.1/24");
    const auto on_vlan = [](unsigned number) {
      return config("macvlan", R"("master":"eth0.5")", address(cat("10.2.0.", number, "/24")), "");
    };
    add("macvlan", "a", a, on_vlan(5));
    add("macvlan", "b", b, on_vlan(6));
    ok(connects(&*a.netns, &*b.netns, ip("10.2.0.6")));
    ok(connects(&*a.netns, &*machine.netns, ip("10.2.0.1")));
    ok(connects(&*machine.netns, &*b.netns, ip("10.2.0.6")));
    EXPECT_EQ(check("macvlan", "a", a, on_vlan(5)), "");
    del("macvlan", "a", a.path, on_vlan(5));
    EXPECT_EQ(links(a), Names{"lo"});
    EXPECT_EQ(links(host), (Names{"eth0", "eth0.5", "lo"}));
  });
}

class CniIpvlan : public OtherLinks {
 protected:
  static std::string ipvlan(unsigned number, std::string_view keys = R"("master":"eth0")") {
    return config("ipvlan", keys,
                  cat(address(cat("10.2.0.", number, "/24")), ",", address(cat("fd00:2::", number, "/64"))), "");
  }
};

TEST_F(CniIpvlan, ContainersOfOneMasterReachEachOtherAndOtherMachinesUnderTheMastersMac) {
  run([&](Rtnl& host) {
    Container &machine = another_machine(host), &a = container(), &b = container();
    auto outside = ok(Rtnl::open(*machine.netns));
    ok(host.order({net::change_link({.up = true, .name = "eth0"})}));
    give(outside, "wire", "10.2.0.1/24");
    give(outside, "wire", "fd00:2::1/64");
    const NetResult result = add("ipvlan", "a", a, ipvlan(5));
    add("ipvlan", "b", b, ipvlan(6, R"("master":"eth0","mtu":1400)"));
    for (const auto& [family, next, far] :
         {std::tuple("IPv4", "10.2.0.6", "10.2.0.1"), std::tuple("IPv6", "fd00:2::6", "fd00:2::1")}) {
      SCOPED_TRACE(family);
      ok(connects(&*a.netns, &*b.netns, ip(next)));
      ok(connects(&*a.netns, &*machine.netns, ip(far)));
      ok(connects(&*machine.netns, &*b.netns, ip(next)));
    }
    ASSERT_EQ(result.interfaces.size(), 1U);
    const std::string mac = net::to_string(ok(host.link("eth0")).mac);
    EXPECT_EQ(result.interfaces[0], (Interface{.name = "eth0", .mac = mac, .sandbox = a.path, .mtu = 1500}));
    EXPECT_EQ(result.ips[0].interface, 0U);
    auto in_a = ok(Rtnl::open(*a.netns)), in_b = ok(Rtnl::open(*b.netns));
    EXPECT_EQ(addresses(in_a, "eth0"), (Names{"10.2.0.5/24", "fd00:2::5/64"}));
    EXPECT_EQ(ok(in_b.link("eth0")).mtu, 1400U);
  });
}

TEST_F(CniIpvlan, CheckFindsWhatIsNotAsConfiguredAndDelLeavesNothing) {
  run([&](Rtnl& host) {
    another_machine(host);
    Container &a = container(), &b = container();
    add("ipvlan", "a", a, ipvlan(5));
    add("ipvlan", "b", b, ipvlan(6));
    EXPECT_EQ(check("ipvlan", "a", a, ipvlan(5)), "");
    EXPECT_EQ(check("ipvlan", "a", a, ipvlan(5, R"("master":"eth0","mode":"l3")")), "ipvlan: eth0 has mode 0, not 1");
    auto inside = ok(Rtnl::open(*a.netns));
    ok(inside.order({net::delete_address(
        {.address = *net::InterfaceAddress::parse("10.2.0.5/24"), .link = ok(inside.link("eth0")).index})}));
    EXPECT_EQ(check("ipvlan", "a", a, ipvlan(5)), "ipvlan: eth0 has lost its address 10.2.0.5/24");
    for (int twice = 0; twice < 2; ++twice) del("ipvlan", "a", a.path, ipvlan(5));
    EXPECT_EQ(links(a), Names{"lo"});
    EXPECT_EQ(check("ipvlan", "a", a, ipvlan(5)), "ipvlan: interface eth0: No such device");
    del("ipvlan", "b", b.path, ipvlan(6));
    EXPECT_EQ(links(host), (Names{"eth0", "lo"}));
  });
}

TEST_F(CniIpvlan, InModeL3ContainersOfDifferentSubnetsReachEachOtherWithoutAGateway) {
  run([&](Rtnl& host) {
    another_machine(host);
    ok(host.order({net::change_link({.up = true, .name = "eth0"})}));
    Container &a = container(), &b = container();
    const std::string keys = R"("master":"eth0","mode":"l3")";
    const std::string in_a = config("ipvlan", keys, cat(address("10.2.0.5/24"), ",", address("fd00:2::5/64")));
    const std::string in_b = config("ipvlan", keys, cat(address("10.3.0.6/24"), ",", address("fd00:3::6/64")));
    add("ipvlan", "a", a, in_a);
    add("ipvlan", "b", b, in_b);
    ok(connects(&*a.netns, &*b.netns, ip("10.3.0.6")));
    ok(connects(&*b.netns, &*a.netns, ip("fd00:2::5")));
    EXPECT_EQ(check("ipvlan", "a", a, in_a), "");
  });
}

TEST_F(CniIpvlan, TheAddressOfAnotherContainerOfTheMasterIsRefusedAndNothingIsLeft) {
  run([&](Rtnl& host) {
    another_machine(host);
    Container &a = container(), &b = container();
    add("ipvlan", "a", a, ipvlan(5));
    EXPECT_NE(refused("ipvlan", "b", b, ipvlan(5)).find("configure eth0"), std::string::npos);
    EXPECT_EQ(links(b), Names{"lo"});
    EXPECT_EQ(links(host), (Names{"eth0", "lo"}));
  });
}

TEST_F(CniIpvlan, InAChainItTakesTheAddressesAndTheOnlyInterfaceOfPrevResult) {
  run([&](Rtnl& host) {
    another_machine(host);
    ok(host.order({net::change_link({.up = true, .name = "eth0"})}));
    Container &a = container(), &b = container();
    const auto behind = [](unsigned number) {
      return cat(R"({"cniVersion":"1.1.0","name":"pods","type":"ipvlan","prevResult":{"cniVersion":"1.1.0",)",
                 R"("interfaces":[{"name":"eth0"}],"ips":[{"address":"10.2.0.)", number, R"(/24","interface":0}]}})");
    };
    const NetResult result = add("ipvlan", "a", a, behind(5));
    add("ipvlan", "b", b, behind(6));
    ok(connects(&*a.netns, &*b.netns, ip("10.2.0.6")));
    ASSERT_EQ(result.interfaces.size(), 1U);
    EXPECT_EQ(result.interfaces[0].sandbox, a.path);
  });
}

}  // namespace
}  // namespace fairlead::cni::testing
