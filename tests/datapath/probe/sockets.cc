#include "tests/datapath/probe/sockets.h"

#include <arpa/inet.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

namespace fairlead::testbed::probe {

net::Ip SocketAddress::ip() const {
  if (storage.ss_family == AF_INET)
    return net::Ip::from_v4_be(reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr);
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr, bytes.size());
  return net::Ip::from_bytes(bytes);
}

std::uint16_t SocketAddress::port() const {
  // sin_port and sin6_port lie at the same place (POSIX leaves it open, linux/in6.h does not).
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

SocketAddress socket_address(const net::Ip& ip, std::uint16_t port, Form form) {
  SocketAddress address;
  if (ip.is_v4() && form == Form::Native) {
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    in->sin_addr.s_addr = ip.v4_be();
    address.size = sizeof *in;
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    std::memcpy(&in6->sin6_addr, ip.bytes().data(), 16);
    address.size = sizeof *in6;
  }
  return address;
}

SocketAddress local_address(int fd) {
  SocketAddress address;
  ::getsockname(fd, address.raw(), &address.size);
  return address;
}

SocketAddress peer_address(int fd) {
  SocketAddress address;
  ::getpeername(fd, address.raw(), &address.size);
  return address;
}

Result<base::Fd> open_socket(int family, Transport transport) {
  const int type = transport == Transport::Udp ? SOCK_DGRAM : SOCK_STREAM;
  const int protocol = transport == Transport::Sctp ? IPPROTO_SCTP : 0;
  base::Fd fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) return Error::from_errno("socket", errno);
  return fd;
}

std::string error_kind(int errno_value) {
  switch (errno_value) {
    case ECONNREFUSED: return "refused";
    case ETIMEDOUT: return "timeout";
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED: return "reset";
    case EHOSTUNREACH:
    case ENETUNREACH: return "unreachable";
    default: return std::strerror(errno_value);
  }
}

int wait_ready(int fd, short events, Deadline deadline) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return ETIMEDOUT;
    pollfd ready{fd, events, 0};
    const int n = ::poll(&ready, 1, static_cast<int>(left.count() / 1000 + 1));
    if (n > 0) return 0;
    if (n < 0 && errno != EINTR) return errno;
  }
}

}  // namespace fairlead::testbed::probe
