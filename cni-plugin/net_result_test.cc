#include "cni-plugin/net_result.h"

#include <gtest/gtest.h>

#include "cni-plugin/testing.h"

namespace fairlead::cni {
namespace {

using testing::json;

net::InterfaceAddress address(std::string_view text) { return *net::InterfaceAddress::parse(text); }
net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }

NetResult full() {
  NetResult result;
  result.interfaces = {{"cni0", "02:00:00:00:00:01", "", 1450, "", ""},
                       {"eth0", "02:00:00:00:00:02", "/var/run/netns/a", 1450, "/run/vhost", "0000:01:00.0"}};
  result.ips = {{1, address("10.1.0.5/24"), ip("10.1.0.1")}, {1, address("fd00::5/64"), std::nullopt}};
  Route metric{*net::Prefix::parse("10.2.0.0/16"), ip("10.1.0.9"), {}, {}, {}, {}, {}};
  metric.mtu = 1400;
  metric.table = 100;
  result.routes = {{*net::Prefix::parse("0.0.0.0/0"), {}, {}, {}, {}, {}, {}},
                   metric,
                   {*net::Prefix::parse("::/0"), ip("fd00::1"), {}, {}, {}, {}, {}}};
  result.dns = {{"10.0.0.10"}, "cluster.local", {"svc.cluster.local"}, {"ndots:5"}};
  return result;
}

std::string written(const NetResult& result, std::string_view version) {
  const auto out = to_json(result, version);
  return out ? base::to_json(*out) : out.error().message();
}

constexpr char kDns[] =
    R"("dns":{"nameservers":["10.0.0.10"],"domain":"cluster.local","search":["svc.cluster.local"],"options":["ndots:5"]})";

TEST(NetResult, Of110HasEverything) {
  EXPECT_EQ(written(full(), "1.1.0"),
            base::cat(R"({"cniVersion":"1.1.0","interfaces":[)"
                      R"({"name":"cni0","mac":"02:00:00:00:00:01","mtu":1450},)"
                      R"({"name":"eth0","mac":"02:00:00:00:00:02","mtu":1450,"sandbox":"/var/run/netns/a",)"
                      R"("socketPath":"/run/vhost","pciID":"0000:01:00.0"}],)"
                      R"("ips":[{"interface":1,"address":"10.1.0.5/24","gateway":"10.1.0.1"},)"
                      R"({"interface":1,"address":"fd00::5/64"}],)"
                      R"("routes":[{"dst":"0.0.0.0/0"},{"dst":"10.2.0.0/16","gw":"10.1.0.9","mtu":1400,"table":100},)"
                      R"({"dst":"::/0","gw":"fd00::1"}],)",
                      kDns, "}"));
}

TEST(NetResult, Before100AnAddressHasItsVersionAndAnInterfaceNoMtu) {
  EXPECT_EQ(written(full(), "0.4.0"),
            base::cat(R"({"cniVersion":"0.4.0","interfaces":[)"
                      R"({"name":"cni0","mac":"02:00:00:00:00:01"},)"
                      R"({"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/var/run/netns/a"}],)"
                      R"("ips":[{"version":"4","interface":1,"address":"10.1.0.5/24","gateway":"10.1.0.1"},)"
                      R"({"version":"6","interface":1,"address":"fd00::5/64"}],)"
                      R"("routes":[{"dst":"0.0.0.0/0"},{"dst":"10.2.0.0/16","gw":"10.1.0.9","mtu":1400,"table":100},)"
                      R"({"dst":"::/0","gw":"fd00::1"}],)",
                      kDns, "}"));
}

TEST(NetResult, Before030ThereIsOneAddressOfEachFamilyWithItsRoutes) {
  NetResult result = full();
  result.ips.insert(result.ips.begin() + 1, {1, address("10.9.0.5/24"), std::nullopt});
  EXPECT_EQ(written(result, "0.2.0"),
            base::cat(R"({"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/24","gateway":"10.1.0.1",)"
                      R"("routes":[{"dst":"0.0.0.0/0"},{"dst":"10.2.0.0/16","gw":"10.1.0.9","mtu":1400,"table":100}]},)"
                      R"("ip6":{"ip":"fd00::5/64","routes":[{"dst":"::/0","gw":"fd00::1"}]},)",
                      kDns, "}"));
  EXPECT_EQ(written(NetResult(), "0.1.0"), "a result of cniVersion 0.1.0 needs an address, and there is none");
}

TEST(NetResult, AnEmptyOneStillHasItsDns) { EXPECT_EQ(written({}, "1.0.0"), R"({"cniVersion":"1.0.0","dns":{}})"); }

TEST(NetResult, WhatIsWrittenIsReadBackInEveryVersion) {
  for (const std::string_view version : kVersions) {
    NetResult want = full();
    if (version < "1.0.0") {
      for (Interface& interface : want.interfaces)
        interface = {interface.name, interface.mac, interface.sandbox, 0, "", ""};
    }
    if (version < "0.3.0") {
      want.interfaces.clear();
      for (IpConfig& each : want.ips) each.interface.reset();
    }
    const auto out = to_json(want, version);
    ASSERT_TRUE(out) << version;
    const auto back = parse_result(*out, "1.1.0");
    ASSERT_TRUE(back) << version << ": " << back.error().message();
    EXPECT_EQ(*back, want) << version;
  }
}

TEST(NetResult, ItsOwnVersionCountsBeforeTheConfigurations) {
  const auto result = parse_result(json(R"({"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/8"}})"), "1.0.0");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->ips.size(), 1U);
  EXPECT_TRUE(parse_result(json(R"({"ip4":{"ip":"10.0.0.2/8"}})"), "1.0.0")->ips.empty());
}

TEST(NetResult, AnErrorNamesTheMember) {
  const auto message = [](std::string_view text) {
    const auto result = parse_result(json(text), "1.0.0");
    return result ? std::string("accepted") : base::cat(result.error().code(), ": ", result.error().message());
  };
  EXPECT_EQ(message(R"({"ips":[{"address":"10.0.0.1"}]})"),
            "6: ips[0].address: \"10.0.0.1\" is not a prefix (address/bits)");
  EXPECT_EQ(message(R"({"ips":[{}]})"), "7: ips[0].address: is missing");
  EXPECT_EQ(message(R"({"interfaces":[{"name":"a"}],"ips":[{"address":"10.0.0.1/8","interface":1}]})"),
            "7: ips[0].interface: 1 is no index into the 1 interfaces");
  EXPECT_EQ(message(R"({"routes":[{"dst":"10.0.0.0/8","gw":"x"}]})"),
            "6: routes[0].gw: \"x\" is not an IPv4 or IPv6 address");
  EXPECT_EQ(message(R"({"routes":{}})"), "6: routes: must be a list of objects, not an object");
  EXPECT_EQ(message(R"({"dns":{"nameservers":"10.0.0.10"}})"),
            "6: dns.nameservers: must be a list of strings, not a string (\"10.0.0.10\")");
  EXPECT_EQ(message(R"({"cniVersion":"3.0.0"})"), "7: cniVersion: no result has the version \"3.0.0\"");
}

TEST(NetResult, AnIpamPluginsInterfaceMeansNothing) {
  const auto result = parse_result(json(R"({"ips":[{"address":"10.0.0.1/8","interface":0}]})"), "1.0.0");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_FALSE(result->ips.front().interface);
}

}  // namespace
}  // namespace fairlead::cni
