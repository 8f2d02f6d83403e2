// Leftovers: what a kube-proxy of any mode has left in the calling thread's network namespace, found and removed.
//
// iptables goes through iptables-save and iptables-restore of both flavours, as far as they are installed; the rest
// is netlink. kubelet's own chains (KUBE-FIREWALL, KUBE-IPTABLES-HINT, KUBE-KUBELET-CANARY) stay.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead::agent {

// What carries names that kube-proxy uses too, and is ours.
struct Spared {
  bool iptables_chains = false;  // the iptables dataplane is in use: only IPVS mode's own chains are kube-proxy's
  bool nft_table = false;        // our instance is called "kube-proxy"
};

// Chains and ipsets by their names (kubernetes v1.36 pkg/proxy/iptables, pkg/proxy/ipvs).
bool is_kube_proxy_chain(std::string_view name, const Spared& spared = {});
bool is_kube_proxy_set(std::string_view name);

// Input of `iptables-restore --noflush` that takes kube-proxy's chains, and the jumps to them, out of what
// iptables-save printed. A chain that somebody else's chain still jumps to is only emptied.
struct ChainRemoval {
  std::string input;  // empty: nothing to do
  std::vector<std::string> emptied;
  bool operator==(const ChainRemoval&) const = default;
};
ChainRemoval chain_removal(std::string_view saved, const Spared& spared = {});

// Some milliseconds: a few names are asked for. "iptables (legacy)", "iptables (nft)", "IPVS", "nftables".
Result<std::vector<std::string>> find_kube_proxy(const Spared& spared = {});

// One line per thing removed, or that could not be looked at. Goes on after a failure; the Error lists them all.
Result<std::vector<std::string>> remove_kube_proxy(const Spared& spared = {});

}  // namespace fairlead::agent
