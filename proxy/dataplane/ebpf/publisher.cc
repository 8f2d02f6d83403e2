#include "proxy/dataplane/ebpf/publisher.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

// Slots written per call: bounds the copy in memory, and is long enough to make the call itself cheap.
constexpr std::size_t kSlotsPerWrite = 4096;

const PoolPtr& empty_pool() {
  static const PoolPtr pool = std::make_shared<const Pool>();
  return pool;
}

bool same_pool(const PoolPtr& a, const PoolPtr& b) { return a == b || *a == *b; }

}  // namespace

Report Publisher::replace(const std::vector<model::ServiceState>& services) {
  Report report;
  services_.clear();
  contested_.clear();
  if (const Status adopted = adopt(); !adopted) {
    report.failures.push_back({{}, adopted.error().with_context("read the service maps")});
    return report;
  }
  std::set<bpf::frontend_key> dirty;
  for (const auto& [key, entry] : entries_) dirty.insert(dirty.end(), key);
  for (const model::ServiceState& service : services) learn_service(service, dirty);
  publish(dirty, report);
  return report;
}

Report Publisher::apply(const model::Changes& changes) {
  Report report;
  std::set<bpf::frontend_key> dirty;
  for (const model::Key& key : changes.deleted) forget_service(key, dirty);
  for (const model::ServiceState& service : changes.upserted) learn_service(service, dirty);
  publish(dirty, report);
  return report;
}

// ------------------------------------------------------------------------------------------------ adoption

Status Publisher::adopt() {
  entries_.clear();
  extents_.clear();
  free_ = Extents(maps_.slot_capacity());
  const std::vector<FrontendRow> rows = TRY(maps_.read_frontends());
  // Whoever wrote before us may have released an extent just now, with a reader still in it.
  if (!rows.empty()) TRY(maps_.wait_for_readers());
  return maps_.read_slots([&](std::span<const bpf::slot> slots) {
    learn_generation(rows, slots);
    for (const FrontendRow& row : rows) adopt_row(row, slots);
  });
}

void Publisher::learn_generation(const std::vector<FrontendRow>& rows, std::span<const bpf::slot> slots) {
  if (next_generation_ != 0) return;
  std::uint32_t highest = 0;
  for (const FrontendRow& row : rows) highest = std::max(highest, row.value.generation);
  for (const bpf::slot& slot : slots) highest = std::max(highest, slot.generation);
  next_generation_ = highest + 1;
}

// A row that does not hold together is present and not intact: it is rewritten if wanted, else deleted.
void Publisher::adopt_row(const FrontendRow& row, std::span<const bpf::slot> slots) {
  const bpf::frontend& value = row.value;
  Entry& entry = entries_[row.key];
  entry = {
      .present = true, .base = value.base, .count = value.count, .generation = value.generation, .flags = value.flags};
  if (!(value.key == row.key)) return;
  if (value.count == 0) {
    entry.intact = value.base == 0 && value.generation == 0;
    return;
  }
  if (const auto known = extents_.find(value.base); known != extents_.end()) {
    entry.intact = known->second.generation == value.generation && known->second.pool->size() == value.count;
    if (entry.intact) ++known->second.references;
    return;
  }
  if (value.base >= slots.size() || value.count > slots.size() - value.base) return;
  auto pool = std::make_shared<Pool>();
  pool->reserve(value.count);
  for (const bpf::slot& slot : slots.subspan(value.base, value.count)) {
    if (slot.generation != value.generation) return;
    pool->push_back({slot.addr, slot.port, slot.flags});
  }
  if (!free_.take(value.base, value.count)) return;
  entry.intact = true;
  extents_.emplace(value.base, Extent{std::move(pool), value.generation, 1});
}

// ------------------------------------------------------------------------------------------------ claims

Claim* Publisher::claim_of(const model::Key& service, const bpf::frontend_key& key) {
  const auto found = services_.find(service);
  if (found == services_.end()) return nullptr;
  std::vector<Claim>& claims = found->second;
  const auto at = std::lower_bound(claims.begin(), claims.end(), key,
                                   [](const Claim& claim, const bpf::frontend_key& k) { return claim.key < k; });
  return at != claims.end() && at->key == key ? &*at : nullptr;
}

