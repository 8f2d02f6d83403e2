// What this process costs, from /proc/self.
#pragma once

#include <cstdint>

namespace fairlead::agent {

struct ProcessStats {
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  double cpu_seconds = 0;
  std::uint64_t open_descriptors = 0;
  std::uint64_t max_descriptors = 0;
};

ProcessStats process_stats();

}  // namespace fairlead::agent
