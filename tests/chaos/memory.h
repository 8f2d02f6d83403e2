// memory: what an agent's process holds over time, and whether that grows.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

namespace fairlead::tests::chaos {

struct MemorySample {
  double seconds = 0;  // since the soak began
  double rss_mb = 0;
  double descriptors = 0;
};

std::optional<MemorySample> sample_process(pid_t pid, double seconds);

// Over the second half of the samples, when caches are warm: medians of its first and last third, and the slope of a
// least-squares line.
struct Growth {
  double from_mb = 0;
  double to_mb = 0;
  double mb_per_minute = 0;
  double descriptors = 0;  // more at the end than at the beginning
};
// Nothing with fewer than 60 samples.
std::optional<Growth> growth(const std::vector<MemorySample>& samples);

}  // namespace fairlead::tests::chaos
