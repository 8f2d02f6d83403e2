#include "agent/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {

ProcessStats process_stats() {
  ProcessStats stats;
  // "size resident shared ...", in pages (man 5 proc).
  if (const auto statm = base::read_file("/proc/self/statm", 4096)) {
    const auto fields = base::split(*statm, ' ');
    if (fields.size() > 1) {
      const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
      stats.virtual_bytes = base::parse_number<std::uint64_t>(fields[0]).value_or(0) * page;
      stats.resident_bytes = base::parse_number<std::uint64_t>(fields[1]).value_or(0) * page;
    }
  }
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    stats.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  std::error_code ignored;
  const std::filesystem::directory_iterator entries("/proc/self/fd", ignored);
  stats.open_descriptors = ignored ? 0 : static_cast<std::uint64_t>(std::distance(begin(entries), end(entries)));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_descriptors = limit.rlim_cur;
  return stats;
}

}  // namespace fairlead::agent
