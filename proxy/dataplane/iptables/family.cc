#include "proxy/dataplane/iptables/family.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "proxy/dataplane/iptables/names.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

template <typename Key>
void count(std::map<Key, std::uint32_t>& users, const Key& key, int by) {
  std::uint32_t& n = users[key];
  n = static_cast<std::uint32_t>(static_cast<int>(n) + by);
  if (n == 0) users.erase(key);
}

}  // namespace

FamilyState::FamilyState(net::Family family, const Settings& settings) : family_(family), settings_(settings) {
  for (const Table table : kTables) tables_.emplace(table, TableState(table, settings.short_transactions));
}

void FamilyState::clear() {
  services_.clear();
  claims_.clear();
  frontends_.clear();
  local_.clear();
  health_checks_.clear();
  stale_.clear();
  health_checks_stale_ = false;
  tree_chains_.clear();
  owners_.clear();
  for (auto& [id, table] : tables_) table.clear();
}

void FamilyState::begin(const model::NodeState& node) {
  clear();
  node_ = node;
  for (auto& [id, table] : tables_) {
    for (const auto& [name, rules] : plan_static(settings_, family_, id)) table.set(name, rules);
    table.set_jumps(plan_jumps(node, family_));
  }
  if (serves_loopback(node, family_)) in(Table::Filter).set_guard(localnet_guard());
  stale_.insert(std::begin(kTreeIds), std::end(kTreeIds));
  health_checks_stale_ = true;
}

void FamilyState::upsert(const model::ServiceState& state) {
  ServicePlan plan = plan_service(node_, family_, state);
  const bool serves = !plan.frontends.empty();
  const std::uint16_t health_check = serves ? state.health_check_node_port : std::uint16_t{0};
  if (!serves) return erase(state.key);
  const auto it = services_.try_emplace(state.key).first;
  Installed& have = it->second;

  std::vector<ChainId> chains;
  for (const Table table : {Table::Filter, Table::Nat}) {
    for (const auto& [name, rules] : table == Table::Nat ? plan.nat : plan.filter) {
      in(table).set(name, rules);
      owners_[name] = state.key;
      chains.push_back({table, name});
    }
  }
  for (const ChainId& old : have.chains) {
    if (std::binary_search(chains.begin(), chains.end(), old)) continue;
    in(old.table).erase(old.name);
    owners_.erase(old.name);
  }
  have.chains = std::move(chains);

  std::vector<FrontendKey> frontends;
  frontends.reserve(plan.frontends.size());
  for (const auto& [key, dispatch] : plan.frontends) frontends.push_back(key);
  for (const FrontendKey& old : have.frontends) {
    if (!std::binary_search(frontends.begin(), frontends.end(), old)) release(old, state.key);
  }
  for (auto& [key, dispatch] : plan.frontends) claim(key, state.key, std::move(dispatch));
  have.frontends = std::move(frontends);

  if (have.local_endpoints != plan.local_endpoints) {
    count_local(plan.local_endpoints, 1);
    count_local(have.local_endpoints, -1);
    have.local_endpoints = std::move(plan.local_endpoints);
  }
  if (have.health_check != health_check) {
    count_health_check(health_check, 1);
    count_health_check(std::exchange(have.health_check, health_check), -1);
  }
}

void FamilyState::erase(const model::Key& service) {
  const auto it = services_.find(service);
  if (it == services_.end()) return;
  for (const ChainId& chain : it->second.chains) {
    in(chain.table).erase(chain.name);
    owners_.erase(chain.name);
  }
  for (const FrontendKey& key : it->second.frontends) release(key, service);
  count_local(it->second.local_endpoints, -1);
  count_health_check(it->second.health_check, -1);
  services_.erase(it);
}

void FamilyState::claim(const FrontendKey& key, const model::Key& service, Dispatch dispatch) {
  claims_[key][service] = std::move(dispatch);
  settle_claim(key);
}

void FamilyState::release(const FrontendKey& key, const model::Key& service) {
  const auto it = claims_.find(key);
  if (it == claims_.end()) return;
  it->second.erase(service);
  if (it->second.empty()) claims_.erase(it);
  settle_claim(key);
}

