#include "base/strings.h"
#include "tests/cni/rows.h"

namespace fairlead::cnitest {
namespace {

constexpr char kDualIpam[] =
    R"("ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]})";
constexpr char kDualIpamWithoutRoutes[] =
    R"("ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]})";
constexpr char kIpam[] = R"("ipam": {"type": "host-local", "subnet": "10.1.0.0/24"})";
// Where packets are sent, IPv6 has to be settled first: no DAD.
constexpr char kForwardingPeer[] = R"(
    ip link add up0 type veth peer name eth0 netns c2
    ip addr add 192.0.2.1/24 dev up0; ip link set up0 up
    ip -n c2 addr add 192.0.2.2/24 dev eth0; ip -n c2 link set eth0 up)";

std::string bridge(const std::string& members, const std::string& ipam = kIpam) {
  return base::cat(R"([{"type": "bridge", "bridge": "cni0", )", members, members.empty() ? "" : ", ", ipam, "}]");
}

std::vector<Row> bridge_rows() {
  const Attachment c2 = container("c2");
  Attachment second;
  second.ifname = "net1";
  Attachment no_netns;
  no_netns.netns = "";
  return {
      {.name = "BridgePlain", .plugins = bridge(""), .versions = kSpecVersions},
      {.name = "BridgeGateway",
       .plugins = bridge(R"("isGateway": true)"),
       .versions = kSpecVersions,
       .sysctls = {"net/ipv4/ip_forward"},
       .container_sysctls = {"net/ipv4/conf/eth0/arp_notify"}},
      {.name = "BridgeDefaultGatewayDualStack",
       .plugins = bridge(R"("isDefaultGateway": true)", kDualIpamWithoutRoutes),
       .steps = {add(), add(c2), check(), check(c2), del(), del(c2), del(c2)},
       .versions = kSpecVersions,
       .sysctls = {"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"}},
      {.name = "BridgeDefaultGatewayWithoutRoutes", .plugins = bridge(R"("isDefaultGateway": true)")},
      {.name = "BridgeDefaultGatewayBesideRoutes",
       .plugins = bridge(R"("isDefaultGateway": true)", kDualIpam),
       .steps = {add(), del()}},
      {.name = "BridgeDetectsDuplicates",
       .plugins = bridge(R"("isDefaultGateway": true, "enabledad": true)", kDualIpamWithoutRoutes),
       .steps = {add(), sh("! ip -n c1 -6 addr show tentative | grep inet6"), check(), del()},
       .container_sysctls = {"net/ipv6/conf/eth0/accept_dad"}},
      {.name = "BridgeHairpin", .plugins = bridge(R"("hairpinMode": true)")},
      {.name = "BridgePromisc", .plugins = bridge(R"("promiscMode": true)")},
      {.name = "BridgeHairpinAndPromisc",
       .plugins = bridge(R"("hairpinMode": true, "promiscMode": true)"),
       .steps = {add()},
       .mentions = "hairpin"},
      {.name = "BridgeMtu", .plugins = bridge(R"("mtu": 1400)"), .steps = {add(), check(), del()}},
      {.name = "BridgeMacByCapability",
       .plugins =
           R"([{"type": "bridge", "bridge": "cni0", "capabilities": {"mac": true}, "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}, "x": "c2:b0:57:49:47:f1"}])",
       .steps = {add(with_capabilities(R"({"mac": "c2:b0:57:49:47:f1"})")), del()}},
      {.name = "BridgeMacByArgs",
       .plugins = bridge(R"("args": {"cni": {"mac": "c2:b0:57:49:47:f2"}})"),
       .steps = {add(), del()}},
      {.name = "BridgeMacByCniArgs",
       .plugins = bridge(R"("x": "c2:b0:57:49:47:f3")"),
       .steps = {add(with_args("IgnoreUnknown=1;MAC=c2:b0:57:49:47:f3")), del()}},
      {.name = "BridgeDns", .plugins = bridge(R"("dns": {"nameservers": ["192.0.2.5"], "search": ["x.example"]})")},
      {.name = "BridgeWithoutIpam", .plugins = R"([{"type": "bridge", "bridge": "cni0"}])"},
      {.name = "BridgeTakesWhatIsThere",
       .plugins = bridge(R"("isGateway": true)"),
       .prior = "ip link add cni0 type bridge; ip addr add 10.1.0.1/24 dev cni0"},
      {.name = "BridgeHasAnotherAddress",
       .plugins = bridge(R"("isGateway": true)"),
       .steps = {add(), del()},
       .prior = "ip link add cni0 type bridge; ip addr add 10.1.0.9/24 dev cni0",
       .mentions = "already has an IP address|has the address 10.1.0.9/24"},
      {.name = "BridgeForceAddress",
       .plugins = bridge(R"("isGateway": true, "forceAddress": true)"),
       .steps = {add(), check(), del()},
       .prior = "ip link add cni0 type bridge; ip addr add 10.1.0.9/24 dev cni0"},
      {.name = "BridgeIsNoBridge",
       .plugins = bridge(""),
       .steps = {add()},
       .prior = "ip link add cni0 type veth peer name x",
       .mentions = "cni0"},
      {.name = "BridgeInterfaceIsThere",
       .plugins = bridge(""),
       .steps = {add(), del()},
       .prior = "ip -n c1 link add eth0 type veth peer name x"},
      {.name = "BridgeTwice", .plugins = bridge(""), .steps = {add(), add(), del()}},
      {.name = "BridgeTwoInterfaces",
       .plugins = bridge(""),
       .steps = {add(), add(second), check(second), del(), del(second)}},
      {.name = "BridgeDelWithoutNetns", .plugins = bridge(R"("isGateway": true)"), .steps = {add(), del(no_netns)}},
      {.name = "BridgeDelWithoutResult",
       .plugins = bridge(R"("isGateway": true, "ipMasq": true)"),
       .steps = {add(), del_without_result()}},
      {.name = "BridgeDelOfNothing", .plugins = bridge(R"("isGateway": true)"), .steps = {del(), del(no_netns)}},
      {.name = "BridgeCheckAddressGone",
       .plugins = bridge(""),
       .steps = {add(), sh("ip -n c1 addr flush dev eth0"), check(), del()}},
      {.name = "BridgeCheckLinkGone",
       .plugins = bridge(""),
       .steps = {add(), sh("ip -n c1 link del eth0"), check(), del()}},
      {.name = "BridgeCheckRouteGone",
       .plugins = bridge(R"("isDefaultGateway": true)"),
       .steps = {add(), sh("ip -n c1 route del default"), check(), del()}},
      {.name = "BridgeMasquerades",
       .plugins = bridge(R"("isDefaultGateway": true, "ipMasq": true)"),
       .steps = {add(), connect("c1", "192.0.2.2:80"), check(), del()},
       .prior = kForwardingPeer,
       .servers = {"c2"}},
      {.name = "BridgeDoesNotMasquerade",
       .plugins = bridge(R"("isDefaultGateway": true)"),
       .steps = {add(), connect("c1", "192.0.2.2:80"), del()},
       .prior = base::cat(kForwardingPeer, "; ip -n c2 route add 10.1.0.0/24 via 192.0.2.1"),
       .servers = {"c2"}},
  };
}

