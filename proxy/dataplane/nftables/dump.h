// dump: what our tables in a kernel say, for people who look for an answer. sights_of() reads, the rest is pure.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/nft/kernel.h"
#include "proxy/dataplane/nftables/layout.h"
#include "proxy/dataplane/nftables/plan.h"

namespace fairlead::proxy::dataplane::nftables {

// One table as it was found.
struct Sight {
  nft::TableId id;
  std::optional<Settings> settings;    // empty: not a table of this layout
  std::string mismatch;                // what is not as written; nothing else was read then
  std::vector<nft::DumpedRule> rules;  // their comments say what the NodeState says
  std::map<FrontendKey, Installed> frontends;
  std::map<GroupKey, InstalledGroup> groups;
  std::map<std::uint32_t, std::size_t> clients;  // of `sticky`, by group
};

// The tables called `instance` of these families that are there.
Result<std::vector<Sight>> sights_of(nft::Kernel& kernel, const std::string& instance,
                                     const std::vector<net::Family>& families);
std::string text_of(const Sight& sight);

}  // namespace fairlead::proxy::dataplane::nftables
