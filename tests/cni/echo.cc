#include "tests/cni/echo.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "net/ip.h"

namespace fairlead::cnitest {
namespace {

using base::cat;

constexpr std::uint16_t kPort = 80;
constexpr int kPatienceMs = 700;  // of a client that hears nothing

sockaddr_in6 socket_address(const net::Ip& ip, std::uint16_t port) {
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  std::memcpy(&out.sin6_addr, ip.bytes().data(), sizeof out.sin6_addr);
  return out;
}

net::Ip ip_of(const sockaddr_in6& address) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
  return net::Ip::from_bytes(bytes);
}

Result<sockaddr_in6> parse_target(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  std::string_view host = std::string_view(text).substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const auto port = base::parse_number<std::uint16_t>(std::string_view(text).substr(colon + 1));
  if (!port) return Error(cat(text, ": no port"));
  return socket_address(TRY(net::Ip::parse(host)), *port);
}

Status listen_on(base::Fd& fd) {
  fd = base::Fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int off = 0;
  ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  const sockaddr_in6 any = socket_address(net::Ip(), kPort);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 || ::listen(fd.get(), 8) != 0)
    return Error::from_errno("listen", errno);
  return {};
}

std::string asked(const sockaddr_in6& to) {
  const base::Fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
    return std::strerror(errno);
  pollfd readable{.fd = fd.get(), .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, kPatienceMs) != 1) return "silence";
  char buffer[256];
  const ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
  if (n < 0) return errno == ECONNREFUSED ? "refused" : std::strerror(errno);
  return std::string(buffer, static_cast<std::size_t>(n));
}

}  // namespace

EchoServer::EchoServer(base::Fd listener, std::string name) : listener_(std::move(listener)), name_(std::move(name)) {
  thread_ = std::thread([this] {
    for (;;) {
      sockaddr_in6 client{};
      socklen_t size = sizeof client;
      const base::Fd fd(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&client), &size, SOCK_CLOEXEC));
      if (!fd) return;  // shut down
      const std::string text = cat(name_, " sees ", ip_of(client).to_string());
      (void)::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
  });
}

EchoServer::~EchoServer() {
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

Result<std::unique_ptr<EchoServer>> EchoServer::start(const CniHost& host, const std::string& container) {
  base::Fd listener;
  TRY(host.inside(container, [&] { return listen_on(listener); }));
  return std::unique_ptr<EchoServer>(new EchoServer(std::move(listener), container));
}

Result<std::string> ask(const CniHost& host, const std::string& from, const std::string& to) {
  const sockaddr_in6 target = TRY(parse_target(to));
  std::string seen;
  const auto work = [&]() -> Status {
    seen = asked(target);
    return {};
  };
  TRY(from.empty() ? host.inside(work) : host.inside(from, work));
  return seen;
}

}  // namespace fairlead::cnitest
