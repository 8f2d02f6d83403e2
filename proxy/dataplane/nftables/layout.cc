#include "proxy/dataplane/nftables/layout.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "proxy/dataplane/nftables/elements.h"
#include "proxy/dataplane/nftables/rules.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using net::Family;
using nft::DataType;

std::vector<nft::Set> sets(Family family) {
  using Kind = nft::Set::Kind;
  std::vector<nft::Set> out;
  for (SetId id : kElementSets) {
    std::vector<DataType> data = data_of(id, family);
    const Kind kind = data.empty() ? Kind::Set : Kind::Map;
    out.push_back({name_of(id), kind, key_of(id, family), std::move(data)});
  }
  const DataType address = family == Family::V4 ? DataType::Ipv4 : DataType::Ipv6;
  out.push_back({kStickySet, Kind::Map, {address, DataType::Mark}, {DataType::Mark}, kStickyClients});
  for (const auto& [name, member] : kVerdictMaps) out.push_back({name, Kind::VerdictMap, {DataType::Mark}, {}});
  return out;
}

// What leads to the chain of a code, or past it.
Verdicts verdicts_of(std::uint32_t code) {
  Verdicts out;
  const nft::VerdictElement there{.key = code, .go_to = chain_of(code)};
  if ((code & kPick) != 0) {
    out.picks.insert({.key = code & kArgument, .go_to = there.go_to, .returns = true});
    return out;
  }
  out.dispatch.insert(there);
  if ((code & kShort) != 0) {
    out.refuse.insert({.key = code, .go_to = refused_externals_chain((code & kNodePort) != 0)});
  } else if ((code & kLocal) != 0) {
    out.dispatch_local.insert(there);
  }
  return out;
}

Verdicts fixed_verdicts() {
  Verdicts out;
  out.refuse = {{.key = kReject, .go_to = "reject"}, {.key = kDrop, .go_to = {}}};
  return out;
}

void add_verdicts(nft::Batch& batch, const nft::TableId& table, const Verdicts& verdicts) {
  for (const auto& [name, member] : kVerdictMaps) {
    const auto& elements = verdicts.*member;
    if (!elements.empty()) batch.push_back(nft::AddVerdicts{table, name, {elements.begin(), elements.end()}});
  }
}

void add_rules(nft::Batch& batch, const nft::TableId& table, std::vector<nft::Rule> rules) {
  for (nft::Rule& rule : rules) batch.push_back(nft::AddRule{table, std::move(rule)});
}

std::string chain_text(const nft::Chain& chain) {
  if (!chain.base) return chain.name;
  return base::cat(chain.name, " at hook ", static_cast<int>(chain.base->hook), " priority ", chain.base->priority);
}

std::string compare_chains(const nft::TableDump& dump, std::set<std::uint32_t>& codes) {
  std::map<std::string, nft::Chain> fixed;
  for (const nft::Chain& chain : fixed_chains()) fixed[chain.name] = chain;
  for (const nft::Chain& chain : dump.chains) {
    auto it = fixed.find(chain.name);
    if (it != fixed.end()) {
      if (!(it->second == chain)) return base::cat("chain ", chain_text(chain), " is not as written");
      fixed.erase(it);
      continue;
    }
    const auto code = code_of_chain(chain.name);
    if (!code || chain.base) return base::cat("chain ", chain_text(chain), " is not ours");
    codes.insert(*code);
  }
  return fixed.empty() ? std::string() : base::cat("chain ", fixed.begin()->first, " is missing");
}

using RulesByChain = std::map<std::string, std::vector<std::string>>;

void append(RulesByChain& to, const std::vector<nft::Rule>& rules) {
  for (const nft::Rule& rule : rules) to[rule.chain].push_back(rule.comment);
}

// Takes the rules of source range lengths out of `comments`; what is left should be as written.
void take_lengths(std::vector<std::string>& comments, bool node_port, std::set<RangeLength>& lengths) {
  std::size_t taken = 0;
  for (; taken < comments.size(); ++taken) {
    const std::string& comment = comments[taken];
    const auto bits = comment.starts_with('/') ? base::parse_number<std::uint8_t>(comment.substr(1)) : std::nullopt;
    if (!bits || !lengths.insert({node_port, *bits}).second) break;
  }
  comments.erase(comments.begin(), comments.begin() + static_cast<std::ptrdiff_t>(taken));
}

// Rules are told by their comments.
void compare_rules(const nft::TableDump& dump, Family family, const Settings& settings, const model::NodeState& node,
                   Inspection& result) {
  RulesByChain expected;
  RulesByChain found;
  for (const nft::Chain& chain : dump.chains) {
    expected[chain.name];
    found[chain.name];
  }
  append(expected, fixed_rules(family, settings));
  append(expected, node_rules(family, settings, node));
  for (const std::uint32_t code : result.codes) append(expected, code_rules(family, code, settings, node));
  for (const nft::DumpedRule& rule : dump.rules) found[rule.chain].push_back(rule.comment);
  for (const bool node_port : {false, true}) {
    take_lengths(found[restricted_chain(node_port)], node_port, result.lengths);
  }
  const std::vector<std::string> of_node = node_chains();
  for (const auto& [chain, comments] : found) {
    if (comments == expected[chain]) continue;
    const auto code = code_of_chain(chain);
    if ((code && depends_on_node(*code)) || std::find(of_node.begin(), of_node.end(), chain) != of_node.end()) {
      result.other_node = true;
    } else {
      result.mismatch = base::cat("the rules of chain ", chain, " are not as written");
    }
  }
}

