#include "tests/apiserver/connect_proxy.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// A peer that reads nothing for so long is cut off: the proxy's one thread waits for nobody.
void bound_writes(int fd) {
  const timeval limit{.tv_sec = 2, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// "CONNECT 127.0.0.1:443 HTTP/1.1" -> a connection to that port of the loopback address; nothing else is reachable.
base::Fd connect_to(std::string_view request_line) {
  constexpr std::string_view kPrefix = "CONNECT 127.0.0.1:";
  if (!request_line.starts_with(kPrefix)) return base::Fd();
  const std::string_view rest = request_line.substr(kPrefix.size());
  const auto port = base::parse_number<std::uint16_t>(rest.substr(0, rest.find(' ')));
  if (!port) return base::Fd();
  base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(*port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return base::Fd();
  bound_writes(fd.get());
  return fd;
}

}  // namespace

Result<std::unique_ptr<ConnectProxy>> ConnectProxy::start(std::string refusal) {
  std::unique_ptr<ConnectProxy> proxy(new ConnectProxy(std::move(refusal)));
  proxy->loop_ = TRY(base::Loop::create());
  TRY(proxy->listen());
  proxy->thread_ = std::thread([raw = proxy.get()] { raw->loop_->run(); });
  return proxy;
}

ConnectProxy::~ConnectProxy() {
  if (!thread_.joinable()) return;
  loop_->post([this] { loop_->stop(); });
  thread_.join();
}

std::string ConnectProxy::url() const { return cat("http://127.0.0.1:", port_); }

std::vector<std::string> ConnectProxy::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

Status ConnectProxy::listen() {
  listener_ = base::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_.get(), raw, size) != 0 || ::listen(listener_.get(), 16) != 0 ||
      ::getsockname(listener_.get(), raw, &size) != 0) {
    return Error::from_errno("cannot listen on 127.0.0.1", errno);
  }
  port_ = ntohs(address.sin_port);
  listener_watch_ = loop_->watch(listener_.get(), base::Interest::Read, [this](base::Ready) { accept_one(); });
  return {};
}

void ConnectProxy::accept_one() {
  base::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) return;
  bound_writes(fd.get());
  const int id = next_id_++;
  Tunnel& tunnel = tunnels_[id];
  tunnel.client = std::move(fd);
  tunnel.from_client =
      loop_->watch(tunnel.client.get(), base::Interest::Read, [this, id](base::Ready) { read_client(id); });
}

void ConnectProxy::read_client(int id) {
  Tunnel& tunnel = tunnels_.at(id);
  if (tunnel.target) return relay(id, true);
  std::array<char, 4096> buffer;
  const ssize_t n = ::recv(tunnel.client.get(), buffer.data(), buffer.size(), 0);
  if (n <= 0 || tunnel.head.size() > 65536) return (void)tunnels_.erase(id);
  tunnel.head.append(buffer.data(), static_cast<std::size_t>(n));
  if (!tunnel.head.ends_with("\r\n\r\n")) return;  // a client waits for the answer before it sends more
  const std::string request_line = tunnel.head.substr(0, tunnel.head.find("\r\n"));
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request_line);
  }
  if (!open(tunnel, id, request_line)) tunnels_.erase(id);
}

bool ConnectProxy::open(Tunnel& tunnel, int id, const std::string& request_line) {
  if (!refusal_.empty()) {
    send_all(tunnel.client.get(), refusal_);
    return false;
  }
  tunnel.target = connect_to(request_line);
  if (!tunnel.target) {
    send_all(tunnel.client.get(), "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    return false;
  }
  tunnel.from_target =
      loop_->watch(tunnel.target.get(), base::Interest::Read, [this, id](base::Ready) { relay(id, false); });
  return send_all(tunnel.client.get(), "HTTP/1.1 200 Connection established\r\n\r\n");
}

void ConnectProxy::relay(int id, bool to_target) {
  const Tunnel& tunnel = tunnels_.at(id);
  const base::Fd& from = to_target ? tunnel.client : tunnel.target;
  const base::Fd& to = to_target ? tunnel.target : tunnel.client;
  std::array<char, 65536> buffer;
  const ssize_t n = ::recv(from.get(), buffer.data(), buffer.size(), 0);
  if (n <= 0 || !send_all(to.get(), {buffer.data(), static_cast<std::size_t>(n)})) tunnels_.erase(id);
}

}  // namespace fairlead::tests::apiserver
