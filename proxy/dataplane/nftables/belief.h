// Belief: what we take to be in the kernel, read once from it and kept up to date by what we write.
//
// Memory: about 20 bytes per endpoint and 150 per frontend. Reading costs one dump of every set.
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
  std::vector<std::pair<SetId, std::pair<nft::TableId, nft::Element>>> strays;

  std::string text() const;
};

Result<Belief> read_belief(nft::Kernel& kernel, const std::vector<nft::TableId>& tables, std::uint32_t mark);

}  // namespace fairlead::proxy::dataplane::nftables
