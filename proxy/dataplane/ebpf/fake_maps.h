// FakeMaps (tests only): the service maps in memory, with a reader like that of bpf/service.h, and a write that fails
// or at which the process "dies".
#pragma once

#include <cerrno>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "proxy/dataplane/ebpf/maps.h"
#include "proxy/dataplane/ebpf/plan.h"

namespace fairlead::proxy::dataplane::ebpf::testing {

// What outlives an agent.
struct FakeKernel {
  explicit FakeKernel(std::uint32_t capacity) : slots(capacity) {}
  std::map<bpf::frontend_key, bpf::frontend> frontends;
  std::vector<bpf::slot> slots;
  std::set<std::pair<bpf::frontend_key, net::Prefix>> sources;
};

// All a reader could be told to use through `extent`; nothing when the record and its slots do not fit together.
inline std::optional<Pool> read_pool(const FakeKernel& kernel, const bpf::extent& extent) {
  Pool pool;
  for (std::uint32_t i = extent.base; i < extent.base + extent.count + extent.kept; ++i) {
    if (i >= kernel.slots.size() || kernel.slots[i].generation != extent.generation) return std::nullopt;
    pool.push_back({kernel.slots[i].addr, kernel.slots[i].port, kernel.slots[i].flags});
  }
  if (count_new(pool) != extent.count) return std::nullopt;
  return pool;
}

struct Killed : std::runtime_error {
  Killed() : std::runtime_error("kill -9") {}
};

class FakeMaps final : public Maps {
 public:
  explicit FakeMaps(FakeKernel& kernel) : kernel_(kernel) {}

  std::optional<std::uint64_t> die_at;   // number of the write (from 1) that is not made any more
  std::optional<std::uint64_t> fail_at;  // number of the write that returns ENOMEM
  std::function<void()> after_write;
  std::function<void()> at_wait;
  std::uint64_t writes = 0;

  std::uint32_t slot_capacity() const override { return static_cast<std::uint32_t>(kernel_.slots.size()); }

  Result<std::vector<FrontendRow>> read_frontends() override {
    std::vector<FrontendRow> rows;
    for (const auto& [key, value] : kernel_.frontends) rows.push_back({key, value});
    return rows;
  }

  Result<std::vector<SourceRow>> read_sources() override {
    std::vector<SourceRow> rows;
    for (const auto& [frontend, source] : kernel_.sources) rows.push_back({frontend, source});
    return rows;
  }

  Status read_slots(const std::function<void(std::span<const bpf::slot>)>& visit) override {
    visit(kernel_.slots);
    return {};
  }

  Written write_slots(std::span<const std::uint32_t> indexes, std::span<const bpf::slot> slots) override {
    return each(indexes.size(), [&](std::size_t i) { kernel_.slots.at(indexes[i]) = slots[i]; });
  }

  Written write_frontends(std::span<const bpf::frontend> rows) override {
    return each(rows.size(), [&](std::size_t i) { kernel_.frontends[rows[i].key] = rows[i]; });
  }

  Written delete_frontends(std::span<const bpf::frontend_key> keys) override {
    return each(keys.size(), [&](std::size_t i) { kernel_.frontends.erase(keys[i]); });
  }

  Written write_sources(std::span<const SourceRow> rows) override {
    return each(rows.size(), [&](std::size_t i) { kernel_.sources.emplace(rows[i].frontend, rows[i].source); });
  }

  Written delete_sources(std::span<const SourceRow> rows) override {
    return each(rows.size(), [&](std::size_t i) { kernel_.sources.erase({rows[i].frontend, rows[i].source}); });
  }

  Status wait_for_readers() override {
    if (at_wait) at_wait();
    return {};
  }

 private:
  template <typename Write>
  Written each(std::size_t size, Write write) {
    for (std::size_t i = 0; i < size; ++i) {
      ++writes;
      if (die_at && writes >= *die_at) throw Killed();
      if (fail_at && writes == *fail_at) return {i, Error::from_errno("update", ENOMEM)};
      write(i);
      if (after_write) after_write();
    }
    return {size, std::nullopt};
  }

  FakeKernel& kernel_;
};

}  // namespace fairlead::proxy::dataplane::ebpf::testing
