#include "base/strings.h"
#include "tests/cni/rows.h"

namespace fairlead::cnitest {
namespace {

std::string host_local(const std::string& members, const std::string& more = "") {
  return base::cat(R"([{"type": "host-local", "ipam": {"type": "host-local", )", members, "}", more, "}]");
}

std::string static_ipam(const std::string& members, const std::string& more = "") {
  return base::cat(R"([{"type": "static", "ipam": {"type": "static")", members, "}", more, "}]");
}

constexpr char kSubnet[] = R"("subnet": "10.1.0.0/24")";

Row refused(const std::string& name, const std::string& members, const std::string& mentions) {
  return {.name = name, .plugins = host_local(members), .steps = {add()}, .mentions = mentions};
}

std::vector<Row> host_local_rows() {
  const Attachment c2 = container("c2");
  const std::string ips_capability = R"(, "capabilities": {"ips": true})";
  return {
      {.name = "HostLocalRoundRobin",
       .plugins = host_local(kSubnet),
       .steps = {add(), add(c2), check(), del(), del(), add(), del(c2)},
       .versions = kSpecVersions},
      {.name = "HostLocalStartEndAndGateway",
       .plugins = host_local(
           R"("subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.11", "gateway": "10.1.0.254")"),
       .steps = {add(), add(c2), del(c2), add(c2), del()}},
      {.name = "HostLocalExhausted",
       .plugins = host_local(R"("subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.10")"),
       .steps = {add(), add(c2), del(), add(c2)},
       .mentions = "no IP addresses available|no address is left"},
      {.name = "HostLocalDualStack",
       .plugins = host_local(
           R"("ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.0.9"}, {"dst": "::/0"}])"),
       .steps = {add(), add(c2), check(), del(), add(), del(c2)},
       .versions = kSpecVersions},
      {.name = "HostLocalTwoRangesInASet",
       .plugins = host_local(
           R"("ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5", "rangeEnd": "10.1.0.5"}, {"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.5", "rangeEnd": "10.2.0.5"}]])"),
       .steps = {add(), add(c2), del(), add()}},
      {.name = "HostLocalOldFormAndRanges",
       .plugins = host_local(R"("subnet": "10.3.0.0/24", "ranges": [[{"subnet": "10.1.0.0/24"}]])"),
       .steps = {add(), del()}},
      {.name = "HostLocalTheSmallestSubnets",
       .plugins = host_local(R"("ranges": [[{"subnet": "10.1.0.4/30"}], [{"subnet": "fd00::4/126"}]])"),
       .steps = {add(), add(c2)},
       .mentions = "no IP addresses available|no address is left"},
      {.name = "HostLocalRequestedByCniArgs",
       .plugins = host_local(kSubnet),
       .steps = {add(with_args("IP=10.1.0.77")), add(c2), check(), del()}},
      {.name = "HostLocalAnUnknownCniArg", .plugins = host_local(kSubnet), .steps = {add(with_args("FOO=1"))}},
      {.name = "HostLocalAnUnknownCniArgThatMayBe",
       .plugins = host_local(kSubnet),
       .steps = {add(with_args("IgnoreUnknown=1;FOO=1")), del()}},
      {.name = "HostLocalRequestedByCapability",
       .plugins = host_local(kSubnet, ips_capability),
       .steps = {add(with_capabilities(R"({"ips": ["10.1.0.77"]})")), add(c2), del()}},
      {.name = "HostLocalRequestedByArgs",
       .plugins = host_local(kSubnet, R"(, "args": {"cni": {"ips": ["10.1.0.78"]}})"),
       .steps = {add(), add(c2), del()},
       .mentions = "10.1.0.78"},
      {.name = "HostLocalRequestedOutOfRange",
       .plugins = host_local(kSubnet),
       .steps = {add(with_args("IP=10.2.0.77"))},
       .mentions = "10.2.0.77"},
      {.name = "HostLocalRequestedIsTheGateway",
       .plugins = host_local(kSubnet),
       .steps = {add(with_args("IP=10.1.0.1"))},
       .mentions = "10.1.0.1"},
      {.name = "HostLocalRangesOfTheRuntime",
       .plugins = host_local(kSubnet, R"(, "capabilities": {"ipRanges": true})"),
       .steps = {add(with_capabilities(R"({"ipRanges": [[{"subnet": "10.9.0.0/24"}]]})")), del()}},
      {.name = "HostLocalTheSameAttachmentTwice",
       .plugins = host_local(kSubnet),
       .steps = {add(), add()},
       .mentions = "duplicate|a DEL must come first"},
      {.name = "HostLocalResolvConfAndDataDir",
       .plugins = host_local(R"("subnet": "10.1.0.0/24", "resolvConf": "/run/resolv", "dataDir": "/run/cni/ipam")"),
       .steps = {add(), del()},
       .prior = "printf 'nameserver 192.0.2.1\\n#x\\nsearch a.example b.example\\noptions ndots:5\\ndomain "
                "c.example\\n' > /run/resolv"},
      {.name = "HostLocalAFileThatHoldsOnlyTheId",
       .plugins = host_local(kSubnet),
       .steps = {del()},
       .prior = "mkdir -p /var/lib/cni/networks/net; printf c1 > /var/lib/cni/networks/net/10.1.0.2"},
      {.name = "HostLocalAForeignFileIsTaken",
       .plugins = host_local(kSubnet),
       .steps = {add(), del()},
       .prior = "mkdir -p /var/lib/cni/networks/net; printf 'other\\r\\neth0' > /var/lib/cni/networks/net/10.1.0.2"},
      {.name = "HostLocalCheckOfWhatIsGone",
       .plugins = host_local(kSubnet),
       .steps = {add(), sh("rm /var/lib/cni/networks/net/10.1.0.2"), check(), del()}},
      refused("HostLocalNoSubnet", R"("routes": [])", "range"),
      refused("HostLocalHostBits", R"("subnet": "10.1.0.7/24")", "host bits|10.1.0.7/24"),
      refused("HostLocalTooSmall", R"("subnet": "10.1.0.0/31")", "too small"),
      refused("HostLocalOverlap", R"("ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]])", "overlap"),
      refused("HostLocalTwoFamiliesInASet", R"("ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]])",
              "famil"),
      refused("HostLocalAnEmptySet", R"("ranges": [[]])", ""),
      refused("HostLocalStartOutside", R"("subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1")", "10.2.0.1"),
      refused("HostLocalEndBeforeStart", R"("subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.3")",
              "10.1.0"),
      refused("HostLocalABadAddress", R"("subnet": "10.1.0.0/24", "rangeStart": "10.1.0.300")", "10.1.0.300"),
      refused("HostLocalABadSubnet", R"("subnet": "10.1.0/24")", "10.1.0"),
  };
}

