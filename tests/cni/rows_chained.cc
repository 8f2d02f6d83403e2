#include "base/strings.h"
#include "tests/cni/rows.h"

namespace fairlead::cnitest {
namespace {

constexpr char kBridge[] =
    R"({"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}})";
constexpr char kOutside[] = R"(
    ip link add up0 type veth peer name eth0 netns c2
    ip addr add 192.0.2.1/24 dev up0; ip link set up0 up; ip -n c2 link set lo up
    ip -n c2 addr add 192.0.2.2/24 dev eth0; ip -n c2 link set eth0 up)";
constexpr char kPod[] = "10.1.0.2/32";  // of the first

std::string behind_bridge(const std::string& plugin) { return base::cat("[", kBridge, ", ", plugin, "]"); }

Attachment limited(const std::string& limits) {
  return with_capabilities(base::cat(R"({"bandwidth": {)", limits, "}}"));
}

std::vector<Row> bandwidth_rows() {
  const std::string chained = behind_bridge(R"({"type": "bandwidth", "capabilities": {"bandwidth": true}})");
  const Attachment both =
      limited(R"("ingressRate": 1000000, "ingressBurst": 800000, "egressRate": 2000000, "egressBurst": 900000)");
  const auto configured = [](const std::string& members) {
    return behind_bridge(base::cat(R"({"type": "bandwidth", )", members, "}"));
  };
  return {
      {.name = "BandwidthBothWays",
       .plugins = chained,
       .steps = {add(both), check(both), del(both), del(both)},
       .versions = kSpecVersions},
      {.name = "BandwidthIngressAlone", .plugins = configured(R"("ingressRate": 123456789, "ingressBurst": 1234567)")},
      {.name = "BandwidthEgressAlone", .plugins = configured(R"("egressRate": 123456789, "egressBurst": 1234567)")},
      {.name = "BandwidthOwnMembersHideTheRuntimes",
       .plugins = behind_bridge(
           R"({"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 800000, "capabilities": {"bandwidth": true}})"),
       .steps = {add(both), check(both), del(both)}},
      {.name = "BandwidthOfNothing", .plugins = chained},
      {.name = "BandwidthKeysInAnyCase", .plugins = configured(R"("INGRESSrate": 8000000, "ingressburst": 800000)")},
      {.name = "BandwidthOfAHundredGigabits",
       .plugins = configured(R"("ingressRate": 100000000000, "ingressBurst": 8000000000)")},
      {.name = "BandwidthAsKubernetesAsksIt",
       .plugins = configured(R"("ingressRate": 1000000, "ingressBurst": 2147483647)")},
      {.name = "BandwidthRateWithoutBurst",
       .plugins = configured(R"("egressRate": 1000)"),
       .steps = {add()},
       .mentions = "burst"},
      {.name = "BandwidthBurstWithoutRate",
       .plugins = configured(R"("ingressBurst": 1000)"),
       .steps = {add()},
       .mentions = "rate"},
      {.name = "BandwidthTooLargeABurst",
       .plugins = configured(R"("ingressRate": 1000, "ingressBurst": 34359738368)"),
       .steps = {add()},
       .mentions = "4"},
      {.name = "BandwidthNotChained",
       .plugins = R"([{"type": "bandwidth", "ingressRate": 1000, "ingressBurst": 1000}])",
       .steps = {add()},
       .mentions = "chained plugin"},
      {.name = "BandwidthCheckQdiscGone",
       .plugins = chained,
       .steps = {add(both),
                 sh("tc qdisc del dev $(ip -o link show type veth | sed 's/.*: \\(veth[^@]*\\)@.*/\\1/') root"),
                 check(both), del(both)}},
      {.name = "BandwidthCheckRedirectGone",
       .plugins = chained,
       .steps = {add(both),
                 sh("tc qdisc del dev $(ip -o link show type veth | sed 's/.*: \\(veth[^@]*\\)@.*/\\1/') ingress"),
                 check(both), del(both)}},
  };
}

