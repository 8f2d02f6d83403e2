#include "tests/chaos/damage.h"

#include <vector>

#include "base/strings.h"
#include "bpf/maps.h"
#include "tests/chaos/bpf_map.h"

namespace fairlead::tests::chaos {
namespace {

using base::cat;

Status run(Stage& stage, unsigned node, const std::vector<std::string>& command) {
  const base::ProcessOutput output = TRY(stage.bed().run(cat("node", node), command));
  if (output.exit_code != 0) return Error(cat(base::join(command, " "), ": ", output.err));
  return {};
}

// nftables/layout.md: the kernel tells of everybody else's changes, and they are repaired at once.
Result<Damage> damage_nftables(Stage& stage, unsigned node, unsigned choice) {
  const std::vector<std::vector<std::string>> commands{{"nft", "delete", "table", "ip", "fairlead"},
                                                       {"nft", "delete", "table", "ip6", "fairlead"},
                                                       {"nft", "flush", "table", "ip", "fairlead"},
                                                       {"nft", "flush", "map", "ip", "fairlead", "services"},
                                                       {"nft", "flush", "map", "ip6", "fairlead", "endpoints"},
                                                       {"nft", "flush", "ruleset"}};
  const std::vector<std::string>& command = commands[choice % commands.size()];
  TRY(run(stage, node, command));
  return Damage{.text = base::join(command, " "), .loses_connections = true};
}

// kube-proxy's iptables mode and this one look at the tables on a timer: the gap lasts for seconds.
Result<Damage> damage_iptables(Stage& stage, unsigned node, unsigned choice) {
  const std::vector<std::vector<std::string>> commands{{"iptables", "-w", "-t", "nat", "-F"},
                                                       {"iptables", "-w", "-t", "nat", "-F", "KUBE-SERVICES"},
                                                       {"ip6tables", "-w", "-t", "nat", "-F"},
                                                       {"iptables", "-w", "-t", "filter", "-F"},
                                                       {"ip6tables", "-w", "-t", "nat", "-F", "KUBE-NODEPORTS"}};
  const std::vector<std::string>& command = commands[choice % commands.size()];
  TRY(run(stage, node, command));
  return Damage{.text = base::join(command, " "), .loses_connections = true};
}

// Rows of services under change; a start reads the maps and writes the difference.
Result<Damage> damage_ebpf(Stage& stage, unsigned node, unsigned choice) {
  const BpfMap frontends =
      TRY(BpfMap::open(cat(stage.bed().bpf_root(node), "/fairlead/v", int{bpf::LAYOUT_VERSION}, "/frontends")));
  constexpr std::uint8_t kChaos[] = {10, 96, 200};  // ClusterIPs of the history, v4-mapped
  std::vector<BpfMap::Bytes> victims;
  TRY(frontends.each([&](const BpfMap::Bytes& key, const BpfMap::Bytes&) {
    if (std::equal(std::begin(kChaos), std::end(kChaos), key.begin() + 12)) victims.push_back(key);
  }));
  std::size_t gone = 0;
  for (std::size_t i = choice % 2; i < victims.size(); i += 2, ++gone) TRY(frontends.erase(victims[i]));
  return Damage{.text = cat(gone, " frontends deleted")};
}

}  // namespace

bool repairs_while_running(const std::string& dataplane) { return dataplane != "ebpf"; }

Result<Damage> damage(Stage& stage, unsigned node, unsigned choice) {
  if (stage.dataplane() == "nftables") return damage_nftables(stage, node, choice);
  if (stage.dataplane() == "iptables") return damage_iptables(stage, node, choice);
  if (stage.dataplane() == "ebpf") return damage_ebpf(stage, node, choice);
  return Error(cat("no damage is known for dataplane \"", stage.dataplane(), "\""));
}

}  // namespace fairlead::tests::chaos
