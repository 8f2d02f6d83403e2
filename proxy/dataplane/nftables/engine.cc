#include "proxy/dataplane/nftables/engine.h"

#include <algorithm>
#include <cerrno>
#include <future>
#include <iterator>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

// So many services are set apart when the kernel refuses what is theirs; more means something else is wrong.
constexpr std::size_t kMaxDeferred = 8;

// Writes of one frontend or group, into the right sets of its table.
class Appender {
 public:
  Appender(std::size_t table, Writes& deletes, Writes& adds) : table_(table), deletes_(deletes), adds_(adds) {}

  void remove(SetId set, nft::Element key) { deletes_.in(table_, set).push_back(key); }
  void add(SetId set, nft::Element element) { adds_.in(table_, set).push_back(element); }
  void value(SetId set, const FrontendKey& key, const Change<std::uint32_t>& change) {
    if (change.deleted) remove(set, frontend_element(set, key));
    if (change.added) add(set, frontend_element(set, key, *change.added));
  }

 private:
  std::size_t table_;
  Writes& deletes_;
  Writes& adds_;
};

void append_frontend(Appender to, const FrontendKey& key, const FrontendDelta& delta) {
  for (const SlotWrite& w : delta.deleted) {
    to.remove(SetId::Endpoints, endpoint_element(key, w.local_pool, w.index, nullptr));
  }
  for (const SlotWrite& w : delta.added) {
    to.add(SetId::Endpoints, endpoint_element(key, w.local_pool, w.index, &w.slot));
  }
  to.value(key.node_port ? SetId::NodePorts : SetId::Services, key, delta.code);
  to.value(SetId::Externals, key, delta.external);
  to.value(SetId::Sessions, key, delta.group);
  if (delta.restricted.deleted) to.remove(SetId::Restricted, frontend_element(SetId::Restricted, key));
  if (delta.restricted.added) to.add(SetId::Restricted, frontend_element(SetId::Restricted, key));
  for (const net::Prefix& range : delta.sources_deleted) to.remove(SetId::Ranges, range_element(key, range));
  for (const net::Prefix& range : delta.sources_added) to.add(SetId::Ranges, range_element(key, range));
}

// Writes what makes `have` into `want`; how many elements that is.
std::size_t append_pool(Appender to, net::Family family, std::uint32_t pool, const InstalledPool& have,
                        const InstalledPool& want) {
  std::size_t writes = 0;
  const auto choice_at = [](const InstalledPool& p, std::size_t i) { return i < p.choices.size() ? p.choices[i] : 0; };
  for (std::uint32_t i = 0; i < std::max(have.choices.size(), want.choices.size()); ++i) {
    const std::uint32_t old_choice = choice_at(have, i);
    const std::uint32_t new_choice = choice_at(want, i);
    if (old_choice == new_choice) continue;
    if (old_choice != 0) to.remove(SetId::Choices, choice_element(pool, i, std::nullopt));
    if (new_choice != 0) to.add(SetId::Choices, choice_element(pool, i, new_choice));
    writes += std::size_t{old_choice != 0} + (new_choice != 0);
  }
  const auto differs = [](const InstalledPool& p, std::uint32_t member, const Slot& slot) {
    const Slot* other = p.find(member);
    return other == nullptr || !other->same_target(slot);
  };
  for (const auto& [member, slot] : have.members) {
    if (!differs(want, member, slot)) continue;
    to.remove(SetId::Members, member_element(family, member, nullptr));
    ++writes;
  }
  for (const auto& [member, slot] : want.members) {
    if (!differs(have, member, slot)) continue;
    to.add(SetId::Members, member_element(family, member, &slot));
    ++writes;
  }
  if (have.share == want.share) return writes;
  if (have.share) to.remove(SetId::Shares, share_element(pool, std::nullopt));
  if (want.share) to.add(SetId::Shares, share_element(pool, want.share));
  return writes + have.share.has_value() + want.share.has_value();
}

template <typename Command>
void append_writes(nft::Batch& batch, const std::vector<nft::TableId>& tables, Writes& writes) {
  for (std::size_t t = 0; t < tables.size(); ++t) {
    for (SetId set : kElementSets) {
      auto& elements = writes.in(t, set);
      if (!elements.empty()) batch.push_back(Command{tables[t], name_of(set), std::move(elements)});
    }
  }
}

