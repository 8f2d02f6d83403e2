#include "proxy/dataplane/iptables/tables.h"

#include <algorithm>
#include <functional>

#include "base/strings.h"
#include "proxy/dataplane/iptables/names.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

using base::cat;

constexpr std::uint64_t kFnvOffset = 0xcbf29ce484222325;
constexpr std::uint64_t kFnvPrime = 0x100000001b3;

void extend(Digest& digest, std::string_view line) {
  for (const char c : line) digest.hash = (digest.hash ^ static_cast<unsigned char>(c)) * kFnvPrime;
  digest.hash = (digest.hash ^ '\n') * kFnvPrime;
  ++digest.rules;
}

// Transactions of new or changed chains end after so many lines, but not within a chain. iptables-nft (1.8.9
// nft-cache.c cache_chain_list_insert) keeps the chains its transaction names in a list, and walks it for each jump.
// Chains are written before those that lead to them, so each is right whenever a packet gets there.
constexpr std::uint32_t kMostLines = 1000;

// "KUBE-SERVICES" of "-m ... -j KUBE-SERVICES"; empty when it is no chain's name.
std::string_view target_of(std::string_view rule) {
  const std::size_t at = rule.rfind(" -j ");
  if (at == std::string_view::npos) return rule.substr(0, 3) == "-j " ? rule.substr(3) : std::string_view();
  return rule.substr(at + 4);
}

bool is_kubernetes(std::string_view chain) { return chain.substr(0, 5) == "KUBE-"; }

std::optional<Table> parse_table(std::string_view name) {
  for (const Table table : kTables) {
    if (to_string(table) == name) return table;
  }
  return std::nullopt;
}

}  // namespace

Digest digest_of(std::string_view rules) {
  Digest digest{kFnvOffset, 0};
  while (!rules.empty()) {
    const std::size_t end = rules.find('\n');
    extend(digest, rules.substr(0, end));
    rules.remove_prefix(end == std::string_view::npos ? rules.size() : end + 1);
  }
  return digest;
}

Result<Saved> parse_save(std::string_view text) {
  Saved saved;
  SavedTable* table = nullptr;  // empty: outside of one, or in one of others
  bool inside = false;
  std::size_t number = 0;
  const auto bad = [&](std::string_view what) { return Error(cat("iptables-save: line ", number, ": ", what)); };
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '*') {
      if (inside) return bad("a table begins in another one");
      const auto which = parse_table(line.substr(1));
      table = which ? &saved[*which] : nullptr;
      inside = true;
    } else if (!inside) {
      return bad(cat("\"", line.substr(0, 40), "\" is in no table"));
    } else if (line == "COMMIT") {
      table = nullptr;
      inside = false;
    } else if (line[0] == ':') {
      const std::size_t space = line.find(' ');
      if (space == std::string_view::npos) return bad("a chain without a policy");
      const std::string name(line.substr(1, space - 1));
      if (table == nullptr) continue;
      if (is_ours(name)) {
        table->chains[name] = Digest{kFnvOffset, 0};
      } else if (line.substr(space + 1, 1) != "-" || name == kFirewall) {
        table->shared[name];
      }
    } else if (line.substr(0, 3) == "-A ") {
      const std::string_view rest = line.substr(3);
      const std::size_t space = rest.find(' ');
      const std::string name(rest.substr(0, space));
      const std::string_view rule = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
      if (table == nullptr) continue;
      if (const auto own = table->chains.find(name); own != table->chains.end()) {
        extend(own->second, rule);
        continue;
      }
      if (const auto shared = table->shared.find(name); shared != table->shared.end())
        shared->second.emplace_back(rule);
      if (!is_kubernetes(name) && !is_kubernetes(target_of(rule))) ++table->foreign_rules;
    } else {
      return bad(cat("\"", line.substr(0, 40), "\" is neither table, chain nor rule"));
    }
  }
  if (inside) return bad("the last table has no COMMIT");
  return saved;
}

void TableState::set(const std::string& chain, const Rules& rules) {
  std::string text;
  for (const Rule& rule : rules) {
    append(text, rule);
    text.push_back('\n');
  }
  const auto [it, is_new] = wanted_.try_emplace(chain, std::move(text));
  if (!is_new) {
    if (it->second == text) return;
    it->second = std::move(text);
  }
  dirty_.insert(chain);
}

void TableState::erase(const std::string& chain) {
  if (wanted_.erase(chain) != 0) dirty_.insert(chain);
}

void TableState::set_jumps(std::vector<Jump> jumps) {
  jumps_.clear();
  for (const Jump& jump : jumps) {
    if (jump.table == table_) jumps_.emplace_back(jump.chain, to_string(jump.rule));
  }
  jumps_dirty_ = true;
}

void TableState::set_guard(std::optional<Rule> guard) {
  guard_.reset();
  if (guard) guard_ = to_string(*guard);
  jumps_dirty_ = true;
}

void TableState::clear() {
  wanted_.clear();
  jumps_.clear();
  guard_.reset();
  jumps_dirty_ = true;
  for (const auto& [name, digest] : belief_.chains) dirty_.insert(name);
}