std::string compare_sets(const nft::TableDump& dump, Family family) {
  std::map<std::string, nft::Set> expected;
  for (const nft::Set& set : sets(family)) expected[set.name] = set;
  for (const nft::Set& set : dump.sets) {
    auto it = expected.find(set.name);
    if (it == expected.end() || !(it->second == set)) return base::cat("set ", set.name, " is not ours");
    expected.erase(it);
  }
  return expected.empty() ? std::string() : base::cat("set ", expected.begin()->first, " is missing");
}

constexpr std::string_view kComment[] = {"fairlead layout ", ", mark ", ", invalid "};

}  // namespace

std::string table_comment(const Settings& settings) {
  return base::cat(kComment[0], kLayoutVersion, kComment[1], settings.mark, kComment[2],
                   settings.drop_invalid ? "dropped" : "passed");
}

std::optional<Settings> settings_of(const std::string& comment) {
  const std::size_t at = comment.find(kComment[1]);
  const std::size_t end = comment.find(kComment[2]);
  if (at == std::string::npos || end == std::string::npos || end < at) return std::nullopt;
  const std::size_t from = at + kComment[1].size();
  const auto mark = base::parse_number<std::uint32_t>(std::string_view(comment).substr(from, end - from));
  if (!mark) return std::nullopt;
  for (const bool drop : {true, false}) {
    const Settings settings{.mark = *mark, .drop_invalid = drop};
    if (table_comment(settings) == comment) return settings;
  }
  return std::nullopt;
}

nft::Batch create_table(const nft::TableId& table, const Settings& settings, const model::NodeState& node) {
  nft::Batch batch{nft::AddTable{table, table_comment(settings)}};
  for (nft::Set& set : sets(table.family)) batch.push_back(nft::AddSet{table, std::move(set)});
  for (nft::Chain& chain : fixed_chains()) batch.push_back(nft::AddChain{table, std::move(chain)});
  add_verdicts(batch, table, fixed_verdicts());
  add_rules(batch, table, fixed_rules(table.family, settings));
  add_rules(batch, table, node_rules(table.family, settings, node));
  return batch;
}

void add_code(nft::Batch& batch, const nft::TableId& table, std::uint32_t code, const Settings& settings,
              const model::NodeState& node) {
  batch.push_back(nft::AddChain{table, {chain_of(code), {}}});
  add_rules(batch, table, code_rules(table.family, code, settings, node));
  add_verdicts(batch, table, verdicts_of(code));
}

void add_length(nft::Batch& batch, const nft::TableId& table, const RangeLength& length) {
  batch.push_back(nft::AddRule{table, length_rule(table.family, length), true});
}

void change_node(nft::Batch& batch, const nft::TableId& table, const std::set<std::uint32_t>& codes,
                 const Settings& settings, const model::NodeState& node) {
  for (std::string& chain : node_chains()) batch.push_back(nft::FlushChain{table, std::move(chain)});
  add_rules(batch, table, node_rules(table.family, settings, node));
  for (const std::uint32_t code : codes) {
    if (!depends_on_node(code)) continue;
    batch.push_back(nft::FlushChain{table, chain_of(code)});
    add_rules(batch, table, code_rules(table.family, code, settings, node));
  }
}

Inspection inspect(const nft::TableDump& dump, const Verdicts& verdicts, const nft::TableId& table,
                   const Settings& settings, const model::NodeState& node) {
  Inspection result;
  if (dump.comment != table_comment(settings)) {
    result.mismatch = base::cat("its comment is \"", dump.comment, "\", not \"", table_comment(settings), "\"");
    return result;
  }
  result.mismatch = compare_sets(dump, table.family);
  if (result.mismatch.empty()) result.mismatch = compare_chains(dump, result.codes);
  if (result.mismatch.empty()) compare_rules(dump, table.family, settings, node, result);
  if (!result.mismatch.empty()) return result;
  Verdicts wanted = fixed_verdicts();
  for (const std::uint32_t code : result.codes) {
    Verdicts of_code = verdicts_of(code);
    for (const auto& [name, member] : kVerdictMaps) (wanted.*member).merge(of_code.*member);
  }
  for (const auto& [name, member] : kVerdictMaps) {
    if (verdicts.*member != wanted.*member) result.mismatch = base::cat("the map ", name, " is not as written");
  }
  return result;
}

}  // namespace fairlead::proxy::dataplane::nftables
