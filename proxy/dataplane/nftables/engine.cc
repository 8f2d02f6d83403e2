#include "proxy/dataplane/nftables/engine.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

// So many services are set apart when the kernel refuses what is theirs; more means something else is wrong.
constexpr std::size_t kMaxDeferred = 8;

std::size_t append_frontend(std::size_t table, const FrontendKey& key, const FrontendDelta& delta, Writes& deletes,
                            Writes& adds) {
  for (const SlotWrite& w : delta.deleted) {
    deletes.in(table, SetId::Endpoints).push_back(endpoint_element(key, w.index, nullptr));
  }
  for (const SlotWrite& w : delta.added) {
    adds.in(table, SetId::Endpoints).push_back(endpoint_element(key, w.index, &w.slot));
  }
  const SetId set = key.node_port ? SetId::NodePorts : SetId::Services;
  if (delta.code_deleted) deletes.in(table, set).push_back(frontend_element(key, std::nullopt));
  if (delta.code_added) adds.in(table, set).push_back(frontend_element(key, *delta.code_added));
  return delta.deleted.size() + delta.added.size() + delta.code_deleted.has_value() + delta.code_added.has_value();
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

void count_users(std::unordered_map<net::Ip, std::int64_t>& users, const std::vector<Slot>& slots, int by) {
  for (const Slot& slot : slots) {
    if (slot.local) users[slot.address] += by;
  }
}

}  // namespace

Engine::Engine(std::unique_ptr<nft::Kernel> kernel, const Options& options, const std::vector<net::Family>& families,
               Tuning tuning, OwnerOf owner_of)
    : kernel_(std::move(kernel)), mark_(options.masquerade_mark), tuning_(tuning), owner_of_(std::move(owner_of)) {
  for (net::Family family : families) tables_.push_back({family, options.instance});
}

Status Engine::load() {
  const nft::ForeignChanges changes = kernel_->read_notifications();
  edits.clear();
  if (!trusted_ || is_ours(changes)) {
    trusted_ = false;
    belief_ = {};
    belief_ = TRY(read_belief(*kernel_, tables_, mark_, tuning_.find_above));
    sweep_ = true;
    trusted_ = true;
  }
  for (const auto& [key, ignored] : belief_.frontends) edits[key].reset();
  return {};
}

Status Engine::reload() {
  kernel_->read_notifications();  // what they tell is in what is read next
  trusted_ = false;
  Belief fresh = TRY(read_belief(*kernel_, tables_, mark_, tuning_.find_above));
  for (const auto& [key, installed] : belief_.frontends) edits.try_emplace(key, wanted_of(installed));
  for (const auto& [key, ignored] : fresh.frontends) edits.try_emplace(key, std::nullopt);
  belief_ = std::move(fresh);
  trusted_ = true;
  sweep_ = true;
  return {};
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
  return std::any_of(belief_.tables.begin(), belief_.tables.end(),
                     [](const TableBelief& table) { return table.exists && !table.mismatch.empty(); });
}

void Engine::flush(Report& report) {
  Edits deferred;
  bool reloaded = false;
  const bool sweep = sweep_;
  for (bool last = false; !last;) {
    sweep_ = sweep_ && deferred.empty();
    Stage next = stage();
    if (!next.batch.empty()) {
      report.kernel_writes += nft::count_writes(next.batch);
      if (auto refusal = kernel_->commit(next.batch)) {
        // Most likely somebody else changed our table: see what is there, and write what differs.
        if (!std::exchange(reloaded, true)) {
          Status read = reload();
          if (read) continue;
          report.failures.push_back({{}, std::move(read).error()});
          break;
        }
        const auto key = culprit(next.batch, *refusal);
        auto edit = key ? edits.find(*key) : edits.end();
        if (edit == edits.end() || deferred.size() >= kMaxDeferred) {
          trusted_ = false;
          report.failures.push_back({{}, std::move(refusal->error)});
          break;
        }
        report.failures.push_back({owner_of_(*key), std::move(refusal->error).with_context(key->to_string())});
        deferred.insert(edits.extract(edit));
        continue;
      }
    }
    last = next.last;
    settle(std::move(next));
  }
  if (!deferred.empty()) sweep_ = sweep;
  edits.merge(deferred);
}