using Users = PerAddressSet<std::unordered_map<net::Ip, std::int64_t>>;

void count_users(Users& users, const Slot& slot, int by) {
  if (slot.local) users[0][slot.address] += by;
}
void count_users(Users& users, const FrontendKey& key, const Installed& installed, int by) {
  for (const auto& slots : installed.slots) {
    for (const Slot& slot : slots) count_users(users, slot, by);
  }
  if (installed.cluster_ip) users[1][key.address] += by;
}
void count_users(Users& users, const InstalledGroup& installed, int by) {
  for (const InstalledPool& pool : installed) {
    for (const auto& [member, slot] : pool.members) count_users(users, slot, by);
  }
}

}  // namespace

Engine::Engine(std::unique_ptr<nft::Kernel> kernel, const std::string& instance, const Settings& settings,
               const std::vector<net::Family>& families, Tuning tuning, OwnerOf owner_of)
    : kernel_(std::move(kernel)), settings_(settings), tuning_(tuning), owner_of_(std::move(owner_of)) {
  for (net::Family family : families) tables_.push_back({family, instance});
}

Status Engine::load(const model::NodeState& node) {
  const nft::ForeignChanges changes = kernel_->read_notifications();
  edits = {};
  node_ = node;
  node_texts_.clear();
  for (const nft::TableId& table : tables_) node_texts_.push_back(node_text(table.family, node_));
  if (!trusted_ || is_ours(changes)) {
    trusted_ = false;
    belief_ = {};
    belief_ = TRY(read_belief(*kernel_, tables_, settings_, node_, tuning_.find_above));
    sweep_ = true;
    trusted_ = true;
  }
  for (const auto& [key, ignored] : belief_.frontends) edits.frontends[key].reset();
  for (const auto& [key, ignored] : belief_.groups) edits.groups[key].reset();
  return {};
}

Status Engine::reload() {
  kernel_->read_notifications();  // what they tell is in what is read next
  trusted_ = false;
  Belief fresh = TRY(read_belief(*kernel_, tables_, settings_, node_, tuning_.find_above));
  for (const auto& [key, installed] : belief_.frontends) edits.frontends.try_emplace(key, wanted_of(installed));
  for (const auto& [key, ignored] : fresh.frontends) edits.frontends.try_emplace(key, std::nullopt);
  for (const auto& [key, installed] : belief_.groups) edits.groups.try_emplace(key, wanted_of(installed));
  for (const auto& [key, ignored] : fresh.groups) edits.groups.try_emplace(key, std::nullopt);
  belief_ = std::move(fresh);
  trusted_ = true;
  sweep_ = true;
  return {};
}

Adopted Engine::adopted() const {
  std::set<GroupKey> used;
  for (const auto& [key, installed] : belief_.frontends) {
    if (installed.group) used.insert({key.family, *installed.group});
  }
  return {.group_of = [this](const FrontendKey& key) -> std::optional<std::uint32_t> {
            auto it = belief_.frontends.find(key);
            return it == belief_.frontends.end() ? std::nullopt : it->second.group;
          },
          .is_used = [used = std::move(used)](const GroupKey& key) { return used.contains(key); }};
}

Wanted Engine::current(const FrontendKey& frontend) const {
  auto it = belief_.frontends.find(frontend);
  return it == belief_.frontends.end() ? Wanted() : wanted_of(it->second);
}

bool Engine::is_ours(const nft::ForeignChanges& changes) const {
  return changes.lost || std::any_of(tables_.begin(), tables_.end(),
                                     [&](const nft::TableId& table) { return changes.tables.contains(table); });
}

bool Engine::has_family(net::Family family) const { return table_of(family) < tables_.size(); }

std::size_t Engine::table_of(net::Family family) const {
  return static_cast<std::size_t>(
      std::find_if(tables_.begin(), tables_.end(), [&](const nft::TableId& t) { return t.family == family; }) -
      tables_.begin());
}

