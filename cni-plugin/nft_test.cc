// What masquerade, portmap, firewall and the source check put into the tables, without a kernel.
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>

#include "base/strings.h"
#include "cni-plugin/firewall.h"
#include "cni-plugin/flows.h"
#include "cni-plugin/masquerade.h"
#include "cni-plugin/plugin.h"
#include "cni-plugin/portmap.h"
#include "cni-plugin/spoof.h"

namespace fairlead::cni {
namespace {

using net::Family;
using net::Ip;

Ip ip(const std::string& text) { return Ip::parse(text).value(); }

IpConfig address(const std::string& text, std::optional<std::uint32_t> interface = std::nullopt) {
  return {interface, net::InterfaceAddress::parse(text).value(), {}};
}

Call call_with(const std::string& config) {
  Call call;
  call.attachment = {"net", "c1", "eth0"};
  call.config = base::parse_json(config).value();
  call.previous.emplace();
  for (const auto& [name, sandbox] : {std::pair("cni0", ""), {"veth1", ""}, {"eth0", "/netns"}}) {
    Interface& interface = call.previous->interfaces.emplace_back();
    interface.name = name;
    interface.sandbox = sandbox;
  }
  call.previous->ips = {address("10.1.0.5/24", 2), address("fd00:1::5/64", 2)};
  return call;
}

Claim claim(SetId set, const std::string& key, const std::string& data = {}) { return {set, element_of(key, data)}; }
std::string number(std::uint32_t value) { return bytes_of(value); }
std::string at(const std::string& address, std::uint32_t code) { return bytes_of(ip(address)) + number(code); }

bool has(const Claims& claims, const Claim& wanted) {
  return std::find(claims.elements.begin(), claims.elements.end(), wanted) != claims.elements.end();
}

std::string ports(const std::string& mappings, const std::string& more = "") {
  return R"({"runtimeConfig": {"portMappings": [)" + mappings + "]}" + more + "}";
}
const std::string kTcp = R"({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"})";

Claims port_claims_of(const std::string& config) {
  auto claims = port_claims(call_with(config));
  EXPECT_TRUE(claims) << claims.error().message();
  return claims ? *claims : Claims();
}
std::string message_and_code(const Result<Claims>& claims) {
  return claims ? "no error" : base::cat(claims.error().code(), " ", claims.error().message());
}
std::string port_error(const std::string& config) { return message_and_code(port_claims(call_with(config))); }
std::string firewall_error(const std::string& config) { return message_and_code(firewall_claims(call_with(config))); }

TEST(Masquerade, APodIsAnElementAndItsSubnetAnother) {
  const Claims claims = masquerade_claims({address("10.1.0.5/24"), address("fd00:1::5/64")});
  EXPECT_EQ(claims.elements, (std::vector<Claim>{claim(SetId::Leaving4, bytes_of(ip("10.1.0.5"))),
                                                 claim(SetId::Near4, bytes_of(ip("10.1.0.5")) + at("10.1.0.0", 24)),
                                                 claim(SetId::Leaving6, bytes_of(ip("fd00:1::5"))),
                                                 claim(SetId::Near6, bytes_of(ip("fd00:1::5")) + at("fd00:1::", 64))}));
  EXPECT_EQ(claims.extras, (std::set<Extra>{{Extra::Kind::Near, Family::V4, 24}, {Extra::Kind::Near, Family::V6, 64}}));
}

TEST(Masquerade, EveryDocumentedBackendMeansNftables) {
  for (const char* value : {R"("iptables")", R"("nftables")", R"("auto")", R"("")", "null"}) {
    const base::Value config = base::parse_json(base::cat(R"({"ipMasqBackend": )", value, "}")).value();
    EXPECT_TRUE(check_masquerade_backend(Fields::of(config).value())) << value;
  }
  const base::Value config = base::parse_json(R"({"ipMasqBackend": "ipvs"})").value();
  EXPECT_EQ(check_masquerade_backend(Fields::of(config).value()).error().message(),
            "ipMasqBackend: \"ipvs\" is none of iptables, nftables, auto");
}