std::vector<Row> other_rows() {
  const std::string ptp = base::cat(R"([{"type": "ptp", )", kDualIpam, "}]");
  const Attachment c2 = container("c2");
  const std::string up = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up";
  const auto child = [](const std::string& type, const std::string& members) {
    return base::cat(R"([{"type": ")", type, R"(", )", members, kIpam, "}]");
  };
  return {
      {.name = "Loopback", .plugins = R"([{"type": "loopback"}])", .versions = {"0.3.0", "0.3.1", "0.4.0"}},
      {.name = "LoopbackNow", .plugins = R"([{"type": "loopback"}])"},
      {.name = "Ptp",
       .plugins = ptp,
       .steps = {add(), add(c2), check(), del(), del(), del(c2)},
       .versions = kSpecVersions,
       .sysctls = {"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"}},
      {.name = "PtpMtuAndDns", .plugins = child("ptp", R"("mtu": 1400, "dns": {"nameservers": ["192.0.2.5"]}, )")},
      {.name = "PtpMasquerades",
       .plugins = base::cat(
           R"([{"type": "ptp", "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}])"),
       .steps = {add(), connect("c1", "192.0.2.2:80"), check(), del()},
       .prior = kForwardingPeer,
       .servers = {"c2"}},
      {.name = "PtpTwice", .plugins = ptp, .steps = {add(), add(), del()}},
      {.name = "PtpCheckRouteGone", .plugins = ptp, .steps = {add(), sh("ip -n c1 route del default"), check(), del()}},
      {.name = "Macvlan", .plugins = child("macvlan", R"("master": "up0", )"), .versions = kSpecVersions, .prior = up},
      {.name = "MacvlanPrivateMtu",
       .plugins = child("macvlan", R"("master": "up0", "mode": "private", "mtu": 1400, )"),
       .prior = up},
      {.name = "MacvlanMasterOfTheDefaultRoute",
       .plugins = child("macvlan", ""),
       .prior = up + "; ip addr add 192.0.2.1/24 dev up0; ip route add default via 192.0.2.9"},
      {.name = "MacvlanABadMode",
       .plugins = child("macvlan", R"("master": "up0", "mode": "fast", )"),
       .steps = {add(), del()},
       .prior = up,
       .mentions = "fast"},
      {.name = "MacvlanNoMaster",
       .plugins = child("macvlan", R"("master": "none0", )"),
       .steps = {add(), del()},
       .mentions = "link not found|none0"},
      {.name = "MacvlanMtuAboveTheMasters",
       .plugins = child("macvlan", R"("master": "up0", "mtu": 9000, )"),
       .steps = {add(), del()},
       .prior = up,
       .mentions = "mtu"},
      {.name = "IpvlanABadMode",
       .plugins = child("ipvlan", R"("master": "up0", "mode": "fast", )"),
       .steps = {add(), del()},
       .prior = up,
       .mentions = "fast"},
  };
}

}  // namespace

std::vector<Row> interface_rows() {
  std::vector<Row> all = bridge_rows();
  for (Row& row : other_rows()) all.push_back(std::move(row));
  return all;
}

}  // namespace fairlead::cnitest
