// Boot: which boot of the kernel this is, and when it began; no container outlives it.
#pragma once

#include <cstdint>
#include <string>

namespace fairlead::ipam {

struct Boot {
  std::string id;  // /proc/sys/kernel/random/boot_id; empty: unknown, and nothing is taken for dead
  // Seconds since 1970. Never later than the boot really began, also when the clock was set since then.
  std::int64_t began = 0;
};

Boot this_boot(std::string id);

}  // namespace fairlead::ipam
