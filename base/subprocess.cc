#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/strings.h"

extern char** environ;

namespace fairlead::base {
namespace {

struct Pipe {
  Fd read_end;
  Fd write_end;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno("pipe2", errno);
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// `err` below 0: ours.
Result<pid_t> spawn(const std::vector<std::string>& argv, const std::vector<std::string>& environment, int in, int out,
                    int err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, 0);
  posix_spawn_file_actions_adddup2(&actions, out, 1);
  if (err >= 0) posix_spawn_file_actions_adddup2(&actions, err, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const std::vector<char*> variables = pointers(environment);
  pid_t pid = -1;
  const int rc = ::posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, pointers(argv).data(),
                                environment.empty() ? environ : variables.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (rc != 0) return Error::from_errno(argv[0], rc);
  return pid;
}

// Reads what is there into `sink`; closes `fd` at its end.
void drain(Fd& fd, std::string& sink) {
  char buffer[16384];
  const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  if (n > 0) {
    sink.append(buffer, static_cast<std::size_t>(n));
  } else if (n == 0 || errno != EINTR) {
    fd.reset();
  }
}

// Writes what fits; closes `fd` when all is written or the child closed its end.
void feed(Fd& fd, std::string_view& input) {
  const ssize_t n = ::write(fd.get(), input.data(), input.size());
  if (n > 0) input.remove_prefix(static_cast<std::size_t>(n));
  if (input.empty() || (n < 0 && errno != EINTR && errno != EAGAIN)) fd.reset();
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

Result<ProcessOutput> run_process(const std::vector<std::string>& argv, std::string_view input,
                                  std::chrono::milliseconds timeout) {
  return run_process(argv, input, ProcessOptions{.timeout = timeout});
}

Result<ProcessOutput> run_process(const std::vector<std::string>& argv, std::string_view input,
                                  const ProcessOptions& options) {
  using Clock = std::chrono::steady_clock;
  Pipe in = TRY(make_pipe());
  Pipe out = TRY(make_pipe());
  Pipe err;
  if (options.keep_stderr) err = TRY(make_pipe());
  const pid_t pid = TRY(spawn(argv, options.environment, in.read_end.get(), out.write_end.get(), err.write_end.get()));
  in.read_end.reset();
  out.write_end.reset();
  err.write_end.reset();
  if (input.empty()) in.write_end.reset();
  if (in.write_end) ::fcntl(in.write_end.get(), F_SETFL, O_NONBLOCK);

  ProcessOutput result;
  const auto deadline = Clock::now() + options.timeout;
  while (out.read_end || err.read_end) {
    pollfd fds[] = {{out.read_end.get(), POLLIN, 0}, {err.read_end.get(), POLLIN, 0}, {in.write_end.get(), POLLOUT, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0 || ::poll(fds, 3, static_cast<int>(left)) == 0) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      return Error(cat(argv[0], ": killed after ", options.timeout.count(), " ms"), ETIMEDOUT);
    }
    if (fds[0].revents != 0) drain(out.read_end, result.out);
    if (fds[1].revents != 0) drain(err.read_end, result.err);
    if (fds[2].revents != 0) feed(in.write_end, input);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = exit_code(status);
  return result;
}

Result<std::string> run_checked(const std::vector<std::string>& argv, std::string_view input,
                                std::chrono::milliseconds timeout) {
  ProcessOutput output = TRY(run_process(argv, input, timeout));
  if (output.exit_code != 0) {
    return Error(cat(join(argv, " "), ": exit ", output.exit_code, ": ", trim(output.err)));
  }
  return std::move(output.out);
}

}  // namespace fairlead::base