bool Engine::must_be_one_transaction() const {
  return std::any_of(belief_.tables.begin(), belief_.tables.end(), [&](const TableBelief& table) {
    return table.exists && (!table.usable() || table.node != node_texts_[table_of(table.id.family)]);
  });
}

void Engine::flush(Report& report) {
  // Belief may hold what was refused: nothing can be told to be in force by it before the kernel is read again.
  bool reloaded = !trusted_;
  if (reloaded) {
    if (Status read = reload(); !read) {
      report.failures.push_back({{}, std::move(read).error()});
      return;
    }
  }
  // A first sync grows it once instead of step by step.
  if (edits.frontends.size() > belief_.frontends.size()) belief_.frontends.reserve(edits.frontends.size());
  FrontendEdits deferred;
  bool has_rules = false;  // the rules of all edits are in force
  // While the kernel works on one transaction of a large sync the next one is staged, as if the first had been taken.
  // When it was refused, reload() finds what belief has too much, and it is written again: now, or by the next flush if
  // the kernel cannot be read now.
  std::future<std::optional<nft::Refusal>> underway;
  for (bool last = false; !last;) {
    sweep_ = sweep_ && deferred.empty();
    Stage next = stage(has_rules);
    const std::shared_ptr<const nft::Kernel::Prepared> batch = kernel_->prepare(std::move(next.batch));
    std::optional<nft::Refusal> refusal;
    if (underway.valid()) refusal = underway.get();
    if (!refusal && !batch->batch.empty()) {
      report.kernel_writes += nft::count_writes(batch->batch);
      if (next.last || reloaded) {
        refusal = kernel_->commit_prepared(*batch);
      } else {
        underway = std::async([this, batch] { return kernel_->commit_prepared(*batch); });
      }
    }
    if (refusal) {
      // Most likely somebody else changed our table: see what is there, and write what differs.
      if (!std::exchange(reloaded, true)) {
        has_rules = false;
        Status read = reload();
        if (read) continue;
        report.failures.push_back({{}, std::move(read).error()});
        break;
      }
      const auto key = culprit(batch->batch, *refusal);
      auto edit = key ? edits.frontends.find(*key) : edits.frontends.end();
      if (edit == edits.frontends.end() || deferred.size() >= kMaxDeferred) {
        trusted_ = false;
        report.failures.push_back({{}, std::move(refusal->error)});
        break;
      }
      report.failures.push_back({owner_of_(*key), std::move(refusal->error).with_context(key->to_string())});
      deferred.insert(edits.frontends.extract(edit));
      continue;
    }
    last = next.last;
    has_rules = true;
    settle(std::move(next));
  }
  if (!deferred.empty()) sweep_ = true;  // reload() found them, and which of them the deferred use is not known yet
  edits.frontends.merge(deferred);
}

// A pool that loses its last member goes after the frontends that still send to it.
bool Engine::shrinks(const GroupKey& key, const std::optional<WantedGroup>& wanted) const {
  auto it = belief_.groups.find(key);
  if (it == belief_.groups.end()) return false;
  for (std::size_t pool = 0; pool < it->second.size(); ++pool) {
    if (!it->second[pool].members.empty() && (!wanted || (*wanted)[pool].empty())) return true;
  }
  return !wanted;
}

Engine::Stage Engine::stage(bool has_rules) const {
  Stage stage;
  stage_tables(stage);
  if (!has_rules) stage_rules(stage);
  for (const auto& [set, stray] : belief_.strays) {
    stage.deletes.in(table_of(stray.first.family), set).push_back(stray.second);
  }
  const std::size_t limit = must_be_one_transaction() ? SIZE_MAX : tuning_.chunk;
  const auto stage_groups = [&](bool shrinking) {
    for (auto edit = edits.groups.begin(); edit != edits.groups.end() && stage.weight < limit; ++edit) {
      if (shrinks(edit->first, edit->second) == shrinking) stage_group(edit, stage);
    }
  };
  stage_groups(false);
  for (auto edit = edits.frontends.begin(); edit != edits.frontends.end() && stage.weight < limit; ++edit) {
    stage_frontend(edit, stage);
  }
  if (stage.frontends.size() == edits.frontends.size()) stage_groups(true);
  stage.last = stage.frontends.size() == edits.frontends.size() && stage.groups.size() == edits.groups.size();
  for (std::size_t set = 0; set < std::size(kAddressSets); ++set) stage_addresses(set, stage);
  append_writes<nft::DeleteElements>(stage.batch, tables_, stage.deletes);
  append_writes<nft::AddElements>(stage.batch, tables_, stage.adds);
  return stage;
}

