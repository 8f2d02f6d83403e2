// Extents: which runs of the "slots" array are in use. Best fit, neighbours coalesce, O(log n). Pure.
//
// What is released is not reused at once: a reader in the kernel may still hold the row that named it. It waits until
// settle(), which the caller calls after every such reader has left.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace fairlead::proxy::dataplane::ebpf {

class Extents {
 public:
  explicit Extents(std::uint32_t capacity = 0);

  // Marks [base, base+count) as used; false when a part of it is used already or lies outside.
  [[nodiscard]] bool take(std::uint32_t base, std::uint32_t count);
  // REQUIRES count > 0. Nothing when no free run is long enough; settle() may help then.
  std::optional<std::uint32_t> allocate(std::uint32_t count);
  void release(std::uint32_t base, std::uint32_t count);
  void settle();

  std::uint32_t capacity() const { return capacity_; }
  std::uint32_t waiting() const { return waiting_slots_; }

 private:
  using Run = std::pair<std::uint32_t, std::uint32_t>;
  void add_free(std::uint32_t base, std::uint32_t count);
  void remove_free(std::map<std::uint32_t, std::uint32_t>::iterator run);

  std::uint32_t capacity_;
  std::uint32_t waiting_slots_ = 0;
  std::map<std::uint32_t, std::uint32_t> free_;  // base -> count, never adjacent
  std::set<Run> by_size_;                        // (count, base) of the same runs
  std::vector<Run> waiting_;                     // (base, count)
};

}  // namespace fairlead::proxy::dataplane::ebpf
