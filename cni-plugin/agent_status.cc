#include "cni-plugin/agent_status.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/strings.h"
#include "cni-plugin/call.h"

namespace fairlead::cni {
namespace {

constexpr char kRequest[] = "GET /v1/pod-network HTTP/1.0\r\nHost: agent\r\n\r\n";
constexpr std::size_t kLongestAnswer = 64 * 1024;
constexpr timeval kPatience{.tv_sec = 1, .tv_usec = 0};  // kubelet asks again in five seconds

}  // namespace

Status agent_status(const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path) {
    return failure(code::kInvalidConfig, "agent: \"", socket, "\" is longer than a socket's path can be (",
                   sizeof address.sun_path - 1, " bytes)");
  }
  std::memcpy(address.sun_path, socket.data(), socket.size());
  const base::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket", errno).with_code(code::kNotAvailable);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  if (::send(fd.get(), kRequest, sizeof kRequest - 1, MSG_NOSIGNAL) < 0) return {};
  std::string answer;
  char buffer[4096];
  while (answer.size() < kLongestAnswer) {
    const ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return {};
    if (n == 0) break;
    answer.append(buffer, static_cast<std::size_t>(n));
  }
  return read_agent_answer(answer);
}

Status read_agent_answer(std::string_view answer) {
  const std::vector<std::string_view> words = base::split(answer.substr(0, answer.find("\r\n")), ' ');
  const auto number =
      words.size() < 2 || !words[0].starts_with("HTTP/1.") ? std::nullopt : base::parse_number<unsigned>(words[1]);
  if (!number) return failure(code::kNotAvailable, "fairlead-agent: what answers is no HTTP server");
  if (*number == 200) return {};
  const std::size_t head = answer.find("\r\n\r\n");
  const std::string_view reason = head == answer.npos ? "" : base::trim(answer.substr(head + 4));
  if (*number == 503 && !reason.empty()) return failure(code::kNotAvailable, "fairlead-agent: ", reason);
  return failure(code::kNotAvailable, "fairlead-agent: answered ", *number);
}

}  // namespace fairlead::cni