TEST(Portmap, AMappingIsAnElementOfEachFamily) {
  const Claims claims = port_claims_of(ports(kTcp));
  EXPECT_EQ(claims.elements.size(), 5U) << claims;
  EXPECT_TRUE(has(
      claims, claim(SetId::Ports4, number(IPPROTO_TCP) + port_bytes(8080), port_bytes(80) + bytes_of(ip("10.1.0.5")))));
  EXPECT_TRUE(has(claims, claim(SetId::Ports6, number(IPPROTO_TCP) + port_bytes(8080),
                                port_bytes(80) + bytes_of(ip("fd00:1::5")))));
  EXPECT_TRUE(has(claims, claim(SetId::Sources4, bytes_of(ip("10.1.0.5")) + at("10.1.0.0", code_of(24, 13)))));
  EXPECT_TRUE(has(claims, claim(SetId::Sources4, bytes_of(ip("10.1.0.5")) + at("127.0.0.0", code_of(8, 13)))));
  EXPECT_TRUE(has(claims, claim(SetId::Sources6, bytes_of(ip("fd00:1::5")) + at("fd00:1::", code_of(64, 13)))));
}

TEST(Portmap, AHostAddressLimitsAMappingToItselfOrToItsFamily) {
  const auto with = [](const std::string& host) {
    return port_claims_of(ports(R"({"hostPort": 1, "containerPort": 2, "protocol": "udp", "hostIP": ")" + host + "\"}",
                                R"(, "snat": false)"));
  };
  EXPECT_EQ(with("192.0.2.1").elements,
            (std::vector<Claim>{claim(SetId::Bound4, bytes_of(ip("192.0.2.1")) + number(IPPROTO_UDP) + port_bytes(1),
                                      port_bytes(2) + bytes_of(ip("10.1.0.5")))}));
  EXPECT_EQ(with("0.0.0.0").elements, (std::vector<Claim>{claim(SetId::Ports4, number(IPPROTO_UDP) + port_bytes(1),
                                                                port_bytes(2) + bytes_of(ip("10.1.0.5")))}));
  EXPECT_EQ(with("::").elements, (std::vector<Claim>{claim(SetId::Ports6, number(IPPROTO_UDP) + port_bytes(1),
                                                           port_bytes(2) + bytes_of(ip("fd00:1::5")))}));
}

TEST(Portmap, LocalhostIsOpenedOnlyForPortsItCanReach) {
  const Claim localhost = claim(SetId::Sources4, bytes_of(ip("10.1.0.5")) + at("127.0.0.0", code_of(8, 13)));
  const auto with = [](const std::string& host) {
    return port_claims_of(
        ports(R"({"hostPort": 1, "containerPort": 2, "protocol": "tcp", "hostIP": ")" + host + "\"}"));
  };
  EXPECT_TRUE(has(with("127.0.0.1"), localhost));
  EXPECT_TRUE(has(with(""), localhost));
  EXPECT_FALSE(has(with("192.0.2.1"), localhost));
}

TEST(Portmap, MasqAllIsASourceOfLengthZero) {
  const Claims claims = port_claims_of(ports(kTcp, R"(, "masqAll": true, "markMasqBit": 20)"));
  EXPECT_TRUE(has(claims, claim(SetId::Sources4, bytes_of(ip("10.1.0.5")) + at("0.0.0.0", code_of(0, 20)))));
  EXPECT_TRUE(has(claims, claim(SetId::Sources6, bytes_of(ip("fd00:1::5")) + at("::", code_of(0, 20)))));
}

TEST(Portmap, AnExternalMarkChainIsNotNeeded) {
  EXPECT_EQ(port_claims_of(ports(kTcp, R"(, "externalSetMarkChain": "KUBE-MARK-MASQ")")), port_claims_of(ports(kTcp)));
}

TEST(Portmap, AConditionIsPartOfTheKeyOfItsFamily) {
  const Claims claims = port_claims_of(ports(kTcp, R"(, "conditionsV4": ["!", "-d", "192.0.2.0/24"])"));
  const Conditions condition = parse_conditions({"!", "-d", "192.0.2.0/24"}, Family::V4).value();
  EXPECT_TRUE(has(claims, claim(SetId::WhenPorts4, id_of(condition) + number(IPPROTO_TCP) + port_bytes(8080),
                                port_bytes(80) + bytes_of(ip("10.1.0.5")))));
  EXPECT_TRUE(has(claims, claim(SetId::Ports6, number(IPPROTO_TCP) + port_bytes(8080),
                                port_bytes(80) + bytes_of(ip("fd00:1::5")))));
  EXPECT_EQ(claims.elements.size(), 5U) << claims;
  EXPECT_TRUE(claims.extras.contains({Extra::Kind::When, Family::V4, 0, condition}));
  EXPECT_TRUE(claims.extras.contains({Extra::Kind::Source, Family::V4, code_of(24, 13), condition}));
  EXPECT_TRUE(claims.extras.contains({Extra::Kind::Source, Family::V4, code_of(24, 13)}));
}

