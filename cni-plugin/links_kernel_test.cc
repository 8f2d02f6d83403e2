// The other interface plugins in a real kernel.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>
#include <fstream>

#include "cni-plugin/interface_testing.h"
#include "cni-plugin/journal.h"
#include "cni-plugin/tables.h"

namespace fairlead::cni::testing {
namespace {

class CniLinks : public InterfaceTest {
 protected:
  // Where both ends of a veth have the same index the kernel may take a second to see that they are up (linux v6.1
  // net/core/link_watch.c linkwatch_urgent_event), and a namespace's first link always has 2.
  static void skip_an_index(Rtnl& host) {
    ok(host.order(net::create_veth({.name = "x0", .peer_name = "x1"})));
    ok(host.order({net::delete_link_message(ok(host.link("x0")).index)}));
  }
};

std::string point_to_point(unsigned host) {
  return config(
      "ptp", "",
      cat(address(cat("10.1.0.", host, "/24"), "10.1.0.1"), ",", address(cat("fd00:1::", host, "/64"), "fd00:1::1")));
}

TEST_F(CniLinks, PointToPointContainersReachEachOtherByTheHost) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container &a = container(), &b = container();
    const NetResult result = add("ptp", "a", a, point_to_point(5));
    add("ptp", "b", b, point_to_point(6));
    ok(connects(&*a.netns, &*b.netns, ip("10.1.0.6")));
    ok(connects(&*a.netns, &*b.netns, ip("fd00:1::6")));
    ok(connects(&*a.netns, nullptr, ip("10.1.0.1")));
    ASSERT_EQ(result.interfaces.size(), 2U);
    EXPECT_EQ(result.interfaces[0].name, host_link_name(attachment("a")));
    EXPECT_EQ(result.interfaces[1].name, "eth0");
    EXPECT_EQ(result.interfaces[1].sandbox, a.path);
    EXPECT_EQ(result.ips[0].interface, 1U);

    auto inside = ok(Rtnl::open(*a.netns));
    EXPECT_EQ(addresses(inside, "eth0"), (Names{"10.1.0.5/24", "fd00:1::5/64"}));
    EXPECT_EQ(routes(inside, net::Family::V4),
              (Names{"0.0.0.0/0 via 10.1.0.1", "10.1.0.0/24 via 10.1.0.1", "10.1.0.1/32"}));
    EXPECT_EQ(routes(host, net::Family::V4), (Names{"10.1.0.5/32", "10.1.0.6/32"}));
    EXPECT_EQ(addresses(host, host_link_name(attachment("a"))), (Names{"10.1.0.1/32", "fd00:1::1/128"}));
    EXPECT_EQ(check("ptp", "a", a, point_to_point(5)), "");
    ok(host.order({net::delete_route({.destination = *net::Prefix::parse("10.1.0.5/32")})}));
    EXPECT_EQ(check("ptp", "a", a, point_to_point(5)),
              cat("ptp: the host has lost its route to 10.1.0.5/32 by ", host_link_name(attachment("a"))));
    del("ptp", "a", a.path, point_to_point(5));
    del("ptp", "b", "", point_to_point(6));
    EXPECT_EQ(links(host), (Names{"lo"}));
    EXPECT_EQ(routes(host, net::Family::V4), Names{});
  });
}

TEST_F(CniLinks, PointToPointNeedsAGateway) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container& a = container();
    EXPECT_EQ(refused("ptp", "a", a, config("ptp", "", address("10.1.0.5/24"))),
              "ptp: ipam: 10.1.0.5/24 comes without a gateway, and a point-to-point link needs one");
    EXPECT_EQ(links(host), (Names{"lo"}));
  });
}

