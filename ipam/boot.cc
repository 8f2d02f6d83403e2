#include "ipam/boot.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace fairlead::ipam {

Boot this_boot(std::string id) {
  timespec now{}, since{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &since);
  std::int64_t began = now.tv_sec - since.tv_sec - 1;
  // A machine without a clock of its own begins in the past and is set forward later; what it wrote between bears the
  // old time. devtmpfs is made at the very beginning and remembers what the clock said (linux v6.1 mm/shmem.c).
  struct statx birth {};
  if (::statx(AT_FDCWD, "/dev", AT_STATX_DONT_SYNC, STATX_BTIME, &birth) == 0 && (birth.stx_mask & STATX_BTIME) != 0) {
    began = std::min<std::int64_t>(began, birth.stx_btime.tv_sec);
  }
  return {std::move(id), began};
}

}  // namespace fairlead::ipam