TEST(Portmap, WithoutMappingsThereIsNothingToDo) {
  EXPECT_EQ(port_claims_of("{}"), Claims());
  EXPECT_EQ(port_claims_of(R"({"runtimeConfig": {}})"), Claims());
  EXPECT_EQ(port_claims_of(ports("")), Claims());
}

TEST(Portmap, OnlyAddressesOfTheAttachedInterfaceCount) {
  Call call = call_with(ports(kTcp, R"(, "snat": false)"));
  call.previous->ips = {address("192.0.2.9/24", 0), address("10.1.0.5/24", 2), address("10.1.0.6/24", 2)};
  EXPECT_EQ(port_claims(call).value().elements,
            (std::vector<Claim>{claim(SetId::Ports4, number(IPPROTO_TCP) + port_bytes(8080),
                                      port_bytes(80) + bytes_of(ip("10.1.0.5")))}));
}

TEST(Portmap, ARepeatedHostPortIsTheLastOnes) {
  const Claims claims = port_claims_of(
      ports(kTcp + R"(, {"hostPort": 8080, "containerPort": 81, "protocol": "TCP"})", R"(, "snat": false)"));
  EXPECT_EQ(claims.elements.size(), 2U);
  EXPECT_TRUE(has(
      claims, claim(SetId::Ports4, number(IPPROTO_TCP) + port_bytes(8080), port_bytes(81) + bytes_of(ip("10.1.0.5")))));
}

TEST(Portmap, ErrorsNameTheFieldAndWhatIsAllowed) {
  EXPECT_EQ(port_error(ports(R"({"hostPort": 1, "containerPort": 2, "protocol": "icmp"})")),
            "7 runtimeConfig.portMappings[0].protocol: \"icmp\" is none of tcp, udp, sctp");
  EXPECT_EQ(port_error(ports(R"({"hostPort": 0, "containerPort": 2, "protocol": "tcp"})")),
            "6 runtimeConfig.portMappings[0].hostPort: must be from 1 to 65535, not 0");
  EXPECT_EQ(port_error(ports(R"({"hostPort": 1, "protocol": "tcp"})")),
            "7 runtimeConfig.portMappings[0].containerPort: is missing; a port from 1 to 65535 is needed");
  EXPECT_EQ(port_error(R"({"markMasqBit": 32})"), "6 markMasqBit: must be from 0 to 31, not 32");
  EXPECT_EQ(port_error(R"({"backend": "ipvs"})"), "7 backend: \"ipvs\" is neither iptables nor nftables");
  EXPECT_EQ(port_error(R"({"externalSetMarkChain": "KUBE-MARK-MASQ", "markMasqBit": 14})"),
            "7 externalSetMarkChain: cannot be set together with markMasqBit: the chain sets the mark");
  EXPECT_EQ(port_error(R"({"conditionsV4": ["-m", "set"]})").substr(0, 52),
            "2 conditionsV4: \"-m set\" is not supported; known are");
  EXPECT_EQ(port_error(R"({"conditionsV6": ["-d", "192.0.2.0/24"]})"),
            "7 conditionsV6: \"192.0.2.0/24\" is no IPv6 address or prefix (ADDRESS/BITS)");
  Call alone = call_with(ports(kTcp));
  alone.previous.reset();
  EXPECT_EQ(message_and_code(port_claims(alone)),
            "7 prevResult: is missing; portmap has to stand behind a plugin that makes an interface");
}

TEST(Firewall, EveryAddressIsOpen) {
  const Claims claims = firewall_claims(call_with("{}")).value();
  EXPECT_EQ(claims.elements, (std::vector<Claim>{claim(SetId::Open4, bytes_of(ip("10.1.0.5"))),
                                                 claim(SetId::Open6, bytes_of(ip("fd00:1::5")))}));
  EXPECT_EQ(claims.admin_chain, "CNI-ADMIN");
}