std::vector<Row> tuning_rows() {
  const auto tuned = [](const std::string& members) {
    return behind_bridge(base::cat(R"({"type": "tuning", )", members, "}"));
  };
  const std::string attributes = R"("mac": "c2:b0:57:49:47:f1", "mtu": 1400, "promisc": true, "allmulti": true)";
  return {
      {.name = "TuningSysctls",
       .plugins = tuned(R"("sysctl": {"net.core.somaxconn": "500", "net.ipv4.conf.eth0.arp_filter": "1"})"),
       .versions = kSpecVersions,
       .container_sysctls = {"net/core/somaxconn", "net/ipv4/conf/eth0/arp_filter"}},
      {.name = "TuningOfTheInterfaceByPlaceholder",
       .plugins = tuned(R"("sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"})"),
       .container_sysctls = {"net/ipv4/conf/eth0/arp_filter"}},
      {.name = "TuningAttributes", .plugins = tuned(attributes), .versions = kSpecVersions},
      {.name = "TuningArgsWin",
       .plugins = tuned(base::cat(
           attributes,
           R"(, "args": {"cni": {"mac": "c2:b0:57:49:47:f2", "mtu": 1300, "promisc": false}}, "dataDir": "/run/cni/elsewhere")"))},
      {.name = "TuningMacOfCniArgs",
       .plugins = tuned(R"("x": "c2:b0:57:49:47:f3")"),
       .steps = {add(with_args("IgnoreUnknown=1;MAC=c2:b0:57:49:47:f3")), del()}},
      {.name = "TuningInTwoEntries",
       .plugins = base::cat("[", kBridge, R"(, {"type": "tuning", "mtu": 1400},
                             {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}, "promisc": true}])"),
       .container_sysctls = {"net/ipv4/conf/eth0/arp_filter"}},
      {.name = "TuningOutsideTheNetwork",
       .plugins = tuned(R"("sysctl": {"kernel.panic": "1"})"),
       .steps = {add()},
       .mentions = "kernel"},
      {.name = "TuningAnUnknownSysctl",
       .plugins = tuned(R"("sysctl": {"net.core.nothing": "1"})"),
       .steps = {add()},
       .mentions = "nothing"},
      {.name = "TuningAllowlist",
       .plugins = tuned(R"("sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"})"),
       .prior = "mkdir -p /etc/cni/tuning; printf '^net\\\\.ipv4\\\\.conf\\\\.[a-z0-9]*\\\\.arp_[a-z]*$\\n\\n' > "
                "/etc/cni/tuning/allowlist.conf",
       .container_sysctls = {"net/ipv4/conf/eth0/arp_filter"}},
      {.name = "TuningNotOnTheAllowlist",
       .plugins = tuned(R"("sysctl": {"net.core.somaxconn": "500"})"),
       .steps = {add()},
       .prior = "mkdir -p /etc/cni/tuning; echo '^net.ipv4' > /etc/cni/tuning/allowlist.conf",
       .mentions = "not allowed"},
      {.name = "TuningNotChained",
       .plugins = R"([{"type": "tuning", "mtu": 1400}])",
       .steps = {add()},
       .mentions = "prevResult"},
      {.name = "TuningCheckMtuChanged",
       .plugins = tuned(attributes),
       .steps = {add(), sh("ip -n c1 link set eth0 mtu 1280"), check(), del()}},
  };
}

