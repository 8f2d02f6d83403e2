// The bridge plugin in a real kernel.
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <net/if.h>

#include "cni-plugin/interface_testing.h"
#include "net/bridge.h"

namespace fairlead::cni::testing {
namespace {

class CniBridge : public InterfaceTest {};

TEST_F(CniBridge, ContainersOfABridgeReachEachOtherAndTheHostInBothFamiliesAsSoonAsAddReturns) {
  run([&](Rtnl&) {
    Container &a = container(), &b = container();
    add("bridge", "a", a, crio(5));
    add("bridge", "b", b, crio(6));
    ok(connects(&*a.netns, &*b.netns, ip("10.85.0.6")));
    ok(connects(&*b.netns, &*a.netns, ip("1100:200::5")));
    ok(connects(nullptr, &*a.netns, ip("10.85.0.5")));
    ok(connects(&*b.netns, nullptr, ip("10.85.0.1")));
    ok(connects(&*b.netns, nullptr, ip("1100:200::1")));
  });
}

TEST_F(CniBridge, ABridgesResultIsBridgeHostEndContainerEndAndTheAddressesAreTheThirds) {
  run([&](Rtnl& host) {
    Container& a = container();
    const NetResult result = add("bridge", "a", a, crio(5));
    ASSERT_EQ(result.interfaces.size(), 3U);
    const std::string host_name = host_link_name(attachment("a"));
    EXPECT_EQ(result.interfaces[0], (Interface{.name = "cni0", .mac = net::to_string(ok(host.link("cni0")).mac)}));
    EXPECT_EQ(result.interfaces[1],
              (Interface{.name = host_name, .mac = net::to_string(ok(host.link(host_name)).mac), .mtu = 1500}));
    auto inside = ok(Rtnl::open(*a.netns));
    EXPECT_EQ(result.interfaces[2],
              (Interface{
                  .name = "eth0", .mac = net::to_string(ok(inside.link("eth0")).mac), .sandbox = a.path, .mtu = 1500}));
    ASSERT_EQ(result.ips.size(), 2U);
    EXPECT_EQ(result.ips[0].interface, 2U);
    EXPECT_EQ(result.ips[0].gateway, ip("10.85.0.1")) << "the first of the subnet, where IPAM told none";
    EXPECT_EQ(result.ips[1].gateway, ip("1100:200::1"));
    EXPECT_EQ(ok(host.link(host_name)).alias, link_alias(attachment("a")));
  });
}

TEST_F(CniBridge, ABridgesContainerHasAddressesAndRoutesByTheGatewayAndTheHostForwards) {
  run([&](Rtnl& host) {
    Container& a = container();
    add("bridge", "a", a, crio(5));
    auto inside = ok(Rtnl::open(*a.netns));
    EXPECT_EQ(addresses(inside, "eth0"), (Names{"10.85.0.5/16", "1100:200::5/24"}));
    EXPECT_EQ(routes(inside, net::Family::V4), (Names{"0.0.0.0/0 via 10.85.0.1", "10.85.0.0/16"}));
    EXPECT_EQ(routes(inside, net::Family::V6), (Names{"1100:200::/24", "::/0 via 1100:200::1"}));
    EXPECT_EQ(addresses(host, "cni0"), (Names{"10.85.0.1/16", "1100:200::1/24"}));
    EXPECT_EQ(ok(net::read_sysctl("net/ipv4/ip_forward")), "1");
    EXPECT_EQ(ok(net::read_sysctl("net/ipv6/conf/all/forwarding")), "1");
    EXPECT_EQ(ok(net::read_sysctl("net/ipv6/conf/cni0/accept_ra")), "0");
    ok(a.netns->run([]() -> Status {
      EXPECT_EQ(TRY(net::read_sysctl("net/ipv4/conf/eth0/arp_notify")), "1");
      EXPECT_EQ(TRY(net::read_sysctl("net/ipv6/conf/eth0/ndisc_notify")), "1");
      return {};
    }));
  });
}

TEST_F(CniBridge, ThePortHasNoIPv6AddressOfItsOwnAndTheContainerDoes) {
  run([&](Rtnl& host) {
    Container &a = container(), &b = container();
    add("bridge", "a", a, crio(5));
    add("bridge", "b", b, crio(6));
    ok(connects(&*a.netns, &*b.netns, ip("1100:200::6")));  // both have long been up
    const auto port = ok(host.link(host_link_name(attachment("a")))).index;
    EXPECT_TRUE(ok(host.list_addresses(port)).empty());
    auto inside = ok(Rtnl::open(*a.netns));
    EXPECT_EQ(ok(inside.list_addresses(net::Family::V6, ok(inside.link("eth0")).index)).size(), 2U) << "fe80:: and its own";
  });
}

TEST_F(CniBridge, WithoutIsGatewayTheBridgeHasNoAddress) {
  run([&](Rtnl& host) {
    Container& a = container();
    add("bridge", "a", a, crio(5, R"("bridge":"cni0")"));
    EXPECT_EQ(addresses(host, "cni0"), Names{});
  });
}

TEST_F(CniBridge, AnAddressThatComesBackWithAnotherMacIsReachedAtOnce) {
  run([&](Rtnl&) {
    Container &a = container(), &b = container();
    add("bridge", "a", a, crio(5));
    ok(connects(nullptr, &*a.netns, ip("10.85.0.5")));
    del("bridge", "a", a.path, crio(5));
    add("bridge", "b", b, crio(5));
    ok(connects(nullptr, &*b.netns, ip("10.85.0.5")));
    ok(connects(nullptr, &*b.netns, ip("1100:200::5")));
  });
}

TEST_F(CniBridge, DelTakesAwayBothEndsBeforeItReturnsAndKeepsTheBridge) {
  run([&](Rtnl& host) {
    Container& a = container();
    add("bridge", "a", a, crio(5));
    del("bridge", "a", a.path, crio(5));
    EXPECT_EQ(links(host), (Names{"cni0", "lo"}));
    EXPECT_EQ(links(a), (Names{"lo"}));
    del("bridge", "a", a.path, crio(5));
  });
}

TEST_F(CniBridge, DelNeedsNoNetns) {
  run([&](Rtnl& host) {
    Container &a = container(), &b = container();
    add("bridge", "a", a, crio(5));
    add("bridge", "b", b, crio(6));
    del("bridge", "a", "", crio(5));
    del("bridge", "b", "/run/netns/gone", crio(6));
    EXPECT_EQ(links(host), (Names{"cni0", "lo"}));
  });
}

TEST_F(CniBridge, DelNeedsNoRecordAndNoPrevResult) {
  run([&](Rtnl& host) {
    Container& a = container();
    add("bridge", "a", a, crio(5));
    std::filesystem::remove_all(world_.run_dir);
    del("bridge", "a", "", crio(5));
    EXPECT_EQ(links(host), (Names{"cni0", "lo"}));
  });
}

TEST_F(CniBridge, DelTakesAwayWhatAnotherPluginMadeInTheContainer) {
  run([&](Rtnl& host) {
    Container& a = container();
    ok(host.order(net::create_veth({.name = "veth12345678", .peer_name = "eth0", .peer_netns_fd = a.netns->fd()})));
    del("bridge", "a", a.path, crio(5));
    EXPECT_EQ(links(host), (Names{"lo"}));
  });
}

TEST_F(CniBridge, DelLeavesALinkOfTheHostAloneThatDoesNotBearTheMark) {
  run([&](Rtnl& host) {
    const std::string name = host_link_name(attachment("a"));
    ok(host.order(net::create_veth({.name = name, .peer_name = "eth0"})));
    del("bridge", "a", "", crio(5));
    EXPECT_EQ(links(host), (Names{"eth0", "lo", name}));
    Container& a = container();
    add("bridge", "a", a, crio(5));
    EXPECT_TRUE(ok(host.find_link(host_link_name(attachment("a"), 1)))) << "a taken name gives way to another";
    del("bridge", "a", a.path, crio(5));
    EXPECT_EQ(links(host), (Names{"cni0", "eth0", "lo", name}));
  });
}

TEST_F(CniBridge, ASecondAddIsRefusedAndTheFirstLivesOn) {
  run([&](Rtnl&) {
    Container& a = container();
    add("bridge", "a", a, crio(5));
    refused("bridge", "a", a, crio(5));
    ok(connects(nullptr, &*a.netns, ip("10.85.0.5")));
    std::filesystem::remove_all(world_.run_dir);
    EXPECT_EQ(refused("bridge", "a", a, crio(5)), "bridge: CNI_IFNAME: the container has an interface eth0 already")
        << "without its record";
    ok(connects(nullptr, &*a.netns, ip("10.85.0.5")));
  });
}

TEST_F(CniBridge, AnInterfaceOfSomebodyElseIsNeitherTakenNorTakenAway) {
  run([&](Rtnl& host) {
    Container& a = container();
    ok(host.order(net::create_veth({.name = "other", .peer_name = "eth0", .peer_netns_fd = a.netns->fd()})));
    for (const char* plugin : {"bridge", "ptp", "fairlead"}) {
      EXPECT_EQ(refused(plugin, "a", a, crio(5)),
                cat(plugin, ": CNI_IFNAME: the container has an interface eth0 already"));
    }
    EXPECT_TRUE(ok(host.find_link("other")));
    EXPECT_EQ(links(a), (Names{"eth0", "lo"}));
  });
}

TEST_F(CniBridge, WhatAContainerOfTheSameIdLeftInAnotherNamespaceGivesWay) {
  run([&](Rtnl& host) {
    Container &before = container(), &now = container();
    add("bridge", "a", before, crio(5));
    std::filesystem::remove_all(world_.run_dir);
    add("bridge", "a", now, crio(5));
    ok(connects(nullptr, &*now.netns, ip("10.85.0.5")));
    EXPECT_EQ(links(before), (Names{"lo"}));
    EXPECT_EQ(links(host).size(), 3U);
  });
}

TEST_F(CniBridge, AFailedAddLeavesNothingBehind) {
  run([&](Rtnl& host) {
    Container& a = container();
    const std::string no_ipam = R"({"cniVersion":"1.1.0","name":"pods","type":"bridge","ipam":{"type":"no-such"}})";
    EXPECT_NE(refused("bridge", "a", a, no_ipam).find("no-such"), std::string::npos);
    EXPECT_EQ(links(host), (Names{"lo"}));
    EXPECT_EQ(links(a), (Names{"lo"}));
    // The gateway cannot be reached, so its route is refused when everything else stands.
    const std::string bad_route =
        config("bridge", "", address("10.85.0.5/16"), R"({"dst":"0.0.0.0/0","gw":"192.0.2.1"})");
    EXPECT_EQ(refused("bridge", "b", a, bad_route),
              "bridge: configure eth0: netlink: Nexthop has invalid gateway: Network is unreachable");
    EXPECT_EQ(links(host), (Names{"cni0", "lo"}));
    EXPECT_EQ(links(a), (Names{"lo"}));
  });
}

TEST_F(CniBridge, ABridgeWithAnotherAddressIsAnErrorUnlessForced) {
  run([&](Rtnl& host) {
    Container& a = container();
    ok(host.order(net::create_link({.name = "cni0", .kind = "bridge"})));
    ok(host.order({net::add_address(
        {.address = *net::InterfaceAddress::parse("192.0.2.1/24"), .link = ok(host.link("cni0")).index})}));
    EXPECT_EQ(refused("bridge", "a", a, crio(5)),
              "bridge: cni0 has the address 192.0.2.1/24, and shall have 10.85.0.1/16 as gateway; forceAddress would "
              "replace it");
    add("bridge", "a", a, crio(5, R"("isGateway":true,"forceAddress":true)"));
    EXPECT_EQ(addresses(host, "cni0"), (Names{"10.85.0.1/16", "1100:200::1/24"}));
  });
}

TEST_F(CniBridge, SomethingElseByTheBridgesNameIsAnError) {
  run([&](Rtnl& host) {
    Container& a = container();
    ok(host.order(net::create_veth({.name = "cni0", .peer_name = "other"})));
    EXPECT_EQ(refused("bridge", "a", a, crio(5)), "bridge: cni0 exists but is no bridge: its kind is \"veth\"");
  });
}

TEST_F(CniBridge, TheBridgesMacStaysWhenContainersComeAndGo) {
  run([&](Rtnl& host) {
    Container& a = container();
    ok(host.order(net::create_link({.name = "br1", .kind = "bridge"})));  // not by us: its MAC is nobody's choice
    for (const char* bridge : {"cni0", "br1"}) {
      const std::string keys = cat(R"("isGateway":true,"bridge":")", bridge, "\"");
      const std::string told =
          add("bridge", "a", a, config("bridge", keys, address("10.85.0.5/16"), "")).interfaces[0].mac;
      Container& b = container();
      add("bridge", "b", b,
          config("bridge", cat(keys, R"(,"runtimeConfig":{"mac":"02:00:00:00:00:01"})"), address("10.85.0.6/16"), ""));
      EXPECT_EQ(net::to_string(ok(host.link(bridge)).mac), told) << bridge;
      del("bridge", "a", a.path, crio(5));
      EXPECT_EQ(net::to_string(ok(host.link(bridge)).mac), told) << bridge;
      del("bridge", "b", b.path, crio(6));
      ok(host.order({net::change_link({.up = false, .name = bridge})}));
    }
  });
}

TEST_F(CniBridge, MtuAndMacAreTheConfigurations) {
  run([&](Rtnl& host) {
    Container& a = container();
    add("bridge", "a", a,
        crio(5,
             R"("mtu":1400,"args":{"cni":{"mac":"02:00:00:00:00:0a"}},"runtimeConfig":{"mac":"02:00:00:00:00:0b"})"));
    auto inside = ok(Rtnl::open(*a.netns));
    EXPECT_EQ(ok(inside.link("eth0")).mtu, 1400U);
    EXPECT_EQ(ok(host.link(host_link_name(attachment("a")))).mtu, 1400U);
    EXPECT_EQ(ok(host.link("cni0")).mtu, 1400U);
    EXPECT_EQ(net::to_string(ok(inside.link("eth0")).mac), "02:00:00:00:00:0b") << "the runtime's goes first";
  });
}

TEST_F(CniBridge, ThePortIsAsConfigured) {
  run([&](Rtnl& host) {
    Container &a = container(), &b = container();
    add("bridge", "a", a, crio(5, R"("hairpinMode":true,"portIsolation":true)"));
    add("bridge", "b", b, crio(6, R"("promiscMode":true)"));
    EXPECT_EQ(net::parse_bridge_port(ok(host.link(host_link_name(attachment("a")))).slave_data),
              (net::BridgePort{.hairpin = true, .isolated = true}));
    EXPECT_EQ(net::parse_bridge_port(ok(host.link(host_link_name(attachment("b")))).slave_data), net::BridgePort{});
    EXPECT_TRUE(ok(host.link("cni0")).flags & IFF_PROMISC);
  });
}

TEST_F(CniBridge, AContainersLinkStaysDownWhereItIsDisabledAndIsUpWithoutIpam) {
  run([&](Rtnl&) {
    Container &a = container(), &b = container();
    const std::string plain = R"({"cniVersion":"1.1.0","name":"pods","type":"bridge"})";
    const std::string disabled =
        R"({"cniVersion":"1.1.0","name":"pods","type":"bridge","disableContainerInterface":true})";
    EXPECT_TRUE(add("bridge", "a", a, plain).ips.empty());
    add("bridge", "b", b, disabled);
    auto in_a = ok(Rtnl::open(*a.netns)), in_b = ok(Rtnl::open(*b.netns));
    EXPECT_TRUE(ok(in_a.link("eth0")).flags & IFF_UP);
    EXPECT_FALSE(ok(in_b.link("eth0")).flags & IFF_UP);
  });
}

TEST_F(CniBridge, IPv6IsSwitchedOnWhereARuntimeSwitchedItOff) {
  run([&](Rtnl&) {
    Container& a = container();
    ok(a.netns->run([]() -> Status {
      TRY(net::write_sysctl("net/ipv6/conf/all/disable_ipv6", "1"));
      return net::write_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    }));
    add("bridge", "a", a, crio(5));
    ok(connects(nullptr, &*a.netns, ip("1100:200::5")));
  });
}

TEST_F(CniBridge, DuplicateDetectionIsThroughWhenAddReturnsAndADuplicateIsAnError) {
  run([&](Rtnl& host) {
    Container &a = container(), &b = container();
    const std::string keys = R"("bridge":"cni0","isGateway":true,"enabledad":true)";
    add("bridge", "a", a, crio(5, keys));
    auto inside = ok(Rtnl::open(*a.netns));
    for (const net::AddressInfo& one : ok(inside.list_addresses(ok(inside.link("eth0")).index)))
      EXPECT_FALSE(one.flags & IFA_F_TENTATIVE) << one.address.to_string();
    ok(connects(nullptr, &*a.netns, ip("1100:200::5")));
    EXPECT_EQ(refused("bridge", "b", b, crio(5, keys)),
              "bridge: duplicate address detection: somebody on the link has 1100:200::5/24 already");
    EXPECT_EQ(links(b), (Names{"lo"}));
    EXPECT_EQ(links(host).size(), 3U) << "lo, cni0 and the first one's";
  });
}

TEST_F(CniBridge, VlansNeedAKernelThatFiltersThem) {
  run([&](Rtnl& host) {
    Container& a = container();
    const Answer answer = call("ADD", "bridge", "a", a.path, crio(5, R"("bridge":"cni0","vlan":100)"));
    if (answer.exit_code == 0) GTEST_SKIP() << "this kernel has CONFIG_BRIDGE_VLAN_FILTERING: the error is not seen";
    EXPECT_NE(answer.out.find("create bridge cni0 with VLANs (vlan, vlanTrunk need a kernel with "
                              "CONFIG_BRIDGE_VLAN_FILTERING)"),
              std::string::npos)
        << answer.out;
    EXPECT_EQ(links(host), (Names{"lo"}));
    ok(host.order(net::create_link({.name = "cni0", .kind = "bridge"})));
    EXPECT_EQ(refused("bridge", "a", a, crio(5, R"("vlanTrunk":[{"id":7}])")),
              "bridge: bridge cni0 exists but does not filter VLANs, and vlan or vlanTrunk is set");
  });
}

TEST_F(CniBridge, CheckFindsWhatIsMissingFromABridgesContainer) {
  run([&](Rtnl& host) {
    Container& a = container();
    add("bridge", "a", a, crio(5));
    EXPECT_EQ(check("bridge", "a", a, crio(5)), "");
    auto inside = ok(Rtnl::open(*a.netns));
    const std::uint32_t link = ok(inside.link("eth0")).index;
    const std::string port = host_link_name(attachment("a"));

    const net::RouteInfo route{
        .destination = *net::Prefix::parse("0.0.0.0/0"), .gateway = ip("10.85.0.1"), .link = link};
    ok(inside.order({net::delete_route(route)}));
    EXPECT_EQ(check("bridge", "a", a, crio(5)), "bridge: the container has lost its route to 0.0.0.0/0");
    ok(inside.order({net::add_route(route)}));
    const net::AddressInfo v6{.address = *net::InterfaceAddress::parse("1100:200::5/24"), .link = link};
    ok(inside.order({net::delete_address(v6)}));
    EXPECT_EQ(check("bridge", "a", a, crio(5)), "bridge: eth0 has lost its address 1100:200::5/24");
    ok(inside.order({net::add_address(v6)}));
    EXPECT_EQ(check("bridge", "a", a, crio(5)), "");
    EXPECT_EQ(check("bridge", "a", a, crio(5, R"("isGateway":true)")),
              cat("bridge: ", port, ": hairpin mode or isolation are not as configured"));
    ok(host.order({net::change_link({.name = port, .master = 0})}));
    EXPECT_EQ(check("bridge", "a", a, crio(5)), cat("bridge: ", port, " is no port of cni0"));
    del("bridge", "a", a.path, crio(5));
    EXPECT_EQ(check("bridge", "a", a, crio(5)), "bridge: interface eth0: No such device");
  });
}

}  // namespace
}  // namespace fairlead::cni::testing
