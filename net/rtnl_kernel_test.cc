// The messages of net/rtnl.h before a real kernel, in namespaces of the test's own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>

#include <algorithm>
#include <functional>
#include <thread>

#include "net/bridge.h"
#include "net/link_events.h"
#include "net/netns.h"
#include "net/rtnl.h"

namespace fairlead::net {
namespace {

#define OK(expression)                               \
  __extension__({                                    \
    auto ok_result_ = (expression);                  \
    if (!ok_result_) {                               \
      ADD_FAILURE() << ok_result_.error().message(); \
      return;                                        \
    }                                                \
    std::move(ok_result_).value();                   \
  })

Mac mac(std::string_view text) { return *parse_mac(text); }
InterfaceAddress address(std::string_view text) { return *InterfaceAddress::parse(text); }
Prefix prefix(std::string_view text) { return *Prefix::parse(text); }
Ip ip(std::string_view text) { return *Ip::parse(text); }

class RtnlKernel : public testing::Test {
 protected:
  // In a thread whose network namespace goes with it; `far` is another one, which lives as long as the test.
  void run(const std::function<void(Rtnl&, const Netns&)>& test) {
    std::optional<Netns> far;
    std::thread([&] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
      far.emplace(OK(Netns::current()));
    }).join();
    ASSERT_TRUE(far);
    std::thread([&] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
      auto rtnl = OK(Rtnl::open());
      test(rtnl, *far);
    }).join();
  }
  // A veth, up, and its index.
  static Result<LinkInfo> veth(Rtnl& rtnl, const Netns& far) {
    TRY(rtnl.order(create_veth({.name = "v0", .peer_name = "eth0", .peer_netns_fd = far.fd()})));
    return rtnl.link("v0");
  }
};

TEST_F(RtnlKernel, AVethHasNameMacMtuMasterAndAliasFromTheFirstWriteOn) {
  run([](Rtnl& rtnl, const Netns& far) {
    OK(rtnl.order(create_link({.name = "br0", .kind = "bridge", .mac = mac("02:00:00:00:00:01"), .up = true})));
    const LinkInfo bridge = OK(rtnl.link("br0"));
    EXPECT_EQ(bridge.kind, "bridge");
    OK(rtnl.order(create_veth({.name = "v0",
                               .alias = "ours",
                               .mtu = 1400,
                               .master = bridge.index,
                               .slave_data = bridge_port_data({.hairpin = true, .isolated = true}),
                               .peer_name = "eth0",
                               .peer_mac = mac("02:00:00:00:00:05"),
                               .peer_netns_fd = far.fd()})));
    const LinkInfo near = OK(rtnl.link("v0"));
    EXPECT_EQ(near.kind, "veth");
    EXPECT_EQ(near.alias, "ours");
    EXPECT_EQ(near.mtu, 1400U);
    EXPECT_EQ(near.master, bridge.index);
    EXPECT_TRUE(near.flags & IFF_UP);
    EXPECT_EQ(parse_bridge_port(near.slave_data), (BridgePort{.hairpin = true, .isolated = true}));
    EXPECT_TRUE(near.peer_netns);
    OK(far.run([&]() -> Status {
      auto inside = TRY(Rtnl::open());
      const LinkInfo peer = TRY(inside.link("eth0"));
      EXPECT_EQ(to_string(peer.mac), "02:00:00:00:00:05");
      EXPECT_EQ(peer.mtu, 1400U);
      EXPECT_EQ(peer.peer, near.index);
      EXPECT_EQ(near.peer, peer.index);
      EXPECT_FALSE(peer.flags & IFF_UP);
      return {};
    }));
    EXPECT_EQ(to_string(OK(rtnl.link("br0")).mac), "02:00:00:00:00:01") << "a bridge keeps the MAC it was given";
  });
}

TEST_F(RtnlKernel, ATakenNameIsRefusedOnEitherSideAndNothingIsMade) {
  run([](Rtnl& rtnl, const Netns& far) {
    OK(veth(rtnl, far));
    const auto again = rtnl.order(create_veth({.name = "v0", .peer_name = "eth1", .peer_netns_fd = far.fd()}));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().errno_value(), EEXIST);
    const auto far_name = rtnl.order(create_veth({.name = "v1", .peer_name = "eth0", .peer_netns_fd = far.fd()}));
    ASSERT_FALSE(far_name);
    EXPECT_EQ(far_name.error().errno_value(), EEXIST);
    EXPECT_FALSE(OK(rtnl.find_link("v1")));
  });
}

