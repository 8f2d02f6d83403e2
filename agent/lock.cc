#include "agent/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {

std::string lock_path(const std::string& state_dir) { return state_dir + "/lock"; }

namespace {

bool is_at(int fd, const std::string& path) {
  struct stat ours {};
  struct stat there {};
  return ::fstat(fd, &ours) == 0 && ::stat(path.c_str(), &there) == 0 && ours.st_dev == there.st_dev &&
         ours.st_ino == there.st_ino;
}

// 0, or the errno of the last attempt.
int lock_within(int fd, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() >= deadline) return errno;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return 0;
}

struct AbstractName {
  sockaddr_un address{};
  socklen_t length = 0;
};

AbstractName name_of(const std::string& instance) {
  AbstractName name;
  const std::string text = "fairlead/" + instance;  // after a NUL, which makes it abstract
  name.address.sun_family = AF_UNIX;
  text.copy(name.address.sun_path + 1, sizeof name.address.sun_path - 1);
  name.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return name;
}

// Who listens there; 0 when nobody can be asked.
pid_t listener_of(const AbstractName& name) {
  const base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name.address), name.length) != 0) return 0;
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

}  // namespace

Result<InstanceClaim> InstanceClaim::acquire(const std::string& instance, std::chrono::milliseconds patience) {
  const AbstractName name = name_of(instance);
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket", errno);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name.address), name.length) != 0) {
    if (errno != EADDRINUSE) return Error::from_errno("cannot claim instance " + instance, errno);
    if (std::chrono::steady_clock::now() >= deadline) {
      return Error(base::cat("another agent is running: pid ", listener_of(name), " has instance ", instance,
                             " in this network namespace"),
                   EADDRINUSE);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (::listen(fd.get(), 1) != 0) return Error::from_errno("listen", errno);
  return InstanceClaim(std::move(fd));
}

Result<InstanceLock> InstanceLock::acquire(const std::string& state_dir, std::chrono::milliseconds patience) {
  std::error_code failure;
  std::filesystem::create_directories(state_dir, failure);
  if (failure) return Error::from_errno("cannot make the state directory " + state_dir, failure.value());

  const std::string path = lock_path(state_dir);
  base::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) return Error::from_errno("cannot open " + path, errno);
  const int refused = lock_within(fd.get(), patience);
  if (refused != 0) {
    if (refused != EWOULDBLOCK) return Error::from_errno("cannot lock " + path, refused);
    const auto holder = base::read_file(path, 64);
    const std::string pid = holder ? std::string(base::trim(*holder)) : std::string();
    return Error(base::cat("another agent is running: pid ", pid.empty() ? "unknown" : pid, " holds ", path),
                 EWOULDBLOCK);
  }
  // `fairlead-agent cleanup` removes the file while it holds it: a lock on a file that is no longer there is worth
  // nothing.
  if (!is_at(fd.get(), path)) return Error(path + " was removed by a cleanup just now: try again");
  const std::string own = base::cat(::getpid(), "\n");
  if (::ftruncate(fd.get(), 0) != 0 || ::write(fd.get(), own.data(), own.size()) != static_cast<ssize_t>(own.size())) {
    return Error::from_errno("cannot write " + path, errno);
  }
  return InstanceLock(std::move(fd));
}

}  // namespace fairlead::agent
