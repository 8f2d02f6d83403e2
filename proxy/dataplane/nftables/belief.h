// Belief: what we take to be in the kernel, read once from it and kept up to date by what we write.
//
// Memory: about 20 bytes per endpoint and 150 per frontend. Reading costs one to four microseconds per element.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/nft/kernel.h"
#include "proxy/dataplane/nftables/layout.h"
#include "proxy/dataplane/nftables/plan.h"

namespace fairlead::proxy::dataplane::nftables {

struct TableBelief {
  nft::TableId id;
  bool exists = false;
  std::string mismatch;           // why an existing table cannot be adopted; it is replaced as a whole
  std::set<std::uint32_t> codes;  // that have their chain
  bool usable() const { return exists && mismatch.empty(); }
};

struct Hairpin {
  std::uint32_t users = 0;  // slots of local endpoints with this address
  bool installed = false;
};

struct Belief {
  std::vector<TableBelief> tables;
  std::unordered_map<FrontendKey, Installed> frontends;
  std::unordered_map<net::Ip, Hairpin> hairpin;
  // Elements that are none of ours can be: they only go.
  std::set<std::pair<SetId, std::pair<nft::TableId, nft::Element>>> strays;

  std::string text() const;
};

// With more endpoints than `find_above` they are asked for by key, which costs the same for each of them; a dump, which
// also finds what nobody refers to, costs the square of their number.
Result<Belief> read_belief(nft::Kernel& kernel, const std::vector<nft::TableId>& tables, std::uint32_t mark,
                           std::size_t find_above = 50000);

}  // namespace fairlead::proxy::dataplane::nftables