TEST_F(CniLinks, RoutedContainersReachEachOtherWithoutAQuestionAskedOnTheLink) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container &a = container(), &b = container();
    const std::string in_a = config("fairlead", "", cat(address("10.1.0.5/24"), ",", address("fd00:1::5/64")));
    const std::string in_b = config("fairlead", "", cat(address("10.1.0.6/24"), ",", address("fd00:1::6/64")));
    const NetResult result = add("fairlead", "a", a, in_a);
    add("fairlead", "b", b, in_b);
    ok(connects(&*a.netns, &*b.netns, ip("10.1.0.6")));
    ok(connects(&*a.netns, &*b.netns, ip("fd00:1::6")));
    ok(host.order({net::add_address({.address = *net::InterfaceAddress::parse("192.0.2.10/32"), .link = 1})}));
    ok(connects(nullptr, &*b.netns, ip("10.1.0.6")));
    EXPECT_EQ(result.ips[0].address.to_string(), "10.1.0.5/24") << "as IPAM has it";
    EXPECT_EQ(result.routes[0].gateway, ip("169.254.1.1"));

    auto inside = ok(Rtnl::open(*a.netns));
    EXPECT_EQ(addresses(inside, "eth0"), (Names{"10.1.0.5/32", "fd00:1::5/128"}));
    EXPECT_EQ(routes(inside, net::Family::V4), (Names{"0.0.0.0/0 via 169.254.1.1", "169.254.1.1/32"}));
    for (Rtnl* side : {&host, &inside}) {
      for (const net::NeighbourInfo& one : ok(side->list_neighbours(0))) {
        const bool link_local = one.address.bytes()[0] == 0xfe;  // told by the links' own announcements
        EXPECT_TRUE(one.permanent || link_local) << one.address;
      }
    }
    const std::string host_name = host_link_name(attachment("a"));
    const auto host_routes = ok(host.list_routes(net::Family::V4, ok(host.link(host_name)).index));
    ASSERT_EQ(host_routes.size(), 1U);
    EXPECT_EQ(host_routes[0].protocol, 76) << "ours";
    EXPECT_EQ(check("fairlead", "a", a, in_a), "");
    del("fairlead", "a", a.path, in_a);
    del("fairlead", "b", "", in_b);
    EXPECT_EQ(links(host), (Names{"lo"}));
  });
}

TEST_F(CniLinks, FairleadIsABridgeWhereItIsGivenOneAndRoutedElse) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container& a = container();
    const auto mode_of = [&](std::string_view keys) {
      const std::string text = config("fairlead", keys, address("10.85.0.5/16"));
      const std::size_t interfaces = add("fairlead", "a", a, text).interfaces.size();
      del("fairlead", "a", a.path, text);
      return interfaces == 3 ? "bridge" : "routed";
    };
    EXPECT_EQ(mode_of(R"("bridge":"cni0","isGateway":true)"), std::string("bridge"));
    EXPECT_EQ(mode_of(R"("mode":"bridge","isGateway":true)"), std::string("bridge"));
    EXPECT_EQ(mode_of(R"("mode":"routed","bridge":"cni0")"), std::string("routed"));
    EXPECT_EQ(mode_of(""), std::string("routed"));
    EXPECT_EQ(refused("fairlead", "a", a, config("fairlead", R"("mode":"magic")", "")),
              "fairlead: mode: \"magic\" is unknown; allowed is \"bridge\" or \"routed\"");
    EXPECT_EQ(links(host), (Names{"cni0", "lo"}));
  });
}

// The comments of all elements in nftables that belong to attachments.
Names owned_elements() {
  Names owned;
  auto tables = ok(Tables::open());
  for (const std::string& comment : ok(tables.comments())) {
    if (!comment.empty()) owned.push_back(comment);
  }
  return owned;
}

constexpr char kV4Route[] = R"({"dst":"0.0.0.0/0"})";

TEST_F(CniLinks, FairleadDoesWhatAWholeChainDoesAndUndoesIt) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container &a = container(), &b = container();
    ok(host.order({net::add_address({.address = *net::InterfaceAddress::parse("192.0.2.10/32"), .link = 1})}));
    const std::string keys =
        R"("ipMasq":true,"firewall":true,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,)"
        R"("protocol":"tcp"}],"bandwidth":{"ingressRate":800000000,"ingressBurst":8000000,"egressRate":800000000,)"
        R"("egressBurst":8000000}})";
    const std::string all = config("fairlead", keys, address("10.1.0.5/24"), kV4Route);
    const std::string plain = config("fairlead", "", address("10.1.0.6/24"), kV4Route);
    add("fairlead", "a", a, all);
    add("fairlead", "b", b, plain);
    EXPECT_FALSE(owned_elements().empty());
    EXPECT_EQ(check("fairlead", "a", a, all), "");
    EXPECT_EQ(check("fairlead", "b", b, plain), "");
    ok(connects(&*b.netns, &*a.netns, ip("10.1.0.5"), 80));
    ok(connects(&*b.netns, &*a.netns, ip("10.1.0.5"), 80, Seen{ip("192.0.2.10"), 8080}));
    del("fairlead", "b", b.path, plain);
    EXPECT_EQ(check("fairlead", "a", a, all), "");
    del("fairlead", "a", "", all);
    EXPECT_EQ(owned_elements(), Names{});
    EXPECT_EQ(links(host), (Names{"lo"}));
  });
}

