// Socket addresses from and to Ip values, and errno as the few words a scenario expects.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "tests/datapath/probe_spec.h"

namespace fairlead::testbed::probe {

enum class Form { Native, Mapped };  // Mapped: an IPv4 address as AF_INET6 ::ffff:a.b.c.d

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  net::Ip ip() const;  // v4-mapped becomes IPv4
  std::uint16_t port() const;
  std::string to_string() const { return net::host_port(ip(), port()); }
};

SocketAddress socket_address(const net::Ip& ip, std::uint16_t port, Form form = Form::Native);
SocketAddress local_address(int fd);
SocketAddress peer_address(int fd);

// Non-blocking and close-on-exec.
Result<base::Fd> open_socket(int family, Transport transport);

// "refused", "timeout", "reset", "unreachable", "closed", else the errno's text.
std::string error_kind(int errno_value);

using Deadline = std::chrono::steady_clock::time_point;
// 0 when `fd` is ready for `events`, else ETIMEDOUT.
int wait_ready(int fd, short events, Deadline deadline);

// Byte `i` of every payload; a sum over it would not see exchanged segments, so position enters.
inline char payload_byte(std::uint64_t i) { return static_cast<char>('a' + (i * 7 + i / 251) % 26); }

}  // namespace fairlead::testbed::probe
