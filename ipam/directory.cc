#include "ipam/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <memory>

#include "base/file.h"
#include "base/strings.h"
#include "ipam/ranges.h"

namespace fairlead::ipam {
namespace {

constexpr std::string_view kLastPrefix = "last_reserved_ip.";
constexpr char kBootFile[] = ".fairlead-boot";
constexpr std::string_view kBootPrefix = "boot ";
// What is being written where a file cannot be linked from its descriptor. The reference plugin may read it, but takes
// no address from its name.
constexpr char kNewFile[] = ".fairlead-new";
constexpr std::size_t kLargest = 4096;  // of a reservation; an id has 253 bytes at most, an interface 15

// At most kLargest bytes and one more.
Result<std::string> read_small(int fd) {
  std::string content(kLargest + 1, '\0');
  std::size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t n = ::read(fd, content.data() + filled, content.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("read", errno);
    if (n == 0) break;
    filled += static_cast<std::size_t>(n);
  }
  content.resize(filled);
  return content;
}

std::optional<std::string> read_small_at(int directory, const std::string& name) {
  const base::Fd fd(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return std::nullopt;
  const auto content = read_small(fd.get());
  return content ? std::optional(*content) : std::nullopt;
}

bool write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// Over the old content, and then cut: a reader between sees text that is no address rather than nothing.
void overwrite_at(int directory, const std::string& name, std::string_view content) {
  const base::Fd fd(::openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || !write_all(fd.get(), content)) return;
  (void)!::ftruncate(fd.get(), static_cast<off_t>(content.size()));
}

// Absent when the name is not what either plugin would give a reservation.
std::optional<net::Ip> address_of(std::string_view name) {
  if (name.empty() || name.find_first_not_of("0123456789abcdef.:") != name.npos) return std::nullopt;
  const auto ip = net::Ip::parse(name);
  if (!ip || ip->to_string() != name) return std::nullopt;
  return *ip;
}

Found read_found(int directory, const net::Ip& address, int* open_errno = nullptr) {
  Found found;
  found.address = address;
  found.content = Content::Unreadable;
  const base::Fd fd(
      ::openat(directory, address.to_string().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    if (open_errno != nullptr) *open_errno = errno;
    if (errno == ELOOP || errno == ENXIO) found.content = Content::Foreign;
    return found;
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return found;
  found.written = status.st_mtim.tv_sec;
  if (!S_ISREG(status.st_mode)) {
    found.content = Content::Foreign;
    return found;
  }
  const auto content = read_small(fd.get());
  if (!content) return found;
  found.holder = std::string(base::trim(*content));
  if (content->size() > kLargest) {
    found.content = Content::Foreign;
    found.holder.clear();
  } else {
    found.content = found.holder.empty() ? Content::Empty : Content::Holder;
  }
  return found;
}

}  // namespace

Result<std::vector<net::Ip>> list_addresses(int directory_fd, const std::string& path) {
  base::Fd fd(::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error::from_errno(path, errno);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.get()), ::closedir);
  if (stream == nullptr) return Error::from_errno(path, errno);
  (void)fd.release();  // the stream's now
  std::vector<net::Ip> found;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) return Error::from_errno(path, errno);
    if (entry == nullptr) return found;
    if (const auto address = address_of(entry->d_name)) found.push_back(*address);
  }
}

std::optional<std::string> read_boot(int directory_fd) {
  const auto content = read_small_at(directory_fd, kBootFile);
  if (!content || content->rfind(kBootPrefix, 0) != 0) return std::nullopt;
  return std::string(base::trim(std::string_view(*content).substr(kBootPrefix.size())));
}

Mark mark_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

Error Directory::error(std::string_view name, int errno_value) const {
  return Error::from_errno(base::cat(path_, "/", name), errno_value);
}

Result<std::optional<Directory>> Directory::open(const std::string& path, bool make) {
  for (;;) {
    base::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory && errno == ENOENT && make) {
      TRY(base::make_directories(path));
      directory = base::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    if (!directory && errno == ENOENT && !make) return std::optional<Directory>();
    if (!directory) return Error::from_errno(path, errno);
    base::Fd lock(::openat(directory.get(), "lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0750));
    const std::string lock_path = base::cat(path, "/lock");
    if (!lock && errno != ENOENT) return Error::from_errno(lock_path, errno);
    while (lock && ::flock(lock.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return Error::from_errno(lock_path, errno);
    }
    // Somebody may have taken the directory, or the lock, away meanwhile: then it keeps nobody else out.
    struct stat of_directory {
    }, of_lock{}, at_path{};
    if (lock && ::fstat(lock.get(), &of_lock) == 0 && of_lock.st_nlink > 0 &&
        ::fstat(directory.get(), &of_directory) == 0 && ::stat(path.c_str(), &at_path) == 0 &&
        at_path.st_ino == of_directory.st_ino && at_path.st_dev == of_directory.st_dev) {
      return std::optional(Directory(path, std::move(directory), std::move(lock)));
    }
  }
}

Result<std::vector<net::Ip>> Directory::addresses() const { return list_addresses(directory_.get(), path_); }

Result<std::vector<Found>> Directory::list() const {
  std::vector<Found> found;
  for (const net::Ip& address : TRY(addresses())) found.push_back(read_found(directory_.get(), address));
  return found;
}

Result<Found> Directory::read(const net::Ip& address) const {
  int open_errno = 0;
  Found found = read_found(directory_.get(), address, &open_errno);
  if (open_errno == ENOENT) return error(address.to_string(), ENOENT);
  return found;
}

Result<base::Fd> Directory::write_unnamed(std::string_view content) const {
  base::Fd fd(::openat(directory_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (!fd || !write_all(fd.get(), content)) return error("", errno);
  return fd;
}

Result<bool> Directory::reserve(const net::Ip& address, std::string_view holder) const {
  const std::string name = address.to_string();
  auto fd = write_unnamed(holder);
  if (!fd) {
    const int why = fd.error().errno_value();
    const bool unable = why == EOPNOTSUPP || why == EISDIR || why == ENOENT || why == EINVAL;  // open(2), O_TMPFILE
    if (unable) return reserve_by_name(name, holder);
    return error(name, why);
  }
  if (::linkat(fd->get(), "", directory_.get(), name.c_str(), AT_EMPTY_PATH) == 0) return true;
  if (errno == EEXIST) return false;
  // AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH, which a rootless runtime has not.
  const std::string self = base::cat("/proc/self/fd/", fd->get());
  if (::linkat(AT_FDCWD, self.c_str(), directory_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0) return true;
  if (errno == EEXIST) return false;
  if (errno == ENOSPC || errno == EDQUOT || errno == EROFS || errno == EIO) return error(name, errno);
  return reserve_by_name(name, holder);
}

Result<bool> Directory::reserve_by_name(const std::string& name, std::string_view holder) const {
  const int directory = directory_.get();
  (void)::unlinkat(directory, kNewFile, 0);
  {
    const base::Fd fd(::openat(directory, kNewFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) return error(name, errno);
    if (!write_all(fd.get(), holder)) {
      const int saved = errno;
      (void)::unlinkat(directory, kNewFile, 0);
      return error(name, saved);
    }
  }
  if (::renameat2(directory, kNewFile, directory, name.c_str(), RENAME_NOREPLACE) == 0) return true;
  int failed = errno;
  if (failed == EINVAL) failed = ::linkat(directory, kNewFile, directory, name.c_str(), 0) == 0 ? 0 : errno;
  (void)::unlinkat(directory, kNewFile, 0);
  if (failed != 0 && failed != EEXIST) return error(name, failed);
  return failed == 0;
}

Status Directory::release(const net::Ip& address) const {
  const std::string name = address.to_string();
  if (::unlinkat(directory_.get(), name.c_str(), 0) != 0 && errno != ENOENT) return error(name, errno);
  return {};
}

std::optional<net::Ip> Directory::last(std::size_t set) const {
  const auto content = read_small_at(directory_.get(), base::cat(kLastPrefix, set));
  if (!content) return std::nullopt;
  const auto ip = net::Ip::parse(*content);
  return ip ? std::optional(*ip) : std::nullopt;
}

void Directory::set_last(std::size_t set, const net::Ip& address) const {
  overwrite_at(directory_.get(), base::cat(kLastPrefix, set), address.to_string());
}

std::optional<std::string> Directory::boot() const { return read_boot(directory_.get()); }

void Directory::set_boot(std::string_view boot_id) const {
  overwrite_at(directory_.get(), kBootFile, base::cat(kBootPrefix, boot_id, "\n"));
}

Result<Mark> Directory::mark() const {
  struct stat status {};
  if (::fstat(directory_.get(), &status) != 0) return Error::from_errno(path_, errno);
  return mark_of(status);
}

std::optional<Mark> Directory::next_mark() const {
  timespec now{};
  struct stat status {};
  if (::clock_gettime(CLOCK_REALTIME, &now) != 0 || ::fstat(directory_.get(), &status) != 0) return std::nullopt;
  Mark mark = mark_of(status);
  mark.seconds = now.tv_sec - 1;
  mark.nanoseconds = now.tv_nsec | 1;  // a file system of coarser times cannot keep it
  return mark;
}

bool Directory::apply(const Mark& mark) const {
  const timespec times[2] = {
      {.tv_sec = 0, .tv_nsec = UTIME_OMIT},
      {.tv_sec = static_cast<time_t>(mark.seconds), .tv_nsec = static_cast<long>(mark.nanoseconds)}};
  struct stat status {};
  return ::futimens(directory_.get(), times) == 0 && ::fstat(directory_.get(), &status) == 0 && mark_of(status) == mark;
}

}  // namespace fairlead::ipam
