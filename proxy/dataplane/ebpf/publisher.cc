#include "proxy/dataplane/ebpf/publisher.h"

#include <algorithm>
#include <iterator>

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

constexpr std::uint8_t kUdp = static_cast<std::uint8_t>(model::Protocol::Udp);

bool is_before(const Target& a, const Target& b) {
  if (!(a.addr == b.addr)) return a.addr < b.addr;
  return from_be16(a.port_be) < from_be16(b.port_be);
}

bool has_endpoint(const Pool& pool, const Target& target) {
  const auto kept = pool.begin() + count_new(pool);
  return std::binary_search(pool.begin(), kept, target, is_before) ||
         std::binary_search(kept, pool.end(), target, is_before);
}

bool is_empty(const bpf::extent& extent) { return extent == bpf::extent{}; }
std::uint32_t size_of(const bpf::extent& extent) { return extent.count + extent.kept; }

}  // namespace

Report Publisher::replace(const std::vector<model::ServiceState>& services) {
  Report report;
  for (const auto& [key, claims] : services_) note_udp(claims);
  services_.clear();
  contested_.clear();
  if (const Status adopted = adopt(); !adopted) {
    report.failures.push_back({{}, adopted.error().with_context("read the service maps")});
    return report;
  }
  std::set<bpf::frontend_key> dirty;
  for (const auto& [key, entry] : entries_) dirty.insert(dirty.end(), key);
  for (const auto& [key, ranges] : sources_) dirty.insert(key);
  for (const model::ServiceState& service : services) learn_service(service, dirty);
  publish(dirty, report);
  compare_udp(report);
  return report;
}

Report Publisher::apply(const model::Changes& changes) {
  Report report;
  std::set<bpf::frontend_key> dirty;
  for (const model::Key& key : changes.deleted) forget_service(key, dirty);
  for (const model::ServiceState& service : changes.upserted) learn_service(service, dirty);
  publish(dirty, report);
  compare_udp(report);
  return report;
}

// ------------------------------------------------------------------------------------------------ adoption

Status Publisher::adopt() {
  entries_.clear();
  extents_.clear();
  sources_.clear();
  free_ = Extents(maps_.slot_capacity());
  const std::vector<FrontendRow> rows = TRY(maps_.read_frontends());
  // Whoever wrote before us may have released an extent just now, with a reader still in it.
  if (!rows.empty()) TRY(maps_.wait_for_readers());
  for (const SourceRow& row : TRY(maps_.read_sources())) sources_[row.frontend].push_back(row.source);
  for (auto& [key, ranges] : sources_) std::sort(ranges.begin(), ranges.end());
  return maps_.read_slots([&](std::span<const bpf::slot> slots) {
    learn_generation(rows, slots);
    for (const FrontendRow& row : rows) adopt_row(row, slots);
  });
}

void Publisher::learn_generation(const std::vector<FrontendRow>& rows, std::span<const bpf::slot> slots) {
  if (next_generation_ != 0) return;
  std::uint32_t highest = 0;
  for (const FrontendRow& row : rows) {
    highest = std::max({highest, row.value.version, row.value.pool.generation, row.value.cluster.generation});
  }
  for (const bpf::slot& slot : slots) highest = std::max(highest, slot.generation);
  next_generation_ = highest + 1;
}

// A row that does not hold together is present and not intact: it is rewritten if wanted, else deleted.
void Publisher::adopt_row(const FrontendRow& row, std::span<const bpf::slot> slots) {
  const bpf::frontend& value = row.value;
  Entry& entry = entries_[row.key];
  entry = {.present = true, .row = value};
  if (!(value.key == row.key) || value.version != value.version_again) return;
  if (!adopt_extent(value.pool, slots)) return;
  if (!adopt_extent(value.cluster, slots)) {
    unreference(value.pool);
    return;
  }
  entry.intact = true;
}