void Publisher::forget_service(const model::Key& key, std::set<bpf::frontend_key>& dirty) {
  const auto service = services_.find(key);
  if (service == services_.end()) return;
  for (const Claim& claim : service->second) {
    dirty.insert(claim.key);
    Entry& entry = entries_[claim.key];
    const bool owned = entry.owner == &service->first;
    if (owned) entry.owner = nullptr;
    const auto contested = contested_.find(claim.key);
    if (contested == contested_.end()) continue;
    contested->second.erase(key);
    if (owned) entry.owner = &services_.find(*contested->second.begin())->first;
    if (contested->second.size() == 1) contested_.erase(contested);
  }
  services_.erase(service);
}

void Publisher::learn_service(const model::ServiceState& service, std::set<bpf::frontend_key>& dirty) {
  forget_service(service.key, dirty);
  const auto at = services_.emplace(service.key, plan(service)).first;
  for (const Claim& claim : at->second) {
    dirty.insert(claim.key);
    Entry& entry = entries_[claim.key];
    if (entry.owner != nullptr && entry.owner != &at->first) {
      std::set<model::Key>& claimants = contested_[claim.key];
      claimants.insert(*entry.owner);
      claimants.insert(at->first);
      if (*entry.owner < at->first) continue;
    }
    entry.owner = &at->first;
  }
}

void Publisher::report_conflict(const bpf::frontend_key& key, Report& report) const {
  const auto contested = contested_.find(key);
  if (contested == contested_.end()) return;
  const model::Key& owner = *contested->second.begin();
  for (const model::Key& other : contested->second) {
    if (other == owner) continue;
    report.failures.push_back(
        {other, Error(base::cat(to_string(key), ": already taken by service ", owner.to_string()))});
  }
}

// ------------------------------------------------------------------------------------------------ publication

void Publisher::publish(const std::set<bpf::frontend_key>& dirty, Report& report) {
  std::vector<Entries::iterator> gone;
  std::vector<Entries::iterator> kept;
  for (const bpf::frontend_key& key : dirty) {
    const auto entry = entries_.find(key);
    if (entry == entries_.end()) continue;
    report_conflict(key, report);
    (entry->second.owner != nullptr ? kept : gone).push_back(entry);
  }
  retire(gone, report);
  Batch batch;
  for (const Entries::iterator& entry : kept) {
    place(entry, *claim_of(*entry->second.owner, entry->first), batch, report);
    if (batch.slots.size() >= kSlotsPerWrite || batch.rows.size() >= kSlotsPerWrite) flush(batch, report);
  }
  flush(batch, report);
}

void Publisher::retire(const std::vector<Entries::iterator>& rows, Report& report) {
  std::vector<Entries::iterator> present;
  std::vector<bpf::frontend_key> keys;
  for (const Entries::iterator& row : rows) {
    if (!row->second.present) {
      entries_.erase(row);
      continue;
    }
    present.push_back(row);
    keys.push_back(row->first);
  }
  if (keys.empty()) return;
  const Written written = maps_.delete_frontends(keys);
  report.kernel_writes += written.count + (written.error ? 1 : 0);
  for (std::size_t i = 0; i < present.size(); ++i) {
    const Entry& entry = present[i]->second;
    if (i >= written.count) {
      report.failures.push_back({{}, written.error->with_context("delete"), to_string(present[i]->first)});
      continue;
    }
    if (entry.intact && entry.count > 0) unreference(entry.base);
    entries_.erase(present[i]);
  }
}

void Publisher::place(Entries::iterator entry, Claim& claim, Batch& batch, Report& report) {
  const Entry& have = entry->second;
  const bool same_endpoints =
      have.intact &&
      (have.count == 0 ? claim.pool->empty() : same_pool(extents_.find(have.base)->second.pool, claim.pool));
  if (same_endpoints) claim.pool = have.count == 0 ? empty_pool() : extents_.find(have.base)->second.pool;
  if (same_endpoints && have.flags == claim.flags) return;

  bpf::frontend row{.key = entry->first, .base = 0, .count = 0, .generation = 0, .flags = claim.flags};
  if (!claim.pool->empty()) {
    std::optional<std::uint32_t> base;
    if (same_endpoints) base = have.base;
    if (!base) base = shared_extent(claim, *have.owner, batch);
    if (!base) base = new_extent(claim.pool, batch, report);
    if (!base) {
      fail(entry, Error(base::cat("no room for ", claim.pool->size(), " endpoints among ", free_.capacity(), " slots")),
           report);
      return;
    }
    Extent& extent = extents_.find(*base)->second;
    ++extent.references;  // of the row to come
    claim.pool = extent.pool;
    row.base = *base;
    row.count = static_cast<std::uint32_t>(extent.pool->size());
    row.generation = extent.generation;
  }
  batch.rows.push_back({entry, row});
}

