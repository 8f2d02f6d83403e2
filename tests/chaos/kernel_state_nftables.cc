// Reads our tables by netlink. Keys and data are compared as bytes; nftables/layout.md says what they mean.
#include <algorithm>

#include "base/strings.h"
#include "net/nft/netlink.h"
#include "tests/chaos/kernel_state.h"

namespace fairlead::tests::chaos {
namespace {

namespace nft = net::nft;
using base::cat;

constexpr const char* kTable = "fairlead";
constexpr std::size_t kIndexSize = 4;  // the last field of a key of `endpoints`: which share it is, which is history

std::string element_line(const nft::Set& set, const nft::Element& element) {
  const std::size_t key_size = set.name == "endpoints" ? element.key_size - kIndexSize : element.key_size;
  return cat(set.name, " ", hex(element.key.data(), key_size), " : ", hex(element.data.data(), element.data_size));
}

// The chain of one endpoint count and flag set, such as "n3"; it stays when the count is no longer in use.
bool is_counted(const std::string& chain) {
  const auto digits = std::find_if(chain.begin(), chain.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits != chain.end() && digits - chain.begin() <= 2;
}

Status add_table(nft::Kernel& kernel, const nft::TableId& id, KernelState& state) {
  const std::string where = id.to_string() + " ";
  const auto table = TRY(kernel.dump(id));
  if (!table) return Error(cat("there is no table ", id.to_string()));
  const auto add = [&](bool may_linger, std::string line) {
    (may_linger ? state.lingering : state.lines).push_back(where + std::move(line));
  };
  for (const nft::Chain& chain : table->chains) add(is_counted(chain.name), "chain " + chain.name);
  for (const nft::DumpedRule& rule : table->rules)
    add(is_counted(rule.chain), cat("rule ", rule.chain, ": ", rule.comment));
  for (const nft::Set& set : table->sets) {
    add(false, "set " + set.name);
    if (set.kind == nft::Set::Kind::VerdictMap) {
      TRY(kernel.dump_verdicts(id, set.name, [&](const nft::VerdictElement& element) {
        add(is_counted(element.go_to), cat(set.name, " ", element.key, " goto ", element.go_to));
      }));
    } else {
      TRY(kernel.dump_elements(id, set.name,
                               [&](const nft::Element& element) { add(false, element_line(set, element)); }));
    }
  }
  return {};
}

}  // namespace

Result<KernelState> nftables_state(testbed::Testbed& bed, unsigned node) {
  KernelState state;
  const auto read = [&]() -> Status {
    const auto kernel = TRY(nft::open_netlink());
    for (const net::Family family : {net::Family::V4, net::Family::V6})
      TRY(add_table(*kernel, {family, kTable}, state));
    return {};
  };
  TRY(bed.run_in(cat("node", node), read));
  return state;
}

}  // namespace fairlead::tests::chaos