TEST(Firewall, AnIngressPolicyFencesTheBridge) {
  const Claims same = firewall_claims(call_with(R"({"ingressPolicy": "same-bridge"})")).value();
  const std::string bridge = interface_bytes("cni0");
  EXPECT_TRUE(has(same, claim(SetId::Fences, bridge)));
  EXPECT_TRUE(has(same, claim(SetId::FenceLoops, bridge + bridge)));
  const Claims isolated = firewall_claims(call_with(R"({"ingressPolicy": "isolated"})")).value();
  EXPECT_TRUE(has(isolated, claim(SetId::Fences, bridge)));
  EXPECT_FALSE(has(isolated, claim(SetId::FenceLoops, bridge + bridge)));
  EXPECT_TRUE(has(isolated, claim(SetId::ClosedPorts, interface_bytes("veth1"))));
}

TEST(Firewall, ErrorsNameTheFieldAndWhatIsAllowed) {
  EXPECT_EQ(firewall_error(R"({"backend": "pf"})"), "7 backend: \"pf\" is none of auto, iptables, nftables, firewalld");
  EXPECT_EQ(firewall_error(R"({"ingressPolicy": "closed"})"),
            "7 ingressPolicy: \"closed\" is none of open, same-bridge, isolated");
  EXPECT_EQ(firewall_error(R"({"iptablesAdminChainName": "ABCDEFGHIJKLMNOPQRSTUVWXYZABC"})").substr(0, 25),
            "7 iptablesAdminChainName:");
  Call alone = call_with("{}");
  alone.previous.reset();
  EXPECT_EQ(firewall_claims(alone).error().code(), code::kInvalidConfig);
  Call bare = call_with(R"({"ingressPolicy": "same-bridge"})");
  bare.previous->interfaces.clear();
  EXPECT_EQ(firewall_claims(bare).error().message(),
            "ingressPolicy: needs a bridge as the first interface of prevResult");
}

TEST(SpoofCheck, AHostEndMaySendFromOneAddress) {
  EXPECT_EQ(spoof_claims("veth1", {2, 0, 0, 0, 0, 1}).elements,
            (std::vector<Claim>{claim(SetId::GuardedPorts, interface_bytes("veth1")),
                                claim(SetId::Macs, interface_bytes("veth1") + std::string("\2\0\0\0\0\1\0\0", 8))}));
}

TEST(Layout, ElementsFitTheirSets) {
  Claims all = masquerade_claims(call_with("{}").previous->ips);
  append(all, port_claims_of(ports(kTcp)));
  append(all, firewall_claims(call_with(R"({"ingressPolicy": "isolated"})")).value());
  append(all, spoof_claims("veth1", {}));
  for (const Claim& made : all.elements) {
    EXPECT_EQ(made.element.key_size, nft::size_of(set_of(made.set).key)) << set_of(made.set).name;
    EXPECT_EQ(made.element.data_size, nft::size_of(set_of(made.set).data)) << set_of(made.set).name;
  }
}

TEST(UdpFlows, AFlowIsStaleWhenItDoesNotEndAtTodaysPod) {
  const UdpPort port{Family::V4, {}, 5353, ip("10.1.0.5")};
  const auto is_local = [](const Ip& address) { return address == ip("192.0.2.1"); };
  const auto flow = [](const char* to, std::uint16_t number, const char* answers) {
    return UdpFlow{ip(to), number, ip(answers), {}, {}};
  };
  EXPECT_TRUE(is_stale(flow("192.0.2.1", 5353, "192.0.2.1"), port, is_local));     // to the host itself
  EXPECT_TRUE(is_stale(flow("192.0.2.1", 5353, "10.1.0.4"), port, is_local));      // to a pod of yesterday
  EXPECT_FALSE(is_stale(flow("192.0.2.1", 5353, "10.1.0.5"), port, is_local));     // where it should be
  EXPECT_FALSE(is_stale(flow("192.0.2.1", 53, "192.0.2.1"), port, is_local));      // another port
  EXPECT_FALSE(is_stale(flow("192.0.2.53", 5353, "192.0.2.53"), port, is_local));  // somebody else's port
  const UdpPort bound{Family::V4, ip("203.0.113.1"), 5353, ip("10.1.0.5")};
  EXPECT_TRUE(is_stale(flow("203.0.113.1", 5353, "203.0.113.1"), bound, is_local));
  EXPECT_FALSE(is_stale(flow("192.0.2.1", 5353, "192.0.2.1"), bound, is_local));
  EXPECT_TRUE(is_served(flow("192.0.2.1", 5353, "10.1.0.5"), port));
  EXPECT_FALSE(is_served(flow("192.0.2.1", 5353, "10.1.0.4"), port));
}

}  // namespace
}  // namespace fairlead::cni