// True when it holds together, and then it has one more reference.
bool Publisher::adopt_extent(const bpf::extent& extent, std::span<const bpf::slot> slots) {
  if (is_empty(extent)) return true;
  const std::uint32_t size = size_of(extent);
  if (size < extent.count || size == 0) return false;
  if (const auto known = extents_.find(extent.base); known != extents_.end()) {
    Extent& standing = known->second;
    const bool same = standing.generation == extent.generation && standing.pool->size() == size &&
                      count_new(*standing.pool) == extent.count;
    if (same) ++standing.references;
    return same;
  }
  if (extent.base >= slots.size() || size > slots.size() - extent.base) return false;
  auto pool = std::make_shared<Pool>();
  pool->reserve(size);
  for (const bpf::slot& slot : slots.subspan(extent.base, size)) {
    if (slot.generation != extent.generation) return false;
    pool->push_back({slot.addr, slot.port, slot.flags});
  }
  if (count_new(*pool) != extent.count || !free_.take(extent.base, size)) return false;
  extents_.emplace(extent.base, Extent{std::move(pool), extent.generation, 1});
  return true;
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

const Claim* Publisher::claim_of(const bpf::frontend_key& key) const {
  const auto entry = entries_.find(key);
  if (entry == entries_.end() || entry->second.owner == nullptr) return nullptr;
  const std::vector<Claim>& claims = services_.find(*entry->second.owner)->second;
  return &*std::lower_bound(claims.begin(), claims.end(), key,
                            [](const Claim& claim, const bpf::frontend_key& k) { return claim.key < k; });
}

void Publisher::forget_service(const model::Key& key, std::set<bpf::frontend_key>& dirty) {
  const auto service = services_.find(key);
  if (service == services_.end()) return;
  note_udp(service->second);
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
  if (contested == contested_.end() || is_address_key(key)) return;  // of a shared address, only ports are rivals
  const model::Key& owner = *contested->second.begin();
  for (const model::Key& other : contested->second) {
    if (other == owner) continue;
    report.failures.push_back(
        {other, Error(base::cat(to_string(key), ": already taken by service ", owner.to_string()))});
  }
}

// ------------------------------------------------------------------------------------------------ UDP

void Publisher::note_udp(const std::vector<Claim>& claims) {
  for (const Claim& claim : claims) {
    if (claim.key.proto == kUdp) udp_before_.try_emplace(claim.key, claim.pool);
  }
}

void Publisher::compare_udp(const Report& report) {
  if (!report.ok()) udp_loss_ = true;  // the kernel may still have what is not wanted any more: look again next time
  for (const auto& [key, before] : udp_before_) {
    if (udp_loss_) break;
    const Claim* now = claim_of(key);
    udp_loss_ = now == nullptr || !std::all_of(before->begin(), before->end(),
                                               [&](const Target& target) { return has_endpoint(*now->pool, target); });
  }
  udp_before_.clear();
}

bool Publisher::take_udp_loss() { return std::exchange(udp_loss_, false); }

bool Publisher::may_stay(bpf::frontend_key frontend, const bpf::addr16& endpoint, std::uint16_t port_be) const {
  const Claim* claim = claim_of(frontend);
  if (claim == nullptr) {
    frontend.addr = to_addr16(to_ip(frontend.addr).is_v4() ? net::Ip::v4(0, 0, 0, 0) : net::Ip());
    claim = claim_of(frontend);
  }
  return claim != nullptr && has_endpoint(*claim->pool, {endpoint, port_be, 0});
}

std::set<std::pair<bpf::addr16, std::uint16_t>> Publisher::udp_endpoints() const {
  std::set<std::pair<bpf::addr16, std::uint16_t>> out;
  for (const auto& [key, claims] : services_) {
    for (const Claim& claim : claims) {
      if (claim.key.proto != kUdp) continue;
      for (const Target& target : *claim.pool) out.emplace(target.addr, target.port_be);
    }
  }
  return out;
}

// ------------------------------------------------------------------------------------------------ publication

void Publisher::publish(const std::set<bpf::frontend_key>& dirty, Report& report) {
  std::vector<Entries::iterator> gone;
  std::vector<Entries::iterator> kept;
  std::vector<bpf::frontend_key> unrestricted;
  for (const bpf::frontend_key& key : dirty) {
    const auto entry = entries_.find(key);
    if (entry == entries_.end() || entry->second.owner == nullptr) unrestricted.push_back(key);
    if (entry == entries_.end()) continue;
    report_conflict(key, report);
    (entry->second.owner != nullptr ? kept : gone).push_back(entry);
  }
  retire(gone, report);
  for (const bpf::frontend_key& key : unrestricted) forget_sources(key, report);
  Batch batch;
  // Of one address the row with port zero comes last: until then nothing is refused that somebody else may serve.
  for (auto at = kept.rbegin(); at != kept.rend(); ++at) {
    place(*at, *claim_of(*(*at)->second.owner, (*at)->first), batch, report);
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
    if (entry.intact) unreference_row(entry.row);
    entries_.erase(present[i]);
  }
}

void Publisher::place(Entries::iterator entry, Claim& claim, Batch& batch, Report& report) {
  if (!write_sources(entry, claim, batch, report)) return;
  const Entry& have = entry->second;
  bpf::frontend row{.key = entry->first,
                    .version = have.row.version,
                    .pool = {},
                    .cluster = {},
                    .flags = claim.flags,
                    .affinity_seconds = claim.affinity_seconds,
                    .affinity = claim.affinity,
                    .version_again = have.row.version};
  if (!place_extent(entry, claim.pool, &bpf::frontend::pool, batch, row, report)) return;
  if (!place_extent(entry, claim.cluster, &bpf::frontend::cluster, batch, row, report)) {
    unreference(row.pool);
    return;
  }
  if (have.intact && have.row == row) {
    unreference_row(row);
    return;
  }
  row.version = row.version_again = next_number();
  batch.rows.push_back({entry, row});
}

// Where the endpoints of `pool` stand or will, with one more reference, as extent `which` of the row to come. `pool`
// becomes the object that all who use the extent share.
bool Publisher::place_extent(Entries::iterator entry, PoolPtr& pool, ExtentOf which, Batch& batch, bpf::frontend& row,
                             Report& report) {
  if (pool->empty()) {
    pool = empty_pool();
    return true;
  }
  std::optional<std::uint32_t> base = standing_extent(entry->second, pool, which);
  if (!base) base = shared_extent(entry, pool, batch);
  if (!base) base = new_extent(pool, batch, report);
  if (!base) {
    fail(entry, Error(base::cat("no room for ", pool->size(), " endpoints among ", free_.capacity(), " slots")),
         report);
    return false;
  }
  Extent& extent = extents_.find(*base)->second;
  ++extent.references;
  pool = extent.pool;
  const std::uint32_t count = count_new(*pool);
  row.*which = {.base = *base,
                .count = count,
                .kept = static_cast<std::uint32_t>(pool->size()) - count,
                .generation = extent.generation};
  return true;
}

// The row's own extent first: its two may be alike, and then each stays what it is.
std::optional<std::uint32_t> Publisher::standing_extent(const Entry& entry, const PoolPtr& pool, ExtentOf which) const {
  if (!entry.intact) return std::nullopt;
  for (const ExtentOf each : {which, &bpf::frontend::pool, &bpf::frontend::cluster}) {
    const bpf::extent& extent = entry.row.*each;
    if (!is_empty(extent) && same_pool(extents_.find(extent.base)->second.pool, pool)) return extent.base;
  }
  return std::nullopt;
}

// An extent with these endpoints that stands already for another frontend of the same service.
std::optional<std::uint32_t> Publisher::shared_extent(Entries::const_iterator entry, const PoolPtr& pool,
                                                      const Batch& batch) {
  if (const auto fresh = batch.fresh.find(pool.get()); fresh != batch.fresh.end()) return fresh->second;
  for (const Claim& sibling : services_.find(*entry->second.owner)->second) {
    if (sibling.key == entry->first || (!same_pool(sibling.pool, pool) && !same_pool(sibling.cluster, pool))) continue;
    const auto other = entries_.find(sibling.key);
    if (other == entries_.end()) continue;
    if (const auto base = standing_extent(other->second, pool, &bpf::frontend::pool)) return base;
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
  const std::uint32_t generation = next_number();
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
      unreference_row(row);
      continue;
    }
    if (entry.intact) unreference_row(entry.row);
    entry.present = entry.intact = true;
    entry.row = row;
  }
  // A row that could not be written goes on with the sources it had.
  if (!written.error) delete_sources(batch.stale_sources, report);
  batch.stale_sources.clear();
  batch.slot_indexes.clear();
  batch.slots.clear();
  batch.rows.clear();
  batch.fresh.clear();
}

