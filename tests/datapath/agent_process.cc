#include "tests/datapath/agent_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using base::Value;

std::uint64_t number_of(const Value& object, std::string_view key) {
  const std::int64_t* number = object[key].as_int();
  return number != nullptr ? static_cast<std::uint64_t>(*number) : 0;
}

std::string text_of(const Value& object, std::string_view key) {
  const std::string* text = object[key].as_string();
  return text != nullptr ? *text : "";
}

Result<base::Fd> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error(cat(path, " is too long for a unix socket"));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Error::from_errno(cat("connect ", path), errno);
  }
  return fd;
}

}  // namespace

Result<std::string> http_get(const std::string& socket_path, const std::string& path) {
  const base::Fd fd = TRY(connect_unix(socket_path));
  const std::string request = cat("GET ", path, " HTTP/1.0\r\nHost: agent\r\n\r\n");
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return Error::from_errno("send", errno);
  std::string answer;
  char buffer[65536];
  ssize_t n = 0;
  while ((n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0) answer.append(buffer, static_cast<std::size_t>(n));
  if (n < 0) return Error::from_errno(cat("read ", socket_path), errno);
  const auto body = answer.find("\r\n\r\n");
  const std::string_view first = std::string_view(answer).substr(0, answer.find("\r\n"));
  if (body == std::string::npos || first.find(" 200") == std::string_view::npos) {
    return Error(cat(socket_path, " answered ", first));
  }
  return answer.substr(body + 4);
}

AgentProcess::AgentProcess(Testbed& testbed, unsigned node, std::string dataplane, std::vector<std::string> source)
    : testbed_(testbed), node_(node), dataplane_(std::move(dataplane)), source_(std::move(source)) {}

std::string AgentProcess::place() const { return cat("node", node_); }
std::string AgentProcess::status_socket() const { return testbed_.node_dir(node_) + "/agent.sock"; }

std::string AgentProcess::log() const {
  auto text = base::read_file(testbed_.log_path(cat("agent-", place())));
  return text ? *std::move(text) : text.error().message();
}

std::vector<std::string> AgentProcess::arguments() const {
  std::vector<std::string> argv{program_path("fairlead-agent"),
                                "--node-name",
                                place(),
                                "--dataplane",
                                dataplane_,
                                "--cgroup",
                                testbed_.node_cgroup(node_),
                                "--bpf-root",
                                testbed_.bpf_root(node_),
                                "--state-dir",
                                testbed_.node_dir(node_) + "/state",
                                "--status-socket",
                                status_socket()};
  argv.insert(argv.end(), source_.begin(), source_.end());
  return argv;
}

Status AgentProcess::launch() {
  process_ = TRY(testbed_.start(place(), arguments(), cat("agent-", place())));
  return {};
}

Status AgentProcess::start() {
  TRY(launch());
  return wait_until_settled();
}

Result<base::ProcessOutput> AgentProcess::command(const std::string& command) const {
  std::vector<std::string> argv = arguments();
  argv.insert(argv.begin() + 1, command);
  return testbed_.run(place(), argv);
}

Result<AgentStatus> AgentProcess::status() const {
  AgentStatus status;
  status.text = TRY(http_get(status_socket(), "/v1/status"));
  const Value value = TRY_CONTEXT(base::parse_json(status.text), "status");
  const bool* synced = value["synced"].as_bool();
  status.synced = synced != nullptr && *synced;
  status.dataplane = text_of(value, "dataplane");
  status.generation = number_of(value, "generation");
  status.applied = number_of(value, "applied");
  status.kernel_writes = number_of(value["kernel_writes"], "total");
  status.first_sync_writes = number_of(value["kernel_writes"], "first_sync");
  status.services = number_of(value, "services");
  status.failing = number_of(value, "failing");
  status.error = text_of(value, "error");
  return status;
}

Status AgentProcess::wait_for(const std::function<bool(const AgentStatus&)>& condition, std::string_view what,
                              milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::string last;
  for (;;) {
    const auto now = status();
    if (now && condition(*now)) return {};
    last = now ? now->text : now.error().message();
    if (!running()) return Error(cat("the agent of ", place(), " has ended before it was ", what, ":\n", log()));
    if (std::chrono::steady_clock::now() > deadline) break;
    ::poll(nullptr, 0, 1);
  }
  return Error(cat("the agent of ", place(), " is not ", what, " after ", limit.count(), " ms: ", last, "\n", log()),
               ETIMEDOUT);
}

Status AgentProcess::wait_until_settled(milliseconds limit) {
  return wait_for([](const AgentStatus& status) { return status.settled(); }, "in sync", limit);
}

Status AgentProcess::terminate() {
  if (!process_) return Error("the agent was not started");
  TRY(process_->signal(SIGTERM));
  const int exit_code = TRY(process_->wait(std::chrono::seconds(10)));
  if (exit_code != 0) return Error(cat("the agent of ", place(), " ended with ", exit_code, ":\n", log()));
  return {};
}

void AgentProcess::kill() {
  if (process_) process_->kill();
}

}  // namespace fairlead::testbed