TEST_F(RtnlKernel, AnUnknownKindIsRefusedAsUnsupported) {
  run([](Rtnl& rtnl, const Netns&) {
    const auto made = rtnl.order(create_link({.name = "x0", .kind = "no-such-kind"}));
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().errno_value(), EOPNOTSUPP);
  });
}

TEST_F(RtnlKernel, ALinkIsChangedRenamedAndDeleted) {
  run([](Rtnl& rtnl, const Netns& far) {
    const LinkInfo link = OK(veth(rtnl, far));
    OK(rtnl.order({change_link({.index = link.index,
                                .up = false,
                                .alias = "later",
                                .mac = mac("02:00:00:00:00:09"),
                                .mtu = 1280,
                                .tx_queue_len = 77,
                                .promiscuous = true}),
                   change_link({.index = link.index, .name = "v9"})}));
    const LinkInfo changed = OK(rtnl.link("v9"));
    EXPECT_EQ(changed.index, link.index);
    EXPECT_EQ(changed.alias, "later");
    EXPECT_EQ(to_string(changed.mac), "02:00:00:00:00:09");
    EXPECT_EQ(changed.mtu, 1280U);
    EXPECT_EQ(changed.tx_queue_len, 77U);
    EXPECT_EQ(changed.promiscuity, 1U);
    EXPECT_FALSE(changed.flags & IFF_UP);
    OK(rtnl.order({delete_link_message(link.index)}));
    EXPECT_FALSE(OK(rtnl.find_link(link.index)));
    const auto gone = rtnl.link("v9");
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().message(), "interface v9: No such device");
  });
}

TEST_F(RtnlKernel, AddressesAreAddedListedByLinkAndDeleted) {
  run([](Rtnl& rtnl, const Netns& far) {
    const LinkInfo link = OK(veth(rtnl, far));
    const AddressInfo v4{.address = address("10.1.0.5/24"), .link = link.index};
    const AddressInfo v6{.address = address("fd00::5/64"), .link = link.index, .flags = IFA_F_NODAD};
    OK(rtnl.order({add_address(v4), add_address(v6)}));
    std::vector<InterfaceAddress> found;
    for (const AddressInfo& one : OK(rtnl.list_addresses(link.index))) {
      EXPECT_FALSE(one.flags & IFA_F_TENTATIVE && one.scope == RT_SCOPE_UNIVERSE);
      if (one.scope == RT_SCOPE_UNIVERSE) found.push_back(one.address);
    }
    EXPECT_EQ(found, (std::vector{v4.address, v6.address}));
    EXPECT_EQ(rtnl.order({add_address(v4)}).error().errno_value(), EEXIST);
    EXPECT_TRUE(OK(rtnl.list_addresses(1)).empty()) << "of loopback";
    OK(rtnl.order({delete_address(v4), delete_address(v6)}));
    EXPECT_EQ(rtnl.order({delete_address(v4)}).error().errno_value(), EADDRNOTAVAIL);
  });
}

TEST_F(RtnlKernel, RoutesComeBackAsTheyWereAdded) {
  run([](Rtnl& rtnl, const Netns& far) {
    const LinkInfo link = OK(veth(rtnl, far));
    OK(far.run([]() -> Status {  // else there is no carrier, and IPv6 routes are not told as usable
      auto inside = TRY(Rtnl::open());
      return inside.order({change_link({.index = TRY(inside.link("eth0")).index, .up = true})});
    }));
    const RouteInfo gateway{.destination = prefix("169.254.1.1/32"), .link = link.index, .scope = RT_SCOPE_LINK};
    const RouteInfo v4{.destination = prefix("0.0.0.0/0"),
                       .gateway = ip("169.254.1.1"),
                       .link = link.index,
                       .protocol = 77,
                       .priority = 5,
                       .mtu = 1300,
                       .advmss = 1200};
    const RouteInfo v6{.destination = prefix("fd00:1::/64"), .link = link.index, .protocol = 77, .priority = 7};
    OK(rtnl.order({add_route(gateway), add_route(v4), add_route(v6)}));
    EXPECT_EQ(OK(rtnl.list_routes(Family::V4, link.index)), (std::vector{v4, gateway}));
    const auto v6_routes = OK(rtnl.list_routes(Family::V6, link.index));
    EXPECT_NE(std::find(v6_routes.begin(), v6_routes.end(), v6), v6_routes.end());
    EXPECT_TRUE(OK(rtnl.list_routes(Family::V4, 1)).empty());

    EXPECT_EQ(rtnl.order({add_route(v4)}).error().errno_value(), EEXIST);
    OK(rtnl.order({replace_route(v4), delete_route({.destination = v4.destination, .link = link.index})}));
    EXPECT_EQ(rtnl.order({delete_route(v4)}).error().errno_value(), ESRCH);
  });
}