Engine::Stage Engine::stage() const {
  Stage stage;
  Writes deletes;
  Writes adds;
  stage_tables(stage);
  for (const auto& [set, stray] : belief_.strays) {
    deletes.in(table_of(stray.first.family), set).push_back(stray.second);
  }
  const std::size_t limit = must_be_one_transaction() ? SIZE_MAX : tuning_.chunk;
  std::size_t weight = 0;
  const Installed nothing;
  auto edit = edits.begin();
  for (; edit != edits.end() && weight < limit; ++edit) {
    const auto& [key, wanted] = *edit;
    const std::size_t table = table_of(key.family);
    auto it = belief_.frontends.find(key);
    const Installed& have = it == belief_.frontends.end() ? nothing : it->second;
    Installed want = wanted ? arrange(have.slots, *wanted) : Installed();
    weight += 1 + append_frontend(table, key, difference(have, want), deletes, adds);
    const bool new_code = want.code && balances(*want.code) && !belief_.tables[table].codes.contains(*want.code);
    if (new_code) stage.codes.emplace_back(table, *want.code);
    count_users(stage.users, have.slots, -1);
    count_users(stage.users, want.slots, 1);
    stage.frontends.emplace_back(key, wanted ? std::optional(std::move(want)) : std::nullopt);
  }
  stage.last = edit == edits.end();
  std::sort(stage.codes.begin(), stage.codes.end());
  stage.codes.erase(std::unique(stage.codes.begin(), stage.codes.end()), stage.codes.end());
  for (const auto& [table, code] : stage.codes) add_code(stage.batch, tables_[table], code, mark_);
  stage_hairpin(stage, deletes, adds);
  append_writes<nft::DeleteElements>(stage.batch, tables_, deletes);
  append_writes<nft::AddElements>(stage.batch, tables_, adds);
  return stage;
}

// A table that is not as written is deleted and created in the same transaction: packets see the old one or the new.
void Engine::stage_tables(Stage& stage) const {
  for (const TableBelief& table : belief_.tables) {
    if (table.usable()) continue;
    if (table.exists) stage.batch.push_back(nft::DeleteTable{table.id});
    nft::Batch create = create_table(table.id, mark_);
    std::move(create.begin(), create.end(), std::back_inserter(stage.batch));
  }
}

void Engine::stage_hairpin(Stage& stage, Writes& deletes, Writes& adds) const {
  auto users_after = [&](const net::Ip& address, const Hairpin& now) {
    auto it = stage.users.find(address);
    return static_cast<std::int64_t>(now.users) + (it == stage.users.end() ? 0 : it->second);
  };
  auto compare = [&](const net::Ip& address, const Hairpin& now) {
    const bool wanted = users_after(address, now) > 0;
    if (wanted == now.installed) return;
    (wanted ? adds : deletes).in(table_of(address.family()), SetId::Hairpin).push_back(hairpin_element(address));
    stage.hairpin.emplace_back(address, wanted);
  };
  for (const auto& [address, ignored] : stage.users) {
    auto it = belief_.hairpin.find(address);
    compare(address, it == belief_.hairpin.end() ? Hairpin() : it->second);
  }
  if (!stage.last || !sweep_) return;
  for (const auto& [address, now] : belief_.hairpin) {
    if (!stage.users.contains(address)) compare(address, now);
  }
}

void Engine::settle(Stage&& stage) {
  for (TableBelief& table : belief_.tables) {
    table.exists = true;
    table.mismatch.clear();
  }
  belief_.strays.clear();
  for (const auto& [table, code] : stage.codes) belief_.tables[table].codes.insert(code);
  for (auto& [key, installed] : stage.frontends) {
    edits.erase(key);
    if (installed) {
      belief_.frontends[key] = std::move(*installed);
    } else {
      belief_.frontends.erase(key);
    }
  }
  for (const auto& [address, change] : stage.users) {
    Hairpin& hairpin = belief_.hairpin[address];
    hairpin.users = static_cast<std::uint32_t>(hairpin.users + change);
  }
  for (const auto& [address, installed] : stage.hairpin) belief_.hairpin[address].installed = installed;
  for (const auto& [address, change] : stage.users) {
    auto it = belief_.hairpin.find(address);
    if (it != belief_.hairpin.end() && it->second.users == 0 && !it->second.installed) belief_.hairpin.erase(it);
  }
  if (stage.last) sweep_ = false;
}

std::optional<FrontendKey> Engine::culprit(const nft::Batch& batch, const nft::Refusal& refusal) const {
  if (!refusal.command || !refusal.element) return std::nullopt;
  auto find = [&](const auto& command) -> std::optional<FrontendKey> {
    if (*refusal.element >= command.elements.size()) return std::nullopt;
    const nft::Element& element = command.elements[*refusal.element];
    const net::Family family = command.table.family;
    if (command.set == name_of(SetId::Services)) return parse_frontend(family, SetId::Services, element);
    if (command.set == name_of(SetId::NodePorts)) return parse_frontend(family, SetId::NodePorts, element);
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
  edits.clear();
  belief_ = {};
  trusted_ = false;
  return {};
}

}  // namespace fairlead::proxy::dataplane::nftables