void TableState::believe(SavedTable saved) {
  belief_ = std::move(saved);
  dirty_.clear();
  for (const auto& [name, rules] : wanted_) dirty_.insert(name);
  for (const auto& [name, digest] : belief_.chains) dirty_.insert(name);
  jumps_dirty_ = true;
}

void TableState::append_chain(const std::string& name, const std::string& rules, Update& out) const {
  out.input += cat(":", name, " - [0:0]\n");
  ++out.commands;
  std::string_view rest = rules;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n') + 1;
    out.input += "-A ";
    out.input += name;
    out.input += ' ';
    out.input += rest.substr(0, end);
    rest.remove_prefix(end);
    ++out.rules;
    ++out.commands;
  }
}

// Our rules in chains that others use too.
void TableState::append_shared(Update& out) const {
  const auto line = [&](const auto&... parts) {
    out.input += cat(parts..., "\n");
    ++out.commands;
  };
  const auto rules_of = [&](std::string_view chain) {
    const auto it = belief_.shared.find(std::string(chain));
    return it == belief_.shared.end() ? std::vector<std::string>() : it->second;
  };
  if (guard_) {
    const auto have = rules_of(kFirewall);
    // Naming the chain empties it.
    if (!belief_.shared.contains(std::string(kFirewall))) line(":", kFirewall, " - [0:0]");
    if (std::find(have.begin(), have.end(), *guard_) == have.end()) line("-A ", kFirewall, " ", *guard_);
  }
  std::map<std::string, std::vector<std::string>> wanted;
  for (const auto& [chain, rule] : jumps_) {
    wanted[chain].push_back(rule);
    const auto have = rules_of(chain);
    if (std::find(have.begin(), have.end(), rule) == have.end()) {
      line("-I ", chain, " ", rule);
      ++out.rules;
    }
  }
  for (const auto& [chain, have] : belief_.shared) {
    std::vector<std::string>& once = wanted[chain];
    for (const std::string& rule : have) {
      if (chain == kFirewall || !is_ours(target_of(rule))) continue;
      const auto it = std::find(once.begin(), once.end(), rule);
      if (it == once.end()) {
        line("-D ", chain, " ", rule);
      } else {
        once.erase(it);
      }
    }
  }
}

Update TableState::update() const {
  struct Write {
    int rank;
    const std::string* name;
    const std::string* rules;
  };
  std::vector<Write> writes;
  std::vector<std::string> gone;
  for (const std::string& name : dirty_) {
    const auto want = wanted_.find(name);
    const auto have = belief_.chains.find(name);
    if (want == wanted_.end()) {
      if (have != belief_.chains.end()) gone.push_back(name);
    } else if (have == belief_.chains.end() || have->second != digest_of(want->second)) {
      writes.push_back({rank_of(name, want->second), &want->first, &want->second});
    }
  }
  std::sort(writes.begin(), writes.end(),
            [](const Write& a, const Write& b) { return a.rank != b.rank ? a.rank < b.rank : *a.name > *b.name; });
  Update out;
  std::uint32_t begun = 0;  // commands when this transaction began
  for (const Write& write : writes) {
    if (short_transactions_ && out.commands - begun >= kMostLines) {
      out.input += cat("COMMIT\n*", to_string(table_), "\n");
      begun = out.commands;
    }
    append_chain(*write.name, *write.rules, out);
  }
  if (jumps_dirty_) append_shared(out);
  for (auto it = gone.rbegin(); it != gone.rend(); ++it) append_chain(*it, {}, out);
  for (const std::string& name : gone) out.input += cat("-X ", name, "\n");
  if (!out.input.empty()) out.input = cat("*", to_string(table_), "\n", out.input, "COMMIT\n");
  return out;
}

void TableState::settle() {
  for (const std::string& name : dirty_) {
    const auto want = wanted_.find(name);
    if (want == wanted_.end()) {
      belief_.chains.erase(name);
    } else {
      belief_.chains[name] = digest_of(want->second);
    }
  }
  dirty_.clear();
  if (!std::exchange(jumps_dirty_, false)) return;
  for (auto& [chain, rules] : belief_.shared) {
    if (chain != kFirewall) std::erase_if(rules, [](const std::string& rule) { return is_ours(target_of(rule)); });
  }
  for (const auto& [chain, rule] : jumps_) {
    std::vector<std::string>& rules = belief_.shared[chain];
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
  }
  if (!guard_) return;
  std::vector<std::string>& rules = belief_.shared[std::string(kFirewall)];
  if (std::find(rules.begin(), rules.end(), *guard_) == rules.end()) rules.push_back(*guard_);
}

std::uint32_t TableState::rules() const {
  auto count = static_cast<std::uint32_t>(jumps_.size());
  for (const auto& [name, digest] : belief_.chains) count += digest.rules;
  return count;
}

std::string TableState::text() const {
  TableState fresh = *this;
  fresh.believe({});
  return fresh.update().input;
}

}  // namespace fairlead::proxy::dataplane::iptables