TEST_F(RtnlKernel, ASecondWayToADestinationStandsBesideTheFirst) {
  run([](Rtnl& rtnl, const Netns& far) {
    const LinkInfo link = OK(veth(rtnl, far));
    OK(rtnl.order({add_address({.address = address("10.1.0.5/24"), .link = link.index})}));
    RouteInfo first{.destination = prefix("10.9.0.0/16"), .gateway = ip("10.1.0.1"), .link = link.index};
    RouteInfo second = first;
    second.gateway = ip("10.1.0.2");
    OK(rtnl.order({add_parallel_route(first), add_parallel_route(second)}));
    EXPECT_EQ(rtnl.order({add_parallel_route(second)}).error().errno_value(), EEXIST);
    std::size_t ways = 0;
    for (const RouteInfo& route : OK(rtnl.list_routes(Family::V4, link.index)))
      ways += route.destination == first.destination;
    EXPECT_EQ(ways, 2U);
  });
}

TEST_F(RtnlKernel, APermanentNeighbourIsKeptAndReplaced) {
  run([](Rtnl& rtnl, const Netns& far) {
    const LinkInfo link = OK(veth(rtnl, far));
    NeighbourInfo v4{.address = ip("169.254.1.1"), .link = link.index, .mac = mac("02:00:00:00:00:05")};
    const NeighbourInfo v6{.address = ip("fe80::1"), .link = link.index, .mac = mac("02:00:00:00:00:05")};
    OK(rtnl.order({replace_neighbour(v4), replace_neighbour(v6)}));
    v4.mac = mac("02:00:00:00:00:06");
    OK(rtnl.order({replace_neighbour(v4)}));
    const auto all = OK(rtnl.list_neighbours(link.index));
    EXPECT_EQ(all.size(), 2U);
    for (const NeighbourInfo& one : all) EXPECT_EQ(one, one.address.is_v4() ? v4 : v6);
  });
}

TEST_F(RtnlKernel, ArpNotifyIsSetWithTheLink) {
  run([](Rtnl& rtnl, const Netns& far) {
    OK(veth(rtnl, far));
    OK(rtnl.order({change_link({.name = "v0", .arp_notify = true})}));
    EXPECT_EQ(OK(read_sysctl("net/ipv4/conf/v0/arp_notify")), "1");
  });
}

TEST_F(RtnlKernel, AnEventTellsThatALinkCameUpAndThatItIsGone) {
  run([](Rtnl& rtnl, const Netns& far) {
    const LinkInfo link = OK(veth(rtnl, far));
    LinkEvents events = OK(LinkEvents::open());
    const auto up = [&](const LinkEvent& event) { return event.index == link.index && event.operstate == 6; };
    EXPECT_FALSE(OK(events.await(std::chrono::milliseconds(1), up))) << "its other end is down";
    OK(far.run([]() -> Status {
      auto inside = TRY(Rtnl::open());
      return inside.order({change_link({.up = true, .name = "eth0"})});
    }));
    EXPECT_TRUE(OK(events.await(std::chrono::seconds(10), up)));
    OK(rtnl.order({delete_link_message(link.index)}));
    EXPECT_TRUE(OK(events.await(std::chrono::seconds(10),
                                [&](const LinkEvent& event) { return event.index == link.index && event.deleted; })));
  });
}

TEST_F(RtnlKernel, EveryLinkIsListed) {
  run([](Rtnl& rtnl, const Netns& far) {
    OK(veth(rtnl, far));
    std::vector<std::string> names;
    for (const LinkInfo& link : OK(rtnl.list_links())) names.push_back(link.name);
    EXPECT_EQ(names, (std::vector<std::string>{"lo", "v0"}));
  });
}

}  // namespace
}  // namespace fairlead::net
