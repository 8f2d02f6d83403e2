// Publisher: keeps "frontends" and "slots" equal to the services, one atomic switch per frontend.
//
// A frontend with endpoints names an extent of slots that is never edited: a change writes a new extent, then replaces
// the row (the switch), then gives the old extent up. Frontends of one port share an extent. Whoever reads the maps at
// any point meets the old set of endpoints or the new one, whole; a stop at any point leaves at worst an extent nobody
// names, which the next start finds free. A row that only some sources may use is written after them, and the row of a
// ClusterIP as such after those of its ports; they go the other way round.
//
// Belief mirrors the kernel; replace() rebuilds it from there. One thread. Memory: one Pool per extent, some 600 bytes
// per service besides. Cost of apply(): the claims of the services in it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/ebpf/extents.h"
#include "proxy/dataplane/ebpf/maps.h"
#include "proxy/dataplane/ebpf/plan.h"

namespace fairlead::proxy::dataplane::ebpf {

class Publisher {
 public:
  explicit Publisher(Maps& maps) : maps_(maps) {}

  Report replace(const std::vector<model::ServiceState>& services);
  Report apply(const model::Changes& changes);

  // Whether an endpoint was taken from a frontend of UDP since the last call; true as well when that is not known.
  bool take_udp_loss();
  // Whether an established UDP flow through `frontend` (an address of the node counts as its NodePort) may stay with
  // that endpoint.
  bool may_stay(bpf::frontend_key frontend, const bpf::addr16& endpoint, std::uint16_t port_be) const;
  // Whether any frontend of UDP has that endpoint.
  std::set<std::pair<bpf::addr16, std::uint16_t>> udp_endpoints() const;

 private:
  // One frontend: what the kernel has (believed), and who may have it.
  struct Entry {
    bool present = false;  // there is a row in the kernel
    bool intact = false;   // and its extents are what it claims them to be
    bpf::frontend row{};
    const model::Key* owner = nullptr;  // key of services_; the smallest of those who claim it
  };
  struct Extent {
    PoolPtr pool;
    std::uint32_t generation = 0;
    std::uint32_t references = 0;
  };
  using ExtentOf = bpf::extent bpf::frontend::*;
  using Entries = std::map<bpf::frontend_key, Entry>;
  using Services = std::map<model::Key, std::vector<Claim>>;
  // A row to be written, once the slots it names are.
  struct Pending {
    Entries::iterator entry;
    bpf::frontend row;
  };
  struct Batch {
    std::vector<std::uint32_t> slot_indexes;
    std::vector<bpf::slot> slots;
    std::vector<Pending> rows;
    std::vector<SourceRow> stale_sources;        // to be deleted once the rows are written
    std::map<const Pool*, std::uint32_t> fresh;  // pools published in this call -> base of their extent
  };

  Status adopt();
  void adopt_row(const FrontendRow& row, std::span<const bpf::slot> slots);
  bool adopt_extent(const bpf::extent& extent, std::span<const bpf::slot> slots);
  void learn_generation(const std::vector<FrontendRow>& rows, std::span<const bpf::slot> slots);

  // Claims: who owns which frontend. Each touched key is put into `dirty`.
  void forget_service(const model::Key& key, std::set<bpf::frontend_key>& dirty);
  void learn_service(const model::ServiceState& service, std::set<bpf::frontend_key>& dirty);
  void report_conflict(const bpf::frontend_key& key, Report& report) const;
  Claim* claim_of(const model::Key& service, const bpf::frontend_key& key);
  const Claim* claim_of(const bpf::frontend_key& key) const;
  void note_udp(const std::vector<Claim>& claims);
  void compare_udp(const Report& report);

  void publish(const std::set<bpf::frontend_key>& dirty, Report& report);
  void retire(const std::vector<Entries::iterator>& rows, Report& report);
  void place(Entries::iterator entry, Claim& claim, Batch& batch, Report& report);
  bool place_extent(Entries::iterator entry, PoolPtr& pool, ExtentOf which, Batch& batch, bpf::frontend& row,
                    Report& report);
  std::optional<std::uint32_t> standing_extent(const Entry& entry, const PoolPtr& pool, ExtentOf which) const;
  std::optional<std::uint32_t> shared_extent(Entries::const_iterator entry, const PoolPtr& pool, const Batch& batch);
  std::optional<std::uint32_t> new_extent(const PoolPtr& pool, Batch& batch, Report& report);
  bool write_sources(Entries::iterator entry, const Claim& claim, Batch& batch, Report& report);
  void forget_sources(const bpf::frontend_key& key, Report& report);
  void delete_sources(const std::vector<SourceRow>& rows, Report& report);
  void flush(Batch& batch, Report& report);
  std::uint32_t next_number();
  void unreference(const bpf::extent& extent);
  void unreference_row(const bpf::frontend& row);
  void fail(const Entries::iterator& entry, const Error& error, Report& report) const;

  Maps& maps_;
  Extents free_;
  Entries entries_;
  std::map<std::uint32_t, Extent> extents_;                      // by base
  Services services_;                                            // desired
  std::map<bpf::frontend_key, std::set<model::Key>> contested_;  // frontends more than one service claims
  std::map<bpf::frontend_key, Sources> sources_;                 // in the kernel (believed)
  std::map<bpf::frontend_key, PoolPtr> udp_before_;              // what this call takes UDP frontends from
  bool udp_loss_ = true;
  std::uint32_t next_generation_ = 0;  // 0: not learned yet
};

}  // namespace fairlead::proxy::dataplane::ebpf
