// tree: rules that begin with a destination, arranged so that a packet meets a bounded number of them. Pure.
//
// A chain holds at most kLeaf rules, or at most four that lead on, each into a quarter of the addresses below the
// common prefix (below one address: of its ports). Paths are compressed, so there are no chains with one way on. With n
// destinations a packet meets about 2.5 * log4(n / 4) + 4 rules, and never more than 4 for each two bits of the
// address. The chains depend on the set of entries alone, and one entry more or less touches one path.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/dataplane/iptables/rule.h"

namespace fairlead::proxy::dataplane::iptables {

constexpr std::size_t kLeaf = 8;

struct TreeEntry {
  net::Ip address;  // unset (::) in a tree over ports alone
  // Empty: every packet to the address, after what its single ports say.
  std::optional<model::Protocol> protocol;
  std::uint16_t port = 0;
  std::string target;
  bool operator==(const TreeEntry&) const = default;
};

enum class TreeKey : std::uint8_t { Address, Port };

struct Tree {
  Rules root;     // for the chain that begins the look-up; a packet that matches nothing comes back to it
  Chains chains;  // all others
};

// `tag` begins the names of the chains: "KUBE-D". Names descend from leaves to the root (names.h rank_of). `entries` in
// any order, each destination once.
Tree build_tree(std::string_view tag, TreeKey key, net::Family family, std::vector<TreeEntry> entries);

}  // namespace fairlead::proxy::dataplane::iptables