// Generations of extents and versions of rows are drawn from one series.
std::uint32_t Publisher::next_number() {
  const std::uint32_t number = next_generation_;
  if (++next_generation_ == 0) next_generation_ = 1;
  return number;
}

void Publisher::unreference(const bpf::extent& extent) {
  if (is_empty(extent)) return;
  const auto standing = extents_.find(extent.base);
  if (--standing->second.references > 0) return;
  free_.release(extent.base, size_of(extent));
  extents_.erase(standing);
}

void Publisher::unreference_row(const bpf::frontend& row) {
  unreference(row.pool);
  unreference(row.cluster);
}

// ------------------------------------------------------------------------------------------------ sources

// Those to come are written before the row that asks for them; those to go wait until it is. False: the row must wait.
bool Publisher::write_sources(Entries::iterator entry, const Claim& claim, Batch& batch, Report& report) {
  static const Sources none;
  const Sources& want = claim.sources ? *claim.sources : none;
  const auto standing = sources_.find(claim.key);
  const Sources& have = standing != sources_.end() ? standing->second : none;
  if (have == want) return true;
  Sources missing;
  Sources stale;
  std::set_difference(want.begin(), want.end(), have.begin(), have.end(), std::back_inserter(missing));
  std::set_difference(have.begin(), have.end(), want.begin(), want.end(), std::back_inserter(stale));
  std::vector<SourceRow> rows;
  for (const net::Prefix& source : missing) rows.push_back({claim.key, source});
  const Written written = maps_.write_sources(rows);
  report.kernel_writes += written.count + (written.error ? 1 : 0);
  Sources& now = sources_[claim.key];
  now.insert(now.end(), missing.begin(), missing.begin() + static_cast<std::ptrdiff_t>(written.count));
  std::sort(now.begin(), now.end());
  if (written.error) {
    fail(entry, written.error->with_context("write sources"), report);
    return false;
  }
  for (const net::Prefix& source : stale) batch.stale_sources.push_back({claim.key, source});
  return true;
}

void Publisher::forget_sources(const bpf::frontend_key& key, Report& report) {
  const auto standing = sources_.find(key);
  if (standing == sources_.end() || entries_.count(key) > 0) return;  // its row could not be deleted
  std::vector<SourceRow> rows;
  for (const net::Prefix& source : standing->second) rows.push_back({key, source});
  delete_sources(rows, report);
}

void Publisher::delete_sources(const std::vector<SourceRow>& rows, Report& report) {
  if (rows.empty()) return;
  const Written written = maps_.delete_sources(rows);
  report.kernel_writes += written.count + (written.error ? 1 : 0);
  if (written.error) report.failures.push_back({{}, written.error->with_context("delete"), "map sources"});
  for (std::size_t i = 0; i < written.count; ++i) {
    const auto standing = sources_.find(rows[i].frontend);
    Sources& left = standing->second;
    left.erase(std::find(left.begin(), left.end(), rows[i].source));
    if (left.empty()) sources_.erase(standing);
  }
}

void Publisher::fail(const Entries::iterator& entry, const Error& error, Report& report) const {
  report.failures.push_back({*entry->second.owner, error.with_context(to_string(entry->first))});
}

}  // namespace fairlead::proxy::dataplane::ebpf
