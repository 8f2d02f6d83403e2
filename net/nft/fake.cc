#include "net/nft/fake.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace fairlead::net::nft {
namespace {

using Tables = std::map<TableId, FakeTable>;

struct Fault {
  int code = 0;
  std::optional<std::size_t> element = {};
};

// Elements are ordered by key first, so the first one not below {key, no data} is the one with this key.
std::set<Element>::const_iterator find_element(const std::set<Element>& elements, const Element& wanted) {
  Element low = wanted;
  low.data = {};
  low.data_size = 0;
  auto it = elements.lower_bound(low);
  return it != elements.end() && it->key == wanted.key ? it : elements.end();
}

// Notes how to undo each step: a refused transaction leaves nothing, and a commit does not cost the whole table.
class Transaction {
 public:
  Transaction(Tables& tables, const FakeNamespace& ns) : tables_(tables), ns_(ns) {}

  Fault run(const Command& command) {
    return std::visit([this](const auto& c) { return apply(c); }, command);
  }
  void roll_back() {
    for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) (*it)(tables_);
  }

 private:
  using Undo = std::function<void(Tables&)>;

  Fault apply(const AddTable& c) {
    if (tables_.contains(c.table)) return {};
    tables_[c.table].objects.comment = c.comment;
    undo_.push_back([id = c.table](Tables& t) { t.erase(id); });
    return {};
  }
  Fault apply(const DeleteTable& c) {
    auto it = tables_.find(c.table);
    if (it == tables_.end()) return {ENOENT};
    auto kept = std::make_shared<FakeTable>(std::move(it->second));
    tables_.erase(it);
    undo_.push_back([id = c.table, kept](Tables& t) { t[id] = std::move(*kept); });
    return {};
  }
  Fault apply(const AddChain& c) {
    FakeTable* table = find(c.table);
    if (table == nullptr) return {ENOENT};
    for (const Chain& chain : table->objects.chains) {
      if (chain.name == c.chain.name) return {chain == c.chain ? 0 : EEXIST};
    }
    table->objects.chains.push_back(c.chain);
    undo_.push_back([id = c.table](Tables& t) { t[id].objects.chains.pop_back(); });
    return {};
  }
  Fault apply(const AddRule& c) {
    FakeTable* table = find(c.table);
    if (table == nullptr || !has_chain(*table, c.rule.chain)) return {ENOENT};
    for (const Expr& e : c.rule.exprs) {
      const auto* lookup = std::get_if<expr::Lookup>(&e);
      const auto* remember = std::get_if<expr::Remember>(&e);
      const auto* verdict = std::get_if<expr::Verdict>(&e);
      if (lookup != nullptr && find_set(*table, lookup->set) == nullptr) return {ENOENT};
      if (remember != nullptr && find_set(*table, remember->set) == nullptr) return {ENOENT};
      if (verdict != nullptr && !verdict->chain.empty() && !has_chain(*table, verdict->chain)) return {ENOENT};
    }
    auto& rules = table->objects.rules;
    const auto at = c.first ? std::find_if(rules.begin(), rules.end(),
                                           [&](const DumpedRule& rule) { return rule.chain == c.rule.chain; })
                            : rules.end();
    undo_.push_back([id = c.table, rules](Tables& t) { t[id].objects.rules = rules; });
    rules.insert(at, {c.rule.chain, c.rule.comment});
    return {};
  }
  Fault apply(const FlushChain& c) {
    FakeTable* table = find(c.table);
    if (table == nullptr || !has_chain(*table, c.chain)) return {ENOENT};
    auto& rules = table->objects.rules;
    undo_.push_back([id = c.table, rules](Tables& t) { t[id].objects.rules = rules; });
    std::erase_if(rules, [&](const DumpedRule& rule) { return rule.chain == c.chain; });
    return {};
  }
  Fault apply(const AddSet& c) {
    FakeTable* table = find(c.table);
    if (table == nullptr) return {ENOENT};
    if (const Set* set = find_set(*table, c.set.name)) return {*set == c.set ? 0 : EEXIST};
    table->objects.sets.push_back(c.set);
    undo_.push_back([id = c.table](Tables& t) { t[id].objects.sets.pop_back(); });
    return {};
  }
  Fault apply(const AddElements& c) {
    FakeTable* table = find(c.table);
    const Set* set = table == nullptr ? nullptr : find_set(*table, c.set);
    if (set == nullptr) return {ENOENT};
    auto& elements = table->elements[c.set];
    for (std::size_t i = 0; i < c.elements.size(); ++i) {
      const Element& e = c.elements[i];
      if (e.key_size != size_of(set->key) || e.data_size != size_of(set->data)) return {EINVAL, i};
      if (ns_.refuse_element_of == c.set && e.key_view().find(ns_.refuse_bytes) != std::string_view::npos) {
        return {ENOSPC, i};
      }
      auto it = find_element(elements, e);
      if (it != elements.end() && *it != e) return {EEXIST, i};
      if (it != elements.end()) continue;
      elements.insert(e);
      undo_.push_back([id = c.table, name = c.set, e](Tables& t) { t[id].elements[name].erase(e); });
    }
    return {};
  }
  Fault apply(const AddVerdicts& c) {
    FakeTable* table = find(c.table);
    if (table == nullptr || find_set(*table, c.set) == nullptr) return {ENOENT};
    for (const VerdictElement& e : c.elements) {
      if (!e.go_to.empty() && !has_chain(*table, e.go_to)) return {ENOENT};
      auto [it, added] = table->verdicts[c.set].emplace(e.key, e);
      if (!added && it->second != e) return {EEXIST};
      if (!added) continue;
      undo_.push_back([id = c.table, name = c.set, key = e.key](Tables& t) { t[id].verdicts[name].erase(key); });
    }
    return {};
  }
  Fault apply(const DeleteElements& c) {
    FakeTable* table = find(c.table);
    if (table == nullptr || find_set(*table, c.set) == nullptr) return {ENOENT};
    for (std::size_t i = 0; i < c.elements.size(); ++i) {
      auto& elements = table->elements[c.set];
      auto it = find_element(elements, c.elements[i]);
      if (it == elements.end()) return {ENOENT, i};
      undo_.push_back([id = c.table, name = c.set, e = *it](Tables& t) { t[id].elements[name].insert(e); });
      elements.erase(it);
    }
    return {};
  }

