// Belief: what we take to be in the kernel, read once from it and kept up to date by what we write.
//
// Memory: about 20 bytes per endpoint and 300 per frontend. Reading costs one to four microseconds per element.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/nft/kernel.h"
#include "proxy/dataplane/nftables/elements.h"
#include "proxy/dataplane/nftables/layout.h"
#include "proxy/dataplane/nftables/plan.h"

namespace fairlead::proxy::dataplane::nftables {

struct TableBelief {
  nft::TableId id;
  bool exists = false;
  std::string mismatch;           // why an existing table cannot be adopted; it is replaced as a whole
  std::string node;               // node_text() of its rules; empty: some other
  std::set<std::uint32_t> codes;  // that have their chain
  std::set<RangeLength> lengths;  // that have their rule
  bool usable() const { return exists && mismatch.empty(); }
};

// An address that stands in a set for as long as somebody needs it.
struct AddressUse {
  std::uint32_t users = 0;
  bool installed = false;
};
inline constexpr SetId kAddressSets[] = {SetId::Hairpin, SetId::ClusterIps};
template <typename T>
using PerAddressSet = std::array<T, std::size(kAddressSets)>;

struct Belief {
  std::vector<TableBelief> tables;
  std::unordered_map<FrontendKey, Installed> frontends;
  std::map<GroupKey, InstalledGroup> groups;
  PerAddressSet<std::unordered_map<net::Ip, AddressUse>> addresses;
  // Elements that are none of ours can be: they only go.
  std::set<std::pair<SetId, std::pair<nft::TableId, nft::Element>>> strays;

  std::string text() const;
};

// With more endpoints than `find_above` they are asked for by key, which costs the same for each of them; a dump, which
// also finds what nobody refers to, costs the square of their number.
Result<Belief> read_belief(nft::Kernel& kernel, const std::vector<nft::TableId>& tables, const Settings& settings,
                           const model::NodeState& node, std::size_t find_above = 50000);

}  // namespace fairlead::proxy::dataplane::nftables
