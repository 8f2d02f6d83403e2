#include "tests/datapath/http_probe.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/strings.h"
#include "tests/datapath/namespaces.h"
#include "tests/datapath/probe/sockets.h"

namespace fairlead::testbed {
namespace {

using base::cat;

Result<std::string> exchange(const Target& to, const std::string& request) {
  const probe::SocketAddress address = probe::socket_address(to.ip, to.port);
  const base::Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), address.raw(), address.size) != 0)
    return Error::from_errno(cat("connect ", to.to_string()), errno);
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return Error::from_errno("send", errno);
  std::string answer;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0) answer.append(buffer, static_cast<std::size_t>(n));
  if (n < 0) return Error::from_errno("receive", errno);
  return answer;
}

}  // namespace

Result<HttpAnswer> http_get_at(const Place& from, const Target& to, const std::string& path) {
  const std::string request =
      cat("GET ", path, " HTTP/1.1\r\nHost: ", to.ip.to_string(), "\r\nConnection: close\r\n\r\n");
  HttpAnswer answer;
  answer.text = TRY(value_in_namespace<std::string>(from.netns->fd(), [&] { return exchange(to, request); }));
  const auto words = base::split(answer.text, ' ');
  if (words.size() < 2 || !base::parse_number<unsigned>(words[1])) return Error(cat("no HTTP: ", answer.text));
  answer.status = *base::parse_number<unsigned>(words[1]);
  return answer;
}

}  // namespace fairlead::testbed
