#include "tests/bench/cni_chain.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/strings.h"
#include "tests/bench/exchange.h"

namespace fairlead::tests::bench {
namespace {

using base::cat;

struct Ends {
  base::Fd read;
  base::Fd write;
};

// Close-on-exec, so that a plugin that another thread starts does not hold it open.
Result<Ends> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno("pipe2", errno);
  return Ends{base::Fd(fds[0]), base::Fd(fds[1])};
}

Result<std::string> read_all(int fd) {
  std::string text;
  char buffer[8192];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n == 0) return text;
    if (n < 0 && errno != EINTR) return Error::from_errno("read", errno);
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
  }
}

// Its stdout; a non-zero exit is an Error with it. REQUIRES that SIGPIPE is ignored. stdin is far below a pipe's
// capacity, and stderr is ours.
Result<std::string> run_plugin(const std::string& path, std::vector<std::string> environment,
                               const std::string& input) {
  Ends in = TRY(make_pipe());
  Ends out = TRY(make_pipe());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> pointers;
  for (std::string& variable : environment) pointers.push_back(variable.data());
  pointers.push_back(nullptr);
  char* argv[] = {const_cast<char*>(path.c_str()), nullptr};
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, path.c_str(), &actions, &attributes, argv, pointers.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return Error::from_errno(path, failed);
  in.read.reset();
  out.write.reset();
  // EPIPE: the plugin is through without it (VERSION).
  const bool written =
      ::write(in.write.get(), input.data(), input.size()) == static_cast<ssize_t>(input.size()) || errno == EPIPE;
  in.write.reset();
  auto text = read_all(out.read.get());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!text) return text;
  if (!written || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return Error(cat(path, " failed: ", base::trim(*text)));
  return text;
}

std::vector<std::string> environment(const char* verb, const CniChain& chain, const CniContainer& container) {
  // PATH: the reference plugins look for iptables.
  return {cat("CNI_COMMAND=", verb), cat("CNI_CONTAINERID=", container.id), cat("CNI_NETNS=", container.netns),
          "CNI_IFNAME=eth0",         cat("CNI_PATH=", chain.directory),     "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
}

std::string configuration(const CniPlugin& plugin, const CniContainer& container, const std::string& previous) {
  return cat(R"({"cniVersion":"1.0.0","name":"bench","type":")", plugin.type, "\"", plugin.members.empty() ? "" : ",",
             plugin.members, R"(,"runtimeConfig":{"portMappings":[{"hostPort":)", container.host_port,
             R"(,"containerPort":8080,"protocol":"tcp"}],"bandwidth":{"ingressRate":80000000,"ingressBurst":8000000,)",
             R"("egressRate":80000000,"egressBurst":8000000}})", previous.empty() ? "" : R"(,"prevResult":)", previous,
             "}");
}

double ms_since(std::uint64_t begin) { return static_cast<double>(monotonic_ns() - begin) / 1e6; }

}  // namespace

Result<CniOutcome> cni_add(const CniChain& chain, const CniContainer& container) {
  CniOutcome outcome;
  const std::uint64_t begin = monotonic_ns();
  for (const CniPlugin& plugin : chain.plugins) {
    auto result = run_plugin(cat(chain.directory, "/", plugin.type), environment("ADD", chain, container),
                             configuration(plugin, container, outcome.result));
    if (!result) {
      (void)cni_del(chain, container, outcome.result).has_value();
      return std::move(result).error();
    }
    outcome.result = *std::move(result);
  }
  outcome.ms = ms_since(begin);
  return outcome;
}

Result<CniOutcome> cni_del(const CniChain& chain, const CniContainer& container, const std::string& result) {
  CniOutcome outcome;
  const std::uint64_t begin = monotonic_ns();
  for (auto plugin = chain.plugins.rbegin(); plugin != chain.plugins.rend(); ++plugin) {
    outcome.result = TRY(run_plugin(cat(chain.directory, "/", plugin->type), environment("DEL", chain, container),
                                    configuration(*plugin, container, result)));
  }
  outcome.ms = ms_since(begin);
  return outcome;
}

Result<CniOutcome> cni_version(const CniChain& chain) {
  CniOutcome outcome;
  const std::uint64_t begin = monotonic_ns();
  const CniPlugin& plugin = chain.plugins.front();
  outcome.result = TRY(run_plugin(cat(chain.directory, "/", plugin.type), environment("VERSION", chain, {}),
                                  configuration(plugin, {}, "")));
  outcome.ms = ms_since(begin);
  return outcome;
}

}  // namespace fairlead::tests::bench