std::vector<Row> static_rows() {
  const std::string addresses =
      R"(, "addresses": [{"address": "10.5.0.2/24", "gateway": "10.5.0.1"}, {"address": "fd05::2/64"}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["192.0.2.1"], "domain": "a.example"})";
  return {
      {.name = "StaticAddresses",
       .plugins = static_ipam(addresses),
       .steps = {add(), check(), del(), del()},
       .versions = kSpecVersions},
      {.name = "StaticOfCniArgs",
       .plugins = static_ipam(""),
       .steps = {add(with_args("IP=10.6.0.2/24;GATEWAY=10.6.0.1"))}},
      {.name = "StaticOfCapability",
       .plugins = static_ipam(addresses, R"(, "capabilities": {"ips": true})"),
       .steps = {add(with_capabilities(R"({"ips": ["10.7.0.2/24", "fd07::2/64"]})"))}},
      {.name = "StaticOfArgs",
       .plugins = static_ipam(addresses, R"(, "args": {"cni": {"ips": ["10.8.0.2/24"]}})"),
       .steps = {add()}},
      {.name = "StaticWithoutAddresses", .plugins = static_ipam(""), .steps = {add()}},
      {.name = "StaticABadAddress",
       .plugins = static_ipam(R"(, "addresses": [{"address": "10.5.0.2"}])"),
       .steps = {add()},
       .mentions = "10.5.0.2"},
  };
}

}  // namespace

std::vector<Row> address_rows() {
  std::vector<Row> all = host_local_rows();
  for (Row& row : static_rows()) all.push_back(std::move(row));
  return all;
}

}  // namespace fairlead::cnitest