TEST_F(CniLinks, GcTakesAwayTheNetworksLinksAndElementsThatNobodyHasEvenWithoutRecords) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container &a = container(), &b = container(), &other = container();
    const std::string in_a = config("fairlead", R"("ipMasq":true)", address("10.1.0.5/24"), kV4Route);
    const std::string in_b = config("fairlead", R"("ipMasq":true)", address("10.1.0.6/24"), kV4Route);
    std::string elsewhere = config("fairlead", "", address("10.1.0.7/24"), kV4Route);
    elsewhere.replace(elsewhere.find("pods"), 4, "elsewhere");
    add("fairlead", "a", a, in_a);
    add("fairlead", "b", b, in_b);
    const NetResult kept = add("fairlead", "c", other, elsewhere);
    std::filesystem::remove_all(world_.run_dir);
    const std::string valid =
        cat(in_a.substr(0, in_a.rfind('}')), R"(,"cni.dev/valid-attachments":[{"containerID":"b","ifname":"eth0"}]})");
    const Answer answer = call("GC", "fairlead", "", "", valid);
    EXPECT_EQ(answer.exit_code, 0) << answer.out;
    Names left{"lo", host_link_name(attachment("b")), kept.interfaces[0].name};
    std::sort(left.begin(), left.end());
    EXPECT_EQ(links(host), left);
    for (const std::string& comment : owned_elements())
      EXPECT_EQ(comment.substr(0, 16), element_mark(attachment("b"))) << comment;
    EXPECT_EQ(check("fairlead", "b", b, in_b), "");
  });
}

TEST_F(CniLinks, WhatFailsTakesNoInterfaceThatWasThereBefore) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container &ours = container(), &foreign = container();
    std::string elsewhere = config("fairlead", "", address("10.1.0.7/24"), kV4Route);
    elsewhere.replace(elsewhere.find("pods"), 4, "elsewhere");
    add("fairlead", "a", ours, elsewhere);
    ok(host.order(net::create_veth({.name = "other", .peer_name = "eth0", .peer_netns_fd = foreign.netns->fd()})));
    for (const Container* a : {&ours, &foreign}) {
      for (const char* plugin : {"bridge", "ptp", "fairlead", "macvlan", "ipvlan"}) {
        for (const char* keys : {R"("master":"nosuch")", R"("mtu":"wrong")", R"("mode":"magic")"}) {
          EXPECT_EQ(refused(plugin, "a", *a, config(plugin, keys, address("10.1.0.5/24"), kV4Route)),
                    cat(plugin, ": CNI_IFNAME: the container has an interface eth0 already"));
          EXPECT_EQ(links(*a), (Names{"eth0", "lo"})) << plugin << " " << keys;
        }
      }
    }
  });
}

TEST_F(CniLinks, ADelTakesNoInterfaceOfAnotherNetwork) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    Container& a = container();
    std::string elsewhere = config("fairlead", "", address("10.1.0.7/24"), kV4Route);
    elsewhere.replace(elsewhere.find("pods"), 4, "elsewhere");
    add("fairlead", "a", a, elsewhere);
    for (const char* plugin : {"bridge", "ptp", "fairlead", "macvlan", "ipvlan"}) {
      del(plugin, "a", a.path, config(plugin, "", address("10.1.0.5/24"), kV4Route));
      EXPECT_EQ(links(a), (Names{"eth0", "lo"})) << plugin;
    }
    del("fairlead", "a", a.path, elsewhere);
    EXPECT_EQ(links(a), (Names{"lo"}));
  });
}

