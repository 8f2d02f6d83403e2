// What goes over the wire, read back attribute by attribute.
#include "net/rtnl.h"

#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include "base/strings.h"
#include "net/bridge.h"

namespace fairlead::net {
namespace {

// A request taken apart.
template <typename Header>
struct Request {
  explicit Request(const NetlinkMessage& message) : bytes(message.finished()) {
    type = message.type();
    flags = message.flags();
    const auto body = std::string_view(bytes).substr(NLMSG_HDRLEN);
    header = netlink_value<Header>(body);
    attributes = body.substr(NLMSG_ALIGN(sizeof(Header)));
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  std::string_view at(std::uint16_t attribute) const { return netlink_attribute(attributes, attribute); }
  std::uint32_t number(std::uint16_t attribute) const { return netlink_value<std::uint32_t>(at(attribute)); }

  std::string bytes;
  std::uint16_t type = 0, flags = 0;
  Header header{};
  std::string_view attributes;
};

std::string_view text(std::string_view value) { return value.substr(0, value.find('\0')); }
Ip ip(std::string_view text) { return *Ip::parse(text); }
InterfaceAddress interface_address(std::string_view text) { return *InterfaceAddress::parse(text); }

TEST(Mac, IsReadAsGoReadsItAndWrittenInLowerCase) {
  EXPECT_EQ(to_string(*parse_mac("02:AB:cd:00:00:0f")), "02:ab:cd:00:00:0f");
  EXPECT_EQ(to_string(*parse_mac("02-ab-cd-00-00-0f")), "02:ab:cd:00:00:0f");
  for (const char* wrong : {"", "02:ab:cd:00:00", "02:ab:cd:00:00:0g", "02ab.cd00.000f", "02:ab:cd:00:00:0f:00"}) {
    const auto mac = parse_mac(wrong);
    ASSERT_FALSE(mac) << wrong;
    EXPECT_EQ(mac.error().message(), base::cat("\"", wrong, "\" is not a MAC address (02:00:00:00:00:01)"));
  }
}

TEST(RtnlMessages, AVethIsBornWithItsPeerInTheOtherNamespaceAndMarkedByASecondMessage) {
  const auto messages = create_veth({.name = "veth0",
                                     .alias = "ours",
                                     .mtu = 1400,
                                     .master = 7,
                                     .slave_data = bridge_port_data({.hairpin = true}),
                                     .peer_name = "eth0",
                                     .peer_mac = parse_mac("02:00:00:00:00:05").value(),
                                     .peer_netns_fd = 9});
  ASSERT_EQ(messages.size(), 2U);
  const Request<ifinfomsg> born(messages[0]);
  EXPECT_EQ(born.type, RTM_NEWLINK);
  EXPECT_EQ(born.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
  EXPECT_EQ(born.header.ifi_flags, unsigned{IFF_UP});
  EXPECT_EQ(text(born.at(IFLA_IFNAME)), "veth0");
  EXPECT_EQ(born.number(IFLA_MTU), 1400U);
  EXPECT_EQ(born.number(IFLA_MASTER), 7U);
  EXPECT_TRUE(born.at(IFLA_ADDRESS).empty());
  const auto info = born.at(IFLA_LINKINFO);
  EXPECT_EQ(text(netlink_attribute(info, IFLA_INFO_KIND)), "veth");
  const auto peer =
      netlink_attribute(netlink_attribute(info, IFLA_INFO_DATA), VETH_INFO_PEER).substr(sizeof(ifinfomsg));
  EXPECT_EQ(text(netlink_attribute(peer, IFLA_IFNAME)), "eth0");
  EXPECT_EQ(netlink_value<std::uint32_t>(netlink_attribute(peer, IFLA_NET_NS_FD)), 9U);
  EXPECT_EQ(netlink_value<std::uint32_t>(netlink_attribute(peer, IFLA_MTU)), 1400U);
  EXPECT_EQ(to_string(netlink_value<Mac>(netlink_attribute(peer, IFLA_ADDRESS))), "02:00:00:00:00:05");

  const Request<ifinfomsg> marked(messages[1]);
  EXPECT_EQ(marked.flags, NLM_F_REQUEST) << "no NLM_F_CREATE: it must be there";
  EXPECT_EQ(marked.header.ifi_index, 0);
  EXPECT_EQ(text(marked.at(IFLA_IFNAME)), "veth0");
  EXPECT_EQ(marked.at(IFLA_IFALIAS), "ours");
  EXPECT_EQ(parse_bridge_port(netlink_attribute(marked.at(IFLA_LINKINFO), IFLA_INFO_SLAVE_DATA)),
            (BridgePort{.hairpin = true, .isolated = false}));
}

TEST(RtnlMessages, AnAddressCarriesItsBroadcastUnlessItsSubnetHasNone) {
  const auto broadcast = [](const char* text) {
    return std::string(
        Request<ifaddrmsg>(add_address({.address = interface_address(text), .link = 3})).at(IFA_BROADCAST));
  };
  EXPECT_EQ(broadcast("10.1.2.3/24"), "\x0a\x01\x02\xff");
  EXPECT_EQ(broadcast("10.1.2.3/30"), "\x0a\x01\x02\x03");
  EXPECT_EQ(broadcast("10.1.2.3/31"), "");
  EXPECT_EQ(broadcast("10.1.2.3/32"), "");
  EXPECT_EQ(broadcast("fd00::3/64"), "");
}

TEST(RtnlMessages, AnAddressWithoutDuplicateDetectionSaysSoInItsFlags) {
  const Request<ifaddrmsg> request(
      add_address({.address = interface_address("fd00::3/64"), .link = 3, .flags = IFA_F_NODAD}));
  EXPECT_EQ(request.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
  EXPECT_EQ(request.header.ifa_family, AF_INET6);
  EXPECT_EQ(request.header.ifa_prefixlen, 64);
  EXPECT_EQ(request.header.ifa_index, 3U);
  EXPECT_EQ(request.number(IFA_FLAGS), unsigned{IFA_F_NODAD});
}

TEST(RtnlMessages, ARouteSaysOnlyWhatIsSet) {
  const Request<rtmsg> plain(
      add_route({.destination = *Prefix::parse("0.0.0.0/0"), .gateway = ip("10.1.0.1"), .link = 3}));
  EXPECT_EQ(plain.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL);
  EXPECT_EQ(plain.header.rtm_family, AF_INET);
  EXPECT_EQ(plain.header.rtm_table, RT_TABLE_MAIN);
  EXPECT_EQ(plain.header.rtm_protocol, RTPROT_BOOT);
  EXPECT_EQ(plain.header.rtm_type, RTN_UNICAST);
  EXPECT_TRUE(plain.at(RTA_DST).empty()) << "the default route";
  EXPECT_EQ(plain.at(RTA_GATEWAY), std::string_view("\x0a\x01\x00\x01", 4));
  EXPECT_TRUE(plain.at(RTA_METRICS).empty());

  const Request<rtmsg> full(replace_route({.destination = *Prefix::parse("fd00:1::/64"),
                                           .link = 3,
                                           .source = ip("fd00::5"),
                                           .scope = RT_SCOPE_LINK,
                                           .protocol = 77,
                                           .table = 1000,
                                           .priority = 5,
                                           .mtu = 1300,
                                           .advmss = 1200,
                                           .on_link = true}));
  EXPECT_EQ(full.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE);
  EXPECT_EQ(full.header.rtm_dst_len, 64);
  EXPECT_EQ(full.header.rtm_scope, RT_SCOPE_LINK);
  EXPECT_EQ(full.header.rtm_protocol, 77);
  EXPECT_EQ(full.header.rtm_flags, unsigned{RTNH_F_ONLINK});
  EXPECT_EQ(full.number(RTA_TABLE), 1000U);
  EXPECT_EQ(full.number(RTA_PRIORITY), 5U);
  EXPECT_EQ(full.at(RTA_PREFSRC).size(), 16U);
  EXPECT_EQ(netlink_value<std::uint32_t>(netlink_attribute(full.at(RTA_METRICS), RTAX_MTU)), 1300U);
  EXPECT_EQ(netlink_value<std::uint32_t>(netlink_attribute(full.at(RTA_METRICS), RTAX_ADVMSS)), 1200U);
}

TEST(RtnlMessages, ADeletedRouteIsFoundWhoeverMadeIt) {
  const Request<rtmsg> request(delete_route({.destination = *Prefix::parse("10.1.0.0/16"), .link = 3}));
  EXPECT_EQ(request.type, RTM_DELROUTE);
  EXPECT_EQ(request.header.rtm_scope, RT_SCOPE_NOWHERE);
  EXPECT_EQ(request.header.rtm_protocol, RTPROT_UNSPEC);
}

TEST(RtnlMessages, AChangeNamesOnlyTheFlagsItMeans) {
  const Request<ifinfomsg> request(
      change_link({.index = 4, .up = false, .mac = parse_mac("02:00:00:00:00:05").value(), .promiscuous = true}));
  EXPECT_EQ(request.type, RTM_NEWLINK);
  EXPECT_EQ(request.header.ifi_index, 4);
  EXPECT_EQ(request.header.ifi_change, unsigned{IFF_UP | IFF_PROMISC});
  EXPECT_EQ(request.header.ifi_flags, unsigned{IFF_PROMISC});
  EXPECT_TRUE(request.at(IFLA_IFNAME).empty());
}

TEST(RtnlMessages, AnIpvlanIsAskedForAsTheKernelDefinesIt) {
  const std::uint16_t mode_l3 = 1;
  const std::string data =
      NetlinkMessage::attributes([&](NetlinkMessage& message) { message.value(IFLA_IPVLAN_MODE, mode_l3); });
  const auto messages =
      create_link({.name = "eth0", .kind = "ipvlan", .data = data, .mtu = 1400, .link = 2, .netns_fd = 9});
  ASSERT_EQ(messages.size(), 1U) << "an alias cannot be set from outside";
  const Request<ifinfomsg> request(messages[0]);
  EXPECT_EQ(request.number(IFLA_LINK), 2U);
  EXPECT_EQ(request.number(IFLA_NET_NS_FD), 9U);
  EXPECT_EQ(text(netlink_attribute(request.at(IFLA_LINKINFO), IFLA_INFO_KIND)), "ipvlan");
  EXPECT_EQ(netlink_attribute(request.at(IFLA_LINKINFO), IFLA_INFO_DATA), data);
}

// The kernel of the tests may lack CONFIG_BRIDGE_VLAN_FILTERING.
TEST(BridgeMessages, APortsVlansAreOneMessage) {
  const Request<ifinfomsg> request(add_port_vlans(5, 100, {{7, 7}, {200, 300}}));
  EXPECT_EQ(request.type, RTM_SETLINK);
  EXPECT_EQ(request.header.ifi_family, AF_BRIDGE);
  EXPECT_EQ(request.header.ifi_index, 5);
  std::vector<std::pair<unsigned, unsigned>> told;  // flags, number
  for_each_netlink_attribute(request.at(IFLA_AF_SPEC), [&](std::uint16_t type, std::string_view value) {
    EXPECT_EQ(type, IFLA_BRIDGE_VLAN_INFO);
    const auto info = netlink_value<bridge_vlan_info>(value);
    told.emplace_back(info.flags, info.vid);
  });
  EXPECT_EQ(told, (std::vector<std::pair<unsigned, unsigned>>{{BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, 100},
                                                              {0, 7},
                                                              {BRIDGE_VLAN_INFO_RANGE_BEGIN, 200},
                                                              {BRIDGE_VLAN_INFO_RANGE_END, 300}}));
}

TEST(BridgeMessages, AVlanIsTakenFromAPort) {
  const Request<ifinfomsg> request(delete_port_vlan(5, 1));
  EXPECT_EQ(request.type, RTM_DELLINK);
  EXPECT_EQ(request.header.ifi_family, AF_BRIDGE) << "else it would delete the link";
  EXPECT_EQ(netlink_value<bridge_vlan_info>(netlink_attribute(request.at(IFLA_AF_SPEC), IFLA_BRIDGE_VLAN_INFO)).vid, 1);
}

TEST(BridgeMessages, VlanFilteringIsNamedOnlyWhereItIsWanted) {
  EXPECT_EQ(bridge_data({}), "");
  EXPECT_TRUE(parse_bridge(bridge_data({.vlan_filtering = true})).vlan_filtering);
}

TEST(RtnlMessages, APermanentNeighbourReplacesWhatWasThere) {
  const Request<ndmsg> request(
      replace_neighbour({.address = ip("169.254.1.1"), .link = 3, .mac = parse_mac("02:00:00:00:00:05").value()}));
  EXPECT_EQ(request.flags, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE);
  EXPECT_EQ(request.header.ndm_state, NUD_PERMANENT);
  EXPECT_EQ(request.header.ndm_ifindex, 3);
  EXPECT_EQ(request.at(NDA_DST), std::string_view("\xa9\xfe\x01\x01", 4));
}

}  // namespace
}  // namespace fairlead::net
