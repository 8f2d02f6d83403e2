#include "ipam/boot.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>
#include <utility>

namespace fairlead::ipam {

Boot boot_of(std::string id, std::int64_t now, std::int64_t age, std::optional<std::int64_t> first_clock) {
  const Span by_now{now - age - 1, now + 1};  // whole seconds were cut
  const Span by_first = first_clock ? Span{*first_clock, *first_clock + age + 1} : by_now;
  return {std::move(id), by_now, by_first};
}

Boot this_boot(std::string id) {
  timespec now{}, age{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &age);
  // A machine without a clock of its own begins in the past and is set forward later; what it wrote between bears the
  // old time. devtmpfs is made at the very beginning and remembers what the clock said (linux v6.1 mm/shmem.c).
  struct statx birth {};
  std::optional<std::int64_t> first_clock;
  if (::statx(AT_FDCWD, "/dev", AT_STATX_DONT_SYNC, STATX_BTIME, &birth) == 0 && (birth.stx_mask & STATX_BTIME) != 0)
    first_clock = birth.stx_btime.tv_sec;
  return boot_of(std::move(id), now.tv_sec, age.tv_sec, first_clock);
}

}  // namespace fairlead::ipam