// A table that is not as written is deleted and created in the same transaction: packets see the old one or the new.
// The rules of another NodeState are replaced in the same way.
void Engine::stage_tables(Stage& stage) const {
  for (const TableBelief& table : belief_.tables) {
    if (table.usable()) {
      if (table.node != node_texts_[table_of(table.id.family)]) {
        change_node(stage.batch, table.id, table.codes, settings_, node_);
      }
      continue;
    }
    if (table.exists) stage.batch.push_back(nft::DeleteTable{table.id});
    nft::Batch create = create_table(table.id, settings_, node_);
    std::move(create.begin(), create.end(), std::back_inserter(stage.batch));
  }
}

void Engine::stage_code(std::size_t table, std::optional<std::uint32_t> code, Stage& stage) const {
  if (!code || (!balances(*code) && (*code & kPick) == 0)) return;
  const auto& known = belief_.tables[table].codes;
  if ((*code & (kPick | kShort)) == kShort && !known.contains(*code & ~kShort)) {
    stage.codes.insert({table, *code & ~kShort});  // which sorts before the one that leads to it
  }
  if (!known.contains(*code)) stage.codes.insert({table, *code});
}

// Those of all edits go into the first transaction: for a rule that looks up a map the kernel walks all of it (linux
// v6.1 nf_tables_bind_set), and there is least in it now.
void Engine::stage_rules(Stage& stage) const {
  for (const auto& [key, wanted] : edits.frontends) {
    if (!wanted) continue;
    const std::size_t table = table_of(key.family);
    stage_code(table, wanted->code, stage);
    stage_code(table, wanted->external, stage);
    for (const net::Prefix& range : wanted->sources) {
      const RangeLength length{.node_port = key.node_port, .bits = range.length};
      if (!belief_.tables[table].lengths.contains(length)) stage.lengths.insert({table, length});
    }
  }
  for (const auto& [key, wanted] : edits.groups) {
    if (!wanted) continue;
    for (const auto& members : *wanted) {
      const auto size = static_cast<std::uint32_t>(members.size());
      if (size > 0) stage_code(table_of(key.family), kPick | size, stage);
    }
  }
  for (const auto& [table, code] : stage.codes) add_code(stage.batch, tables_[table], code, settings_, node_);
  for (const auto& [table, length] : stage.lengths) add_length(stage.batch, tables_[table], length);
}

void Engine::stage_frontend(FrontendEdits::const_iterator edit, Stage& stage) const {
  static const Installed kNothing;
  const auto& [key, wanted] = *edit;
  const std::size_t table = table_of(key.family);
  auto it = belief_.frontends.find(key);
  const Installed& have = it == belief_.frontends.end() ? kNothing : it->second;
  Installed want = wanted ? arrange(have.slots, *wanted) : Installed();
  const FrontendDelta delta = difference(have, want);
  append_frontend({table, stage.deletes, stage.adds}, key, delta);
  stage.weight += 1 + delta.size();
  count_users(stage.users, key, have, -1);
  count_users(stage.users, key, want, 1);
  stage.frontends.emplace_back(edit, std::move(want));
}

void Engine::stage_group(GroupEdits::const_iterator edit, Stage& stage) const {
  static const InstalledGroup kNothing;
  const auto& [key, wanted] = *edit;
  const std::size_t table = table_of(key.family);
  auto it = belief_.groups.find(key);
  const InstalledGroup& have = it == belief_.groups.end() ? kNothing : it->second;
  InstalledGroup want = wanted ? arrange(key.group, have, *wanted) : InstalledGroup();
  stage.weight += 1;
  for (std::size_t pool = 0; pool < want.size(); ++pool) {
    stage.weight += append_pool({table, stage.deletes, stage.adds}, key.family, pool_of(key.group, pool == 1),
                                have[pool], want[pool]);
  }
  count_users(stage.users, have, -1);
  count_users(stage.users, want, 1);
  stage.groups.emplace_back(edit, std::move(want));
}