TEST_F(CniLinks, TheHostReachesAPodThroughTuningsChangesOfItsMac) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    ok(host.order({net::add_address({.address = *net::InterfaceAddress::parse("192.0.2.10/32"), .link = 1})}));
    unsigned at = 5;
    for (const char* keys : {R"("mode":"routed")", R"("bridge":"cni0","isGateway":true)"}) {
      Container& a = container();
      const std::string id = cat("c", at), own = cat("10.1.0.", at++);
      const std::string pod = config("fairlead", keys, address(cat(own, "/24")), "");
      const net::Mac before = *net::parse_mac(add("fairlead", id, a, pod).interfaces.back().mac);
      ok(connects(nullptr, &*a.netns, ip(own)));
      const std::string tuning = cat(R"({"cniVersion":"1.1.0","name":"pods","type":"tuning","dataDir":")",
                                     folder_.path(), R"(","mac":"02:00:00:00:00:0c","prevResult":)", results_[id], "}");
      const auto known = [&] {
        for (const net::NeighbourInfo& one : ok(host.list_neighbours(0))) {
          if (one.address == ip(own)) return net::to_string(one.mac);
        }
        return std::string();
      };
      add("tuning", id, a, tuning);
      EXPECT_EQ(known(), "02:00:00:00:00:0c") << keys;
      ok(connects(nullptr, &*a.netns, ip(own)));
      del("tuning", id, a.path, tuning);
      EXPECT_EQ(known(), net::to_string(before)) << keys;
      ok(connects(nullptr, &*a.netns, ip(own)));
      del("fairlead", id, a.path, pod);
    }
  });
}

// From here on the thread's socket(AF_NETLINK, ..., NETLINK_NETFILTER) fails with `error`.
void refuse_netfilter(int error) {
  const auto field = [](std::size_t at) { return static_cast<std::uint32_t>(at); };
  const auto load = [&](std::size_t at) { return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, field(at)); };
  const auto unless = [](std::uint32_t value, std::uint8_t skip) {
    return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip);
  };
  const std::size_t arguments = offsetof(seccomp_data, args);
  sock_filter program[] = {load(offsetof(seccomp_data, nr)),
                           unless(SYS_socket, 5),
                           load(arguments),
                           unless(AF_NETLINK, 3),
                           load(arguments + 2 * sizeof(std::uint64_t)),
                           unless(NETLINK_NETFILTER, 1),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{.len = std::size(program), .filter = program};
  ASSERT_EQ(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter), 0) << "needs root";
  ASSERT_EQ(::socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), -1);
  ASSERT_EQ(errno, error);
}

class CniWithoutNftables : public CniLinks {
 protected:
  std::string pods(std::string_view plugin, std::string_view keys) {
    return cat(R"({"cniVersion":"1.1.0","name":"pods","type":")", plugin, "\",", keys, keys.empty() ? "" : ",",
               R"("ipam":{"type":"host-local","subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0"}],"dataDir":")",
               folder_.path(), "\"}}");
  }
  bool is_held() {
    const std::filesystem::directory_iterator files(folder_ / "pods");
    return std::any_of(begin(files), end(files),
                       [](const auto& file) { return file.path().filename().string().starts_with("10.1.0."); });
  }
  static std::string with_valid(const std::string& config) {
    return cat(config.substr(0, config.rfind('}')), R"(,"cni.dev/valid-attachments":[]})");
  }
};

TEST_F(CniWithoutNftables, DelAndGcFindNothingThere) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    refuse_netfilter(EPROTONOSUPPORT);
    Container& a = container();
    for (const char* plugin : {"fairlead", "bridge", "ptp"}) {
      add(plugin, "a", a, pods(plugin, ""));
      EXPECT_TRUE(is_held());
      del(plugin, "a", a.path, pods(plugin, R"("ipMasq":true,"macspoofchk":true)"));
      EXPECT_FALSE(is_held()) << plugin;
      const Answer gc = call("GC", plugin, "", "", with_valid(pods(plugin, "")));
      EXPECT_EQ(gc.exit_code, 0) << gc.out;
    }
    for (const char* plugin : {"portmap", "firewall"}) del(plugin, "a", a.path, pods(plugin, ""));
  });
}