// An extent with these endpoints that stands already for another frontend of the same service.
std::optional<std::uint32_t> Publisher::shared_extent(const Claim& claim, const model::Key& owner, const Batch& batch) {
  if (const auto fresh = batch.fresh.find(claim.pool.get()); fresh != batch.fresh.end()) return fresh->second;
  for (const Claim& sibling : services_.find(owner)->second) {
    if (sibling.key == claim.key || !same_pool(sibling.pool, claim.pool)) continue;
    const auto entry = entries_.find(sibling.key);
    if (entry == entries_.end() || !entry->second.intact || entry->second.count == 0) continue;
    const auto extent = extents_.find(entry->second.base);
    if (same_pool(extent->second.pool, claim.pool)) return extent->first;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Publisher::new_extent(const PoolPtr& pool, Batch& batch, Report& report) {
  const auto count = static_cast<std::uint32_t>(pool->size());
  std::optional<std::uint32_t> base = free_.allocate(count);
  if (!base) {
    flush(batch, report);  // gives up what the rows so far replace
    if (free_.waiting() > 0 && maps_.wait_for_readers()) free_.settle();
    base = free_.allocate(count);
  }
  if (!base) return std::nullopt;
  const std::uint32_t generation = next_generation_;
  if (++next_generation_ == 0) next_generation_ = 1;
  for (std::uint32_t i = 0; i < count; ++i) {
    const Target& target = (*pool)[i];
    batch.slot_indexes.push_back(*base + i);
    batch.slots.push_back({target.addr, target.port_be, target.flags, generation});
  }
  extents_.emplace(*base, Extent{pool, generation, 0});
  batch.fresh.emplace(pool.get(), *base);
  return base;
}

// Slots first, then the rows that name them, then what the rows named before is given up.
void Publisher::flush(Batch& batch, Report& report) {
  std::optional<Error> no_slots;
  if (!batch.slots.empty()) {
    Written written = maps_.write_slots(batch.slot_indexes, batch.slots);
    report.kernel_writes += written.count + (written.error ? 1 : 0);
    no_slots = std::move(written.error);
  }
  std::vector<bpf::frontend> rows;
  rows.reserve(batch.rows.size());
  for (const Pending& pending : batch.rows) rows.push_back(pending.row);
  Written written;
  if (no_slots) {
    written.error = no_slots->with_context("write endpoints");
  } else if (!rows.empty()) {
    written = maps_.write_frontends(rows);
    report.kernel_writes += written.count + (written.error ? 1 : 0);
  }
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    const bpf::frontend& row = batch.rows[i].row;
    Entry& entry = batch.rows[i].entry->second;
    if (i >= written.count) {
      fail(batch.rows[i].entry, *written.error, report);
      if (row.count > 0) unreference(row.base);
      continue;
    }
    if (entry.intact && entry.count > 0) unreference(entry.base);
    entry.present = entry.intact = true;
    entry.base = row.base;
    entry.count = row.count;
    entry.generation = row.generation;
    entry.flags = row.flags;
  }
  batch.slot_indexes.clear();
  batch.slots.clear();
  batch.rows.clear();
  batch.fresh.clear();
}

void Publisher::unreference(std::uint32_t base) {
  const auto extent = extents_.find(base);
  if (--extent->second.references > 0) return;
  free_.release(base, static_cast<std::uint32_t>(extent->second.pool->size()));
  extents_.erase(extent);
}

void Publisher::fail(const Entries::iterator& entry, const Error& error, Report& report) const {
  report.failures.push_back({*entry->second.owner, error.with_context(to_string(entry->first))});
}

}  // namespace fairlead::proxy::dataplane::ebpf