void Engine::stage_addresses(std::size_t set, Stage& stage) const {
  const auto& belief = belief_.addresses[set];
  const auto& users = stage.users[set];
  auto change = [&](const net::Ip& address, const AddressUse& now, std::int64_t by) {
    const auto left = static_cast<std::uint32_t>(now.users + by);
    const AddressUse then{.users = left, .installed = left > 0};
    stage.addresses[set].emplace_back(address, then);
    if (then.installed == now.installed) return;
    Writes& writes = then.installed ? stage.adds : stage.deletes;
    writes.in(table_of(address.family()), kAddressSets[set]).push_back(address_element(kAddressSets[set], address));
  };
  for (const auto& [address, by] : users) {
    auto it = belief.find(address);
    change(address, it == belief.end() ? AddressUse() : it->second, by);
  }
  if (!stage.last || !sweep_) return;
  for (const auto& [address, now] : belief) {
    if (now.users == 0 && !users.contains(address)) change(address, now, 0);
  }
}

void Engine::settle(Stage&& stage) {
  for (TableBelief& table : belief_.tables) {
    table.exists = true;
    table.mismatch.clear();
    table.node = node_texts_[table_of(table.id.family)];
  }
  belief_.strays.clear();
  for (const auto& [table, code] : stage.codes) belief_.tables[table].codes.insert(code);
  for (const auto& [table, length] : stage.lengths) belief_.tables[table].lengths.insert(length);
  for (auto& [edit, installed] : stage.frontends) {
    if (edit->second) {
      belief_.frontends.insert_or_assign(edit->first, std::move(installed));
    } else {
      belief_.frontends.erase(edit->first);
    }
    edits.frontends.erase(edit);
  }
  for (auto& [edit, installed] : stage.groups) {
    if (edit->second) {
      belief_.groups.insert_or_assign(edit->first, std::move(installed));
    } else {
      belief_.groups.erase(edit->first);
    }
    edits.groups.erase(edit);
  }
  for (std::size_t set = 0; set < std::size(kAddressSets); ++set) {
    for (const auto& [address, use] : stage.addresses[set]) {
      if (use.installed) {
        belief_.addresses[set].insert_or_assign(address, use);
      } else {
        belief_.addresses[set].erase(address);
      }
    }
  }
  if (stage.last) sweep_ = false;
}

std::optional<FrontendKey> Engine::culprit(const nft::Batch& batch, const nft::Refusal& refusal) const {
  if (!refusal.command || !refusal.element) return std::nullopt;
  auto find = [&](const auto& command) -> std::optional<FrontendKey> {
    if (*refusal.element >= command.elements.size()) return std::nullopt;
    const nft::Element& element = command.elements[*refusal.element];
    const net::Family family = command.table.family;
    for (SetId set : {SetId::Services, SetId::NodePorts, SetId::Externals, SetId::Sessions, SetId::Restricted}) {
      if (command.set == name_of(set)) return parse_frontend(family, set, element);
    }
    if (command.set == name_of(SetId::Ranges)) {
      const auto range = parse_range(family, element);
      return range ? std::optional(range->first) : std::nullopt;
    }
    if (command.set != name_of(SetId::Endpoints)) return std::nullopt;
    const auto endpoint = parse_endpoint(family, element);
    return endpoint ? std::optional(endpoint->frontend) : std::nullopt;
  };
  const nft::Command& command = batch[*refusal.command];
  if (const auto* add = std::get_if<nft::AddElements>(&command)) return find(*add);
  if (const auto* del = std::get_if<nft::DeleteElements>(&command)) return find(*del);
  return std::nullopt;
}

Status Engine::remove() {
  for (const nft::TableId& table : tables_) {
    auto refusal = kernel_->commit({nft::DeleteTable{table}});
    if (refusal && refusal->error.errno_value() != ENOENT) return std::move(refusal->error);
  }
  edits = {};
  belief_ = {};
  trusted_ = false;
  return {};
}

}  // namespace fairlead::proxy::dataplane::nftables