TEST_F(CniWithoutNftables, TheAddressIsReleasedThoughTheTablesCannotBeAsked) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    refuse_netfilter(EACCES);
    Container& a = container();
    add("fairlead", "a", a, pods("fairlead", ""));
    const Answer answer = call("DEL", "fairlead", "a", a.path, pods("fairlead", ""));
    EXPECT_NE(answer.exit_code, 0) << "what may be in the tables is not forgotten";
    EXPECT_FALSE(is_held());
    EXPECT_EQ(links(host), (Names{"lo"}));
  });
}

TEST_F(CniWithoutNftables, GcGoesOnBehindErrorsAndTellsThemAll) {
  run([&](Rtnl& host) {
    skip_an_index(host);
    refuse_netfilter(EACCES);
    Container& a = container();
    add("fairlead", "a", a, pods("fairlead", ""));
    for (const std::string& record : list_all_records(world_)) std::filesystem::remove(record);
    const Answer answer = call("GC", "fairlead", "", "", with_valid(pods("fairlead", "")));
    EXPECT_NE(answer.exit_code, 0);
    const std::size_t first = answer.out.find("Permission denied");
    ASSERT_NE(first, std::string::npos) << answer.out;
    EXPECT_NE(answer.out.find("Permission denied", first + 1), std::string::npos) << answer.out;
    EXPECT_EQ(links(host), (Names{"lo"}));
    EXPECT_FALSE(is_held());
  });
}

TEST_F(CniLinks, TuningsDelAsksNoMoreThanWhereTheBackupIs) {
  run([&](Rtnl& host) {
    Container& a = container();
    ok(host.order(net::create_veth({.name = "other", .peer_name = "eth0", .peer_netns_fd = a.netns->fd()})));
    const auto tuning = [&](std::string_view keys) {
      return cat(R"({"cniVersion":"1.1.0","name":"pods","type":"tuning","prevResult":{"cniVersion":"1.1.0"},)",
                 R"("dataDir":")", folder_.path(), "\",", keys, "}");
    };
    for (const char* bad : {R"("mac":"c2:b0:57:49:47")", R"("sysctl":{"net.core.somaxconn":500})"}) {
      refused("tuning", "a", a, tuning(bad));
      EXPECT_EQ(list_all_records(world_), Names{}) << bad;
      del("tuning", "a", a.path, tuning(bad));
    }
    add("tuning", "a", a, tuning(R"("mtu":1400)"));
    std::ofstream(folder_ / "a_eth0.json") << R"({"mtu":5})";
    del("tuning", "a", a.path, tuning(R"("mtu":"a lot")"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "a_eth0.json")) << "though it could not be restored";
  });
}

class CniMacvlan : public CniLinks {
 protected:
  static std::string macvlan(unsigned host, std::string_view keys) {
    return config("macvlan", keys, address(cat("10.2.0.", host, "/24")), "");
  }
  // eth0, up, as the host's own interface.
  static void make_master(Rtnl& host) {
    ok(host.order(net::create_veth({.name = "eth0", .peer_name = "wire"})));
    ok(host.order({net::change_link({.up = true, .name = "wire"})}));
  }
};

TEST_F(CniMacvlan, ContainersOfOneMasterReachEachOtherThoughTheHostHasAnInterfaceOfTheSameName) {
  run([&](Rtnl& host) {
    make_master(host);
    Container &a = container(), &b = container();
    const NetResult result = add("macvlan", "a", a, macvlan(5, R"("master":"eth0")"));
    add("macvlan", "b", b, macvlan(6, R"("master":"eth0","mac":"02:00:00:00:00:0c","mtu":1400)"));
    ok(connects(&*a.netns, &*b.netns, ip("10.2.0.6")));
    ASSERT_EQ(result.interfaces.size(), 1U);
    EXPECT_EQ(result.interfaces[0].name, "eth0");
    EXPECT_EQ(result.ips[0].interface, 0U);
    auto inside = ok(Rtnl::open(*b.netns));
    const net::LinkInfo link = ok(inside.link("eth0"));
    EXPECT_EQ(net::to_string(link.mac), "02:00:00:00:00:0c");
    EXPECT_EQ(link.mtu, 1400U);
    EXPECT_EQ(check("macvlan", "a", a, macvlan(5, R"("master":"eth0")")), "");
    EXPECT_EQ(check("macvlan", "a", a, macvlan(5, R"("master":"eth0","mode":"vepa")")),
              "macvlan: eth0 has mode 4, not 2");
    del("macvlan", "a", a.path, macvlan(5, R"("master":"eth0")"));
    del("macvlan", "a", a.path, macvlan(5, R"("master":"eth0")"));
    EXPECT_EQ(links(a), (Names{"lo"}));
    EXPECT_EQ(links(host), (Names{"eth0", "lo", "wire"}));
  });
}