void FamilyState::settle_claim(const FrontendKey& key) {
  const auto touch = [&](const Dispatch& dispatch) {
    const auto trees = trees_of(key, dispatch);
    stale_.insert(trees.begin(), trees.end());
  };
  const auto have = frontends_.find(key);
  const auto claim = claims_.find(key);
  if (claim == claims_.end()) {
    if (have == frontends_.end()) return;
    touch(have->second);
    frontends_.erase(have);
    return;
  }
  const Dispatch& want = claim->second.begin()->second;
  if (have == frontends_.end()) {
    touch(want);
    frontends_.emplace(key, want);
  } else if (have->second != want) {
    touch(have->second);
    touch(want);
    have->second = want;
  }
}

void FamilyState::count_local(const std::vector<net::Ip>& endpoints, int by) {
  const std::size_t before = local_.size();
  for (const net::Ip& address : endpoints) count(local_, address, by);
  if (local_.size() != before) stale_.insert(TreeId::Hairpin);
}

void FamilyState::count_health_check(std::uint16_t port, int by) {
  if (port == 0) return;
  count(health_checks_, port, by);
  health_checks_stale_ = true;
}

void FamilyState::rebuild_trees() {
  for (const TreeId tree : stale_) {
    TableState& table = in(table_of(tree));
    std::set<std::string> names;
    for (const auto& [name, rules] : plan_tree(tree, node_, family_, frontends_, local_)) {
      table.set(name, rules);
      names.insert(name);
    }
    std::set<std::string>& have = tree_chains_[tree];
    for (const std::string& name : have) {
      if (!names.contains(name)) table.erase(name);
    }
    have = std::move(names);
  }
  stale_.clear();
  if (std::exchange(health_checks_stale_, false)) {
    in(Table::Filter).set(std::string(kNodePorts), plan_health_checks(health_checks_));
  }
}

void FamilyState::believe(Saved saved) {
  for (auto& [id, table] : tables_) table.believe(std::move(saved[id]));
}

Update FamilyState::update() {
  rebuild_trees();
  Update out;
  being_written_.clear();
  for (const auto& [id, table] : tables_) {
    const Update part = table.update();
    if (part.input.empty()) continue;
    out.input += part.input;
    out.rules += part.rules;
    out.commands += part.commands;
    being_written_[id] = part.rules;
  }
  return out;
}

void FamilyState::settle() {
  for (auto& [id, table] : tables_) table.settle();
  last_written_ = std::exchange(being_written_, {});
}

std::string FamilyState::text() {
  rebuild_trees();
  std::string out;
  for (const auto& [id, table] : tables_) out += table.text();
  return out;
}

std::vector<RuleCount> FamilyState::counts() const {
  std::vector<RuleCount> out;
  for (const Table table : {Table::Filter, Table::Nat}) {
    const auto written = last_written_.find(table);
    out.push_back({.family = family_,
                   .table = table == Table::Filter ? RuleCount::Table::Filter : RuleCount::Table::Nat,
                   .total = tables_.at(table).rules(),
                   .written = written == last_written_.end() ? 0 : written->second});
  }
  return out;
}

void FamilyState::append_conflicts(const FrontendKey& key, std::vector<Conflict>& out) const {
  const auto claim = claims_.find(key);
  if (claim == claims_.end()) return;
  for (auto it = std::next(claim->second.begin()); it != claim->second.end(); ++it) {
    out.push_back({.loser = it->first, .owner = claim->second.begin()->first, .frontend = key});
  }
}

std::vector<Conflict> FamilyState::conflicts_of(const model::Key& service) const {
  std::vector<Conflict> out;
  const auto it = services_.find(service);
  if (it == services_.end()) return out;
  for (const FrontendKey& key : it->second.frontends) append_conflicts(key, out);
  return out;
}

std::vector<Conflict> FamilyState::conflicts() const {
  std::vector<Conflict> out;
  for (const auto& [key, claimants] : claims_) append_conflicts(key, out);
  return out;
}

std::optional<model::Key> FamilyState::owner_of(std::string_view line) const {
  for (const std::string_view word : base::split(line, ' ')) {
    if (const auto it = owners_.find(std::string(word)); it != owners_.end()) return it->second;
  }
  return std::nullopt;
}

}  // namespace fairlead::proxy::dataplane::iptables
