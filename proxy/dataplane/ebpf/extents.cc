#include "proxy/dataplane/ebpf/extents.h"

#include <iterator>

namespace fairlead::proxy::dataplane::ebpf {

Extents::Extents(std::uint32_t capacity) : capacity_(capacity) {
  if (capacity > 0) add_free(0, capacity);
}

bool Extents::take(std::uint32_t base, std::uint32_t count) {
  auto run = free_.upper_bound(base);
  if (count == 0 || run == free_.begin()) return false;
  --run;
  const auto [run_base, run_count] = *run;
  const std::uint32_t before = base - run_base;
  if (before > run_count || count > run_count - before) return false;
  remove_free(run);
  if (before > 0) add_free(run_base, before);
  if (const std::uint32_t after = run_count - before - count; after > 0) add_free(base + count, after);
  return true;
}

std::optional<std::uint32_t> Extents::allocate(std::uint32_t count) {
  const auto fit = by_size_.lower_bound({count, 0});
  if (fit == by_size_.end()) return std::nullopt;
  const auto [run_count, base] = *fit;
  remove_free(free_.find(base));
  if (run_count > count) add_free(base + count, run_count - count);
  return base;
}

void Extents::release(std::uint32_t base, std::uint32_t count) {
  waiting_.emplace_back(base, count);
  waiting_slots_ += count;
}

void Extents::settle() {
  for (auto [base, count] : waiting_) {
    const auto next = free_.lower_bound(base);
    if (next != free_.end() && next->first == base + count) {
      count += next->second;
      remove_free(next);
    }
    auto previous = free_.lower_bound(base);
    if (previous != free_.begin() && std::prev(previous)->first + std::prev(previous)->second == base) {
      --previous;
      base = previous->first;
      count += previous->second;
      remove_free(previous);
    }
    add_free(base, count);
  }
  waiting_ = {};
  waiting_slots_ = 0;
}

void Extents::add_free(std::uint32_t base, std::uint32_t count) {
  free_.emplace(base, count);
  by_size_.emplace(count, base);
}

void Extents::remove_free(std::map<std::uint32_t, std::uint32_t>::iterator run) {
  by_size_.erase({run->second, run->first});
  free_.erase(run);
}

}  // namespace fairlead::proxy::dataplane::ebpf