TEST_F(CniMacvlan, TheMasterIsTheDefaultRoutesWhereNoneIsGiven) {
  run([&](Rtnl& host) {
    make_master(host);
    Container& a = container();
    EXPECT_EQ(refused("macvlan", "a", a, macvlan(5, "")),
              "macvlan: master: master: is missing, and there is no default route whose interface could be it");
    const std::uint32_t master = ok(host.link("eth0")).index;
    ok(host.order(
        {net::add_address({.address = *net::InterfaceAddress::parse("192.0.2.5/24"), .link = master}),
         net::add_route(
             {.destination = *net::Prefix::parse("0.0.0.0/0"), .gateway = ip("192.0.2.1"), .link = master})}));
    add("macvlan", "a", a, macvlan(5, R"("mode":"private")"));
    auto inside = ok(Rtnl::open(*a.netns));
    EXPECT_EQ(ok(inside.link("eth0")).peer, master);
    EXPECT_EQ(
        net::netlink_value<std::uint32_t>(net::netlink_attribute(ok(inside.link("eth0")).kind_data, IFLA_MACVLAN_MODE)),
        unsigned{MACVLAN_MODE_PRIVATE});
  });
}

TEST_F(CniMacvlan, TheMasterMayBeTheContainersOwn) {
  run([&](Rtnl& host) {
    Container& a = container();
    ok(host.order(net::create_veth({.name = "wire", .peer_name = "net1", .peer_netns_fd = a.netns->fd()})));
    add("macvlan", "a", a, macvlan(5, R"("master":"net1","linkInContainer":true)"));
    EXPECT_EQ(links(a), (Names{"eth0", "lo", "net1"}));
  });
}

TEST_F(CniMacvlan, WhatCannotBeIsRefusedAndLeavesNothing) {
  run([&](Rtnl& host) {
    make_master(host);
    Container& a = container();
    EXPECT_EQ(refused("macvlan", "a", a, macvlan(5, R"("master":"eth0","mtu":9000)")),
              "macvlan: mtu: 9000 is more than that of eth0 (1500)");
    EXPECT_EQ(refused("macvlan", "a", a, macvlan(5, R"("master":"eth9")")),
              "macvlan: master: interface eth9: No such device");
    EXPECT_EQ(refused("macvlan", "a", a, macvlan(5, R"("master":"eth0","mode":"magic")")),
              "macvlan: mode: \"magic\" is unknown; allowed is \"bridge\", \"private\", \"vepa\" or \"passthru\"");
    refused(
        "macvlan", "a", a,
        config("macvlan", R"("master":"eth0")", address("10.2.0.5/24"), R"({"dst":"10.9.0.0/16","gw":"192.0.2.1"})"));
    EXPECT_EQ(links(a), (Names{"lo"}));
  });
}

TEST_F(CniLinks, IpvlanNamesTheModuleThatTheKernelLacks) {
  run([&](Rtnl& host) {
    ok(host.order(net::create_veth({.name = "eth0", .peer_name = "wire"})));
    Container& a = container();
    const Answer answer =
        call("ADD", "ipvlan", "a", a.path, config("ipvlan", R"("master":"eth0")", address("10.2.0.5/24"), ""));
    if (answer.exit_code == 0) GTEST_SKIP() << "this kernel has ipvlan: the error is not seen";
    EXPECT_NE(answer.out.find("create ipvlan (the kernel lacks it: is the module ipvlan there?)"), std::string::npos)
        << answer.out;
    EXPECT_EQ(links(a), (Names{"lo"}));
  });
}

}  // namespace
}  // namespace fairlead::cni::testing
