// For tests: one HTTP/1.1 request to a server on the test's own loop.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/fd.h"
#include "base/loop.h"
#include "net/ip.h"

namespace fairlead::agent {

// The whole answer, head and body; empty when nobody listens there.
inline std::string http_exchange(base::Loop& loop, const net::Ip& address, std::uint16_t port,
                                 const std::string& request_line) {
  sockaddr_in v4{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  sockaddr_in6 v6{
      .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_flowinfo = 0, .sin6_addr = {}, .sin6_scope_id = 0};
  if (address.is_v4()) v4.sin_addr.s_addr = address.v4_be();
  std::memcpy(&v6.sin6_addr, address.bytes().data(), address.bytes().size());
  const base::Fd client(::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int connected = address.is_v4() ? ::connect(client.get(), reinterpret_cast<sockaddr*>(&v4), sizeof v4)
                                        : ::connect(client.get(), reinterpret_cast<sockaddr*>(&v6), sizeof v6);
  const std::string request = request_line + "\r\nHost: node\r\nConnection: close\r\n\r\n";
  if (connected != 0 || ::send(client.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return {};
  std::string answer;
  bool open = true;
  const auto watch = loop.watch(client.get(), base::Interest::Read, [&](base::Ready) {
    char buffer[4096];
    const ssize_t n = ::read(client.get(), buffer, sizeof buffer);
    open = n > 0;
    if (open) answer.append(buffer, static_cast<std::size_t>(n));
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (open && std::chrono::steady_clock::now() < deadline) loop.run_once(std::chrono::milliseconds(50));
  return answer;
}

}  // namespace fairlead::agent
