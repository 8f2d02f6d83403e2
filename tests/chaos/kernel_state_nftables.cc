// Reads our tables by netlink. nftables/layout.md says what the bytes mean; here they are compared as they are, except
// where a number is history: the index of an endpoint, and the group and member numbers of stickiness.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/strings.h"
#include "net/nft/netlink.h"
#include "proxy/dataplane/nftables/codes.h"
#include "proxy/dataplane/nftables/elements.h"
#include "tests/chaos/kernel_state.h"

namespace fairlead::tests::chaos {
namespace {

namespace nft = net::nft;
namespace layout = proxy::dataplane::nftables;
using base::cat;

constexpr const char* kTable = "fairlead";

std::uint32_t number_at(const std::uint8_t* bytes) {
  std::uint32_t out = 0;
  std::memcpy(&out, bytes, sizeof out);
  return out;
}

std::string key_text(const nft::Element& element, std::size_t without = 0) {
  return hex(element.key.data(), element.key_size - without);
}
std::string data_text(const nft::Element& element) { return hex(element.data.data(), element.data_size); }

// The sets of stickiness, resolved into what each frontend's clients are spread over.
class Stickiness {
 public:
  bool take(const std::string& set, const nft::Element& element) {
    const std::uint32_t key = number_at(element.key.data());
    if (set == "sessions") {
      sessions_[key_text(element)] = number_at(element.data.data());
    } else if (set == "shares") {
      shares_[key] = number_at(element.data.data());
    } else if (set == "choices") {
      choices_[key].push_back(number_at(element.data.data()));
    } else if (set == "members") {
      members_[key] = data_text(element);
    } else {
      return false;
    }
    return true;
  }

  std::vector<std::string> lines() const {
    std::vector<std::string> out;
    std::set<std::uint32_t> pools;
    std::set<std::uint32_t> members;
    for (const auto& [frontend, group] : sessions_) {
      std::string line = cat("sessions ", frontend, " :");
      for (const bool local : {false, true}) {
        const std::uint32_t pool = layout::pool_of(group & layout::kGroupMask, local);
        pools.insert(pool);
        line += cat(local ? " local " : " cluster ", pool_text(pool, members));
      }
      out.push_back(std::move(line));
    }
    for (const auto& [pool, count] : shares_) {
      if (!pools.contains(pool)) out.push_back(cat("a share of nobody's pool, ", count));
    }
    for (const auto& [pool, chosen] : choices_) {
      if (!pools.contains(pool)) out.push_back(cat("choices of nobody's pool, ", chosen.size()));
    }
    for (const auto& [member, target] : members_) {
      if (!members.contains(member)) out.push_back(cat("a member of no pool, ", target));
    }
    return out;
  }

 private:
  std::string pool_text(std::uint32_t pool, std::set<std::uint32_t>& used) const {
    const auto share = shares_.find(pool);
    std::vector<std::string> targets;
    const auto chosen = choices_.find(pool);
    for (const std::uint32_t member : chosen == choices_.end() ? std::vector<std::uint32_t>() : chosen->second) {
      used.insert(member);
      const auto target = members_.find(member);
      targets.push_back(target == members_.end() ? "nowhere" : target->second);
    }
    std::sort(targets.begin(), targets.end());
    // A share is how many there are, beside the group again.
    return cat(share == shares_.end() ? 0 : share->second & ~layout::kGroupMask, " of [", base::join(targets, " "),
               "]");
  }

  std::map<std::string, std::uint32_t> sessions_;
  std::map<std::uint32_t, std::uint32_t> shares_;
  std::map<std::uint32_t, std::vector<std::uint32_t>> choices_;
  std::map<std::uint32_t, std::string> members_;
};

std::string element_line(const std::string& set, const nft::Element& element) {
  if (set != "endpoints") return cat(set, " ", key_text(element), " : ", data_text(element));
  const std::uint32_t index = number_at(element.key.data() + element.key_size - sizeof index);
  const char* pool = index >= layout::kLocalSlots ? " local" : "";
  return cat(set, " ", key_text(element, sizeof index), pool, " : ", data_text(element));
}

// What one code or one length of source ranges needs stays when it is no longer in use.
bool may_linger(const std::string& chain) { return layout::code_of_chain(chain).has_value(); }
bool is_length(const std::string& rule) { return rule.starts_with('/'); }

Status add_table(nft::Kernel& kernel, const nft::TableId& id, KernelState& state) {
  const std::string where = id.to_string() + " ";
  const auto table = TRY(kernel.dump(id));
  if (!table) return Error(cat("there is no table ", id.to_string()));
  const auto add = [&](bool lingers, const std::string& line) {
    (lingers ? state.lingering : state.lines).push_back(where + line);
  };
  for (const nft::Chain& chain : table->chains) add(may_linger(chain.name), "chain " + chain.name);
  for (const nft::DumpedRule& rule : table->rules)
    add(may_linger(rule.chain) || is_length(rule.comment), cat("rule ", rule.chain, ": ", rule.comment));
  Stickiness stickiness;
  for (const nft::Set& set : table->sets) {
    add(false, "set " + set.name);
    if (set.dynamic_size != 0) continue;  // packets write it
    if (set.kind == nft::Set::Kind::VerdictMap) {
      TRY(kernel.dump_verdicts(id, set.name, [&](const nft::VerdictElement& element) {
        add(layout::balances(element.key) || may_linger(element.go_to),
            cat(set.name, " ", element.key, " goto ", element.go_to));
      }));
      continue;
    }
    TRY(kernel.dump_elements(id, set.name, [&](const nft::Element& element) {
      if (!stickiness.take(set.name, element)) add(false, element_line(set.name, element));
    }));
  }
  for (const std::string& line : stickiness.lines()) add(false, line);
  return {};
}

}  // namespace

Result<KernelState> nftables_state(testbed::Testbed& bed, unsigned node) {
  KernelState state;
  const auto read = [&]() -> Status {
    const auto kernel = TRY(nft::open_netlink());
    for (const net::Family family : {net::Family::V4, net::Family::V6}) {
      const Status added = add_table(*kernel, {family, kTable}, state);
      TRY(added);
    }
    return {};
  };
  TRY(bed.run_in(cat("node", node), read));
  return state;
}

}  // namespace fairlead::tests::chaos
