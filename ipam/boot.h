// Boot: which boot of the kernel this is, and when it can have written; no container outlives it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace fairlead::ipam {

// Seconds since 1970, both ends included.
struct Span {
  std::int64_t from = 0, to = 0;
  bool contains(std::int64_t time) const { return from <= time && time <= to; }
  bool operator==(const Span&) const = default;
};

struct Boot {
  std::string id;  // /proc/sys/kernel/random/boot_id; empty: unknown, and nothing is taken for dead
  // The times that a file of this boot can bear: by the clock as it is set now, and by the one the machine began with.
  Span now, first = now;
  bool can_have_written(std::int64_t time) const { return now.contains(time) || first.contains(time); }
  bool begins_after(std::int64_t time) const { return time < now.from && time < first.from; }
  bool operator==(const Boot&) const = default;
};

Boot this_boot(std::string id);

// `age`: seconds since it began. `first_clock`: what the clock said then; absent: as now.
Boot boot_of(std::string id, std::int64_t now, std::int64_t age, std::optional<std::int64_t> first_clock);

}  // namespace fairlead::ipam
