#include "tests/datapath/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/file.h"
#include "base/strings.h"

extern char** environ;

namespace fairlead::testbed {
namespace {

using base::cat;
using Clock = std::chrono::steady_clock;

int left_until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left) + 1;
}

struct Standard {
  base::Fd in;
  base::Fd out;
  base::Fd err;
};

Result<pid_t> spawn(const std::vector<std::string>& argv, const Standard& child) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child.in.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, child.out.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, child.err.get(), 2);
  std::vector<char*> args;
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  pid_t pid = -1;
  const int rc = ::posix_spawnp(&pid, args[0], &actions, nullptr, args.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (rc != 0) return Error::from_errno(argv[0], rc);
  return pid;
}

}  // namespace

std::string program_path(std::string_view name) {
  const char* build = std::getenv("FAIRLEAD_BUILD_DIR");
  return cat(build != nullptr ? cat(build, "/bin") : FAIRLEAD_BIN_DIR, "/", name);
}

std::vector<std::string> wrapped(const Launch& launch) {
  if (launch.netns.empty() && launch.cgroup.empty()) return launch.argv;
  std::vector<std::string> argv{program_path("fairlead-probe"), "enter"};
  if (!launch.netns.empty()) argv.insert(argv.end(), {"--net", launch.netns});
  if (!launch.cgroup.empty()) argv.insert(argv.end(), {"--cgroup", launch.cgroup});
  argv.push_back("--");
  argv.insert(argv.end(), launch.argv.begin(), launch.argv.end());
  return argv;
}

Result<Process> Process::start(const Launch& launch) {
  Process process;
  process.log_path_ = launch.log;
  Standard child;
  child.in = base::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::string log = launch.log.empty() ? "/dev/null" : launch.log;
  child.err = base::Fd(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!child.err) return Error::from_errno(cat("open ", log), errno);
  if (launch.pipes == Pipes::InOut) {
    int in[2];
    int out[2];
    // A socket, because writing to one whose reader has died need not raise SIGPIPE.
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0) return Error::from_errno("socketpair", errno);
    child.in = base::Fd(in[0]);
    process.in_ = base::Fd(in[1]);
    if (::pipe2(out, O_CLOEXEC) != 0) return Error::from_errno("pipe2", errno);
    process.out_ = base::Fd(out[0]);
    child.out = base::Fd(out[1]);
  } else {
    child.out = base::Fd(::fcntl(child.err.get(), F_DUPFD_CLOEXEC, 3));
  }
  process.pid_ = TRY(spawn(wrapped(launch), child));
  process.pidfd_ = base::Fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid_, 0)));
  if (!process.pidfd_) return Error::from_errno("pidfd_open", errno);
  return process;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      exit_code_(other.exit_code_),
      pidfd_(std::move(other.pidfd_)),
      in_(std::move(other.in_)),
      out_(std::move(other.out_)),
      unread_(std::move(other.unread_)),
      log_path_(std::move(other.log_path_)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, -1);
    exit_code_ = other.exit_code_;
    pidfd_ = std::move(other.pidfd_);
    in_ = std::move(other.in_);
    out_ = std::move(other.out_);
    unread_ = std::move(other.unread_);
    log_path_ = std::move(other.log_path_);
  }
  return *this;
}

Process::~Process() { kill(); }

bool Process::running() { return pid_ > 0 && exit_code_ < 0 && !wait(milliseconds(0)); }

Status Process::signal(int number) {
  if (pid_ <= 0 || exit_code_ >= 0) return Error("the process has ended");
  if (::kill(pid_, number) != 0) return Error::from_errno(cat("kill ", pid_), errno);
  return {};
}

Result<int> Process::wait(milliseconds limit) {
  if (exit_code_ >= 0) return exit_code_;
  if (pid_ <= 0) return Error("no process");
  pollfd ended{pidfd_.get(), POLLIN, 0};
  const auto deadline = Clock::now() + limit;
  for (;;) {
    int status = 0;
    const pid_t reaped = ::waitpid(pid_, &status, WNOHANG);
    if (reaped == pid_) {
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return exit_code_;
    }
    if (reaped < 0 && errno != EINTR) return Error::from_errno("waitpid", errno);
    if (Clock::now() >= deadline)
      return Error(cat("process ", pid_, " still runs after ", limit.count(), " ms"), ETIMEDOUT);
    ::poll(&ended, 1, left_until(deadline));
  }
}

void Process::kill() {
  if (pid_ <= 0 || exit_code_ >= 0) return;
  ::kill(pid_, SIGKILL);
  (void)wait(std::chrono::seconds(5)).has_value();
}

std::string Process::log() const {
  auto text = base::read_file(log_path_);
  return text ? *std::move(text) : text.error().message();
}

Status Process::write_line(const std::string& line) {
  const std::string text = line + "\n";
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::send(in_.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) return Error::from_errno(cat("write to process ", pid_), errno);
    if (n > 0) done += static_cast<std::size_t>(n);
  }
  return {};
}

Result<std::string> Process::read_line(milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  for (;;) {
    if (const auto end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    pollfd readable{out_.get(), POLLIN, 0};
    const int ready = ::poll(&readable, 1, left_until(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      return Error(cat("process ", pid_, " said nothing for ", limit.count(), " ms; its log: ", log()), ETIMEDOUT);
    }
    char buffer[65536];
    const ssize_t n = ::read(out_.get(), buffer, sizeof buffer);
    if (n < 0 && errno != EINTR) return Error::from_errno(cat("read from process ", pid_), errno);
    if (n == 0) return Error(cat("process ", pid_, " closed its output; its log: ", log()));
    if (n > 0) unread_.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace fairlead::testbed