  FakeTable* find(const TableId& id) {
    auto it = tables_.find(id);
    return it == tables_.end() ? nullptr : &it->second;
  }
  static bool has_chain(const FakeTable& table, const std::string& name) {
    return std::any_of(table.objects.chains.begin(), table.objects.chains.end(),
                       [&](const Chain& chain) { return chain.name == name; });
  }
  static const Set* find_set(const FakeTable& table, const std::string& name) {
    for (const Set& set : table.objects.sets) {
      if (set.name == name) return &set;
    }
    return nullptr;
  }
  Tables& tables_;
  const FakeNamespace& ns_;
  std::vector<Undo> undo_;
};

}  // namespace

void FakeNamespace::flush_ruleset() {
  for (const auto& [id, table] : tables) unread.tables.insert(id);
  tables.clear();
}

std::optional<Refusal> FakeKernel::check(const Batch& batch) {
  Transaction transaction(ns_->tables, *ns_);
  std::optional<Refusal> refusal;
  for (std::size_t i = 0; i < batch.size() && !refusal; ++i) {
    const Fault fault = transaction.run(batch[i]);
    if (fault.code != 0) refusal = Refusal{Error::from_errno(describe(batch[i]), fault.code), i, fault.element};
  }
  transaction.roll_back();
  return refusal;
}

std::optional<Refusal> FakeKernel::commit(const Batch& batch) {
  if (batch.empty()) return std::nullopt;
  if (ns_->die_after == 0U) return Refusal{Error::from_errno("killed", EPIPE), {}, {}};
  Transaction transaction(ns_->tables, *ns_);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Fault fault = transaction.run(batch[i]);
    if (ns_->fail_command && (*ns_->fail_command)-- == 0) {
      ns_->fail_command = std::exchange(ns_->fail_again, std::nullopt);
      fault = {ns_->fail_errno};
    }
    if (fault.code == 0) continue;
    transaction.roll_back();
    return Refusal{Error::from_errno(describe(batch[i]), fault.code), i, fault.element};
  }
  ++ns_->commits;
  ns_->writes += count_writes(batch);
  if (ns_->die_after) --*ns_->die_after;
  return std::nullopt;
}

Result<std::optional<TableDump>> FakeKernel::dump(const TableId& table) {
  if (ns_->fail_dumps > 0) {
    --ns_->fail_dumps;
    return Error::from_errno("nftables", EIO);
  }
  auto it = ns_->tables.find(table);
  if (it == ns_->tables.end()) return std::optional<TableDump>();
  return std::optional(it->second.objects);
}

Status FakeKernel::dump_elements(const TableId& table, const std::string& set,
                                 const std::function<void(const Element&)>& each) {
  auto it = ns_->tables.find(table);
  if (it == ns_->tables.end()) return Error::from_errno("nftables", ENOENT);
  for (const Element& element : it->second.elements[set]) each(element);
  return {};
}

Status FakeKernel::find_elements(const TableId& table, const std::string& set, const std::vector<Element>& keys,
                                 const std::function<void(const Element&)>& each) {
  auto it = ns_->tables.find(table);
  if (it == ns_->tables.end()) return Error::from_errno("nftables", ENOENT);
  const auto& elements = it->second.elements[set];
  for (const Element& key : keys) {
    auto found = find_element(elements, key);
    if (found == elements.end()) return Error::from_errno("nftables", ENOENT);
    each(*found);
  }
  return {};
}

Status FakeKernel::dump_verdicts(const TableId& table, const std::string& set,
                                 const std::function<void(const VerdictElement&)>& each) {
  auto it = ns_->tables.find(table);
  if (it == ns_->tables.end()) return Error::from_errno("nftables", ENOENT);
  for (const auto& [key, element] : it->second.verdicts[set]) each(element);
  return {};
}

ForeignChanges FakeKernel::read_notifications() { return std::exchange(ns_->unread, {}); }

}  // namespace fairlead::net::nft