std::vector<Row> filter_rows() {
  const std::string portmap = behind_bridge(R"({"type": "portmap", "capabilities": {"portMappings": true}})");
  const auto mapped = [](const std::string& mapping) {
    return with_capabilities(base::cat(R"({"portMappings": [{)", mapping, "}]}"));
  };
  const Attachment http = mapped(R"("hostPort": 8080, "containerPort": 80, "protocol": "tcp")");
  const Attachment one_ip =
      mapped(R"("hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1")");
  const Attachment other_ip =
      mapped(R"("hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.7")");
  const std::string firewall = behind_bridge(R"({"type": "firewall"})");
  return {
      {.name = "PortmapFromOutsideTheHostAndThePod",
       .plugins = portmap,
       .steps = {add(http), connect("c2", "192.0.2.1:8080"), connect("", "192.0.2.1:8080"),
                 connect("", "127.0.0.1:8080"), connect("c1", "192.0.2.1:8080"), connect("c2", "192.0.2.1:8081"),
                 check(http), del(http), connect("c2", "192.0.2.1:8080"), del(http)},
       .versions = kSpecVersions,
       .prior = kOutside,
       .servers = {"c1"}},
      {.name = "PortmapOfOneHostIp",
       .plugins = portmap,
       .steps = {add(one_ip), connect("c2", "192.0.2.1:8080"), connect("", "127.0.0.1:8080"), check(one_ip),
                 del(one_ip)},
       .prior = kOutside,
       .servers = {"c1"}},
      {.name = "PortmapOfAnotherHostIp",
       .plugins = portmap,
       .steps = {add(other_ip), connect("c2", "192.0.2.1:8080"), del(other_ip)},
       .prior = kOutside,
       .servers = {"c1"}},
      {.name = "PortmapWithoutSnat",
       .plugins = behind_bridge(R"({"type": "portmap", "snat": false, "capabilities": {"portMappings": true}})"),
       .steps = {add(http), connect("c2", "192.0.2.1:8080"), del(http)},
       .prior = kOutside,
       .servers = {"c1"}},
      {.name = "PortmapMasqAll",
       .plugins = behind_bridge(R"({"type": "portmap", "masqAll": true, "capabilities": {"portMappings": true}})"),
       .steps = {add(http), connect("c2", "192.0.2.1:8080"), del(http)},
       .prior = kOutside,
       .servers = {"c1"}},
      {.name = "PortmapUnderACondition",
       .plugins = behind_bridge(
           R"({"type": "portmap", "conditionsV4": ["!", "-s", "192.0.2.0/24"], "capabilities": {"portMappings": true}})"),
       .steps = {add(http), connect("c2", "192.0.2.1:8080"), connect("", "127.0.0.1:8080"),
                 connect("c1", "10.1.0.1:8080"), del(http), connect("", "127.0.0.1:8080")},
       .prior = kOutside,
       .servers = {"c1"}},
      {.name = "PortmapExternalSetMarkChain",
       .plugins = behind_bridge(
           R"({"type": "portmap", "externalSetMarkChain": "KUBE-MARK-MASQ", "capabilities": {"portMappings": true}})"),
       .steps = {add(http), connect("c2", "192.0.2.1:8080"), connect("", "127.0.0.1:8080"),
                 connect("c1", "192.0.2.1:8080"), del(http)},
       .prior = base::cat(kOutside, R"(
    iptables -t nat -N KUBE-MARK-MASQ; iptables -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
    iptables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE)"),
       .servers = {"c1"}},
      {.name = "PortmapOfNothing", .plugins = portmap},
      {.name = "PortmapNotChained",
       .plugins = R"([{"type": "portmap", "capabilities": {"portMappings": true}}])",
       .steps = {add(http)},
       .mentions = "chained plugin|prevResult"},
      {.name = "PortmapABadPort",
       .plugins = portmap,
       .steps = {add(mapped(R"("hostPort": 0, "containerPort": 80, "protocol": "tcp")"))},
       .mentions = "host port|hostPort"},
      {.name = "FirewallOpensAHostThatForwardsNothing",
       .plugins = firewall,
       .steps = {add(), connect("c1", "192.0.2.2:80"), check(), del()},
       .versions = {"0.4.0", "1.0.0"},
       .prior = base::cat(kOutside, "\n iptables -P FORWARD DROP"),
       .servers = {"c2"}},
      {.name = "FirewalldTakesAPodIntoAZone",
       .plugins = behind_bridge(R"({"type": "firewall", "backend": "firewalld"})"),
       .steps = {zone(kPod), connect("c1", "192.0.2.2:80"), add(), zone(kPod), connect("c1", "192.0.2.2:80"), check(),
                 del(), zone(kPod), del()},
       .versions = {"0.4.0", "1.0.0"},
       .prior = kOutside,
       .servers = {"c2"},
       .firewalld = true},
      {.name = "FirewalldTakesItIntoAnotherZone",
       .plugins = behind_bridge(R"({"type": "firewall", "backend": "firewalld", "firewalldZone": "internal"})"),
       .steps = {add(), zone(kPod), check(), del(), zone(kPod)},
       .firewalld = true},
      {.name = "FirewallAZoneThatIsNone",
       .plugins = behind_bridge(R"({"type": "firewall", "backend": "firewalld", "firewalldZone": "nowhere"})"),
       .steps = {add(), zone(kPod)},
       .mentions = "INVALID_ZONE",
       .firewalld = true},
      {.name = "FirewalldIsFound",
       .plugins = firewall,
       .steps = {add(), zone(kPod), connect("c1", "192.0.2.2:80"), check(), del(), zone(kPod)},
       .prior = kOutside,
       .servers = {"c2"},
       .firewalld = true},
      {.name = "FirewalldLetsAPodGoWithoutAResult",
       .plugins = firewall,
       .steps = {add(), del_without_result(), zone(kPod)},
       .firewalld = true},
      {.name = "FirewalldHasLetItGo",
       .plugins = firewall,
       .steps = {add(), sh("firewall-cmd --zone=trusted --remove-source=10.1.0.2/32"), check(), del()},
       .firewalld = true},
      {.name = "FirewallWithoutFirewalld",
       .plugins = behind_bridge(R"({"type": "firewall", "backend": "firewalld"})"),
       .steps = {add()},
       .mentions = "system_bus_socket|firewalld does not run here"},
      {.name = "FirewallNotChained",
       .plugins = R"([{"type": "firewall"}])",
       .steps = {add()},
       .mentions = "prevResult"},
      {.name = "FirewallABadBackend",
       .plugins = behind_bridge(R"({"type": "firewall", "backend": "pf"})"),
       .steps = {add()},
       .mentions = "pf"},
      {.name = "FirewallABadPolicy",
       .plugins = behind_bridge(R"({"type": "firewall", "ingressPolicy": "closed"})"),
       .steps = {add()},
       .mentions = "closed"},
  };
}

}  // namespace

std::vector<Row> chained_rows() {
  std::vector<Row> all = bandwidth_rows();
  for (auto& part : {tuning_rows(), filter_rows()}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace fairlead::cnitest
