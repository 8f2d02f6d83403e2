#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/fd.h"
#include "base/strings.h"

namespace fairlead::base {

Result<std::string> read_file(const std::string& path, std::size_t limit_bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(path, errno);
  std::string content;
  char buffer[4000];  // the kernel clears as much of its own for a sysctl (linux v6.1 fs/proc/proc_sysctl.c)
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(path, errno);
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > limit_bytes) return Error(cat(path, ": larger than ", limit_bytes, " bytes"), EFBIG);
  }
}

Status write_file_atomically(const std::string& path, std::string_view content, unsigned mode, std::string temporary) {
  if (temporary.empty()) temporary = cat(path, ".tmp.", ::getpid());
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd) return Error::from_errno(temporary, errno);
  while (!content.empty()) {
    const ssize_t n = ::write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int saved = errno;
      ::unlink(temporary.c_str());
      return Error::from_errno(temporary, saved);
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  // Else the name may be there after a power cut, and the content not.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) {
    const int saved = errno;
    ::unlink(temporary.c_str());
    return Error::from_errno(temporary, saved);
  }
  fd.reset();
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int saved = errno;
    ::unlink(temporary.c_str());
    return Error::from_errno(path, saved);
  }
  return {};
}

Status make_directories(const std::string& path, unsigned mode) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      // What exists may lie on a file system that refuses before it looks (EROFS).
      const int saved = errno;
      struct stat status {};
      if (::stat(part.c_str(), &status) != 0) return Error::from_errno(part, saved);
    }
    if (slash == path.npos) return {};
  }
}

}  // namespace fairlead::base
