#include "tests/datapath/probe/connect.h"

#include <poll.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "base/strings.h"

namespace fairlead::testbed::probe {
namespace {

using Clock = std::chrono::steady_clock;

// "NAME PEER-IP PEER-PORT LOCAL-IP LOCAL-PORT", padded with blanks.
std::string read_answer(std::string_view line, Attempt& answer) {
  const auto words = base::split(base::trim(line), ' ');
  if (words.size() < 5) return "corrupt";
  const auto local_ip = net::Ip::parse(words[3]);
  const auto local_port = base::parse_number<std::uint16_t>(words[4]);
  if (!local_ip || !local_port) return "corrupt";
  answer.answer = words[0];
  answer.source = words[1];
  answer.source_port = base::parse_number<std::uint16_t>(words[2]).value_or(0);
  answer.local = net::host_port(*local_ip, *local_port);
  return "";
}

}  // namespace

Deadline Connection::deadline() const { return Clock::now() + std::chrono::milliseconds(spec_.timeout_ms); }

void Connection::close() {
  fd_.reset();
  received_.clear();
}

std::string Connection::open() {
  close();
  const bool mapped = spec_.style == SocketStyle::Mapped || spec_.style == SocketStyle::MappedUnconnected;
  to_ = socket_address(spec_.to.ip, spec_.to.port, mapped ? Form::Mapped : Form::Native);
  auto socket = open_socket(to_.storage.ss_family, spec_.to.transport);
  if (!socket) return error_kind(socket.error().errno_value());
  fd_ = *std::move(socket);
  const int one = 1;
  if (spec_.source_port != 0) {
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const SocketAddress any =
        socket_address(to_.storage.ss_family == AF_INET ? net::Ip::v4(0, 0, 0, 0) : net::Ip(), spec_.source_port);
    if (::bind(fd_.get(), any.raw(), any.size) != 0) return error_kind(errno);
  }
  if (unconnected()) {
    // Without these an ICMP error is not reported on an unconnected socket (man 7 ip).
    ::setsockopt(fd_.get(), IPPROTO_IP, IP_RECVERR, &one, sizeof one);
    ::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof one);
    return "";
  }
  if (::connect(fd_.get(), to_.raw(), to_.size) == 0) return "";
  if (errno != EINPROGRESS) return error_kind(errno);
  if (const int error = wait_ready(fd_.get(), POLLOUT, deadline()); error != 0) return error_kind(error);
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? "" : error_kind(error);
}

// What send() failed with. A datagram that a firewall of this host rejects is EPERM at once, and the rejection itself,
// an ICMP error, waits at the socket (linux v6.1 net/netfilter/core.c, nf_hook_slow); the latter is what it means.
std::string Connection::send_error(int errno_value) const {
  int waiting = 0;
  socklen_t size = sizeof waiting;
  if (errno_value == EPERM && ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &waiting, &size) == 0 && waiting != 0) {
    return error_kind(waiting);
  }
  return error_kind(errno_value);
}

std::string Connection::send_all(std::string_view data, Deadline until) {
  while (!data.empty()) {
    const ssize_t n = unconnected() ? ::sendto(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL, to_.raw(), to_.size)
                                    : ::send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      data.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (const int error = wait_ready(fd_.get(), POLLOUT, until); error != 0) return error_kind(error);
    } else if (errno != EINTR) {
      return send_error(errno);
    }
  }
  return "";
}

std::string Connection::receive_some(Deadline until) {
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n > 0) {
      received_.append(buffer, static_cast<std::size_t>(n));
      return "";
    }
    if (n == 0) return "closed";
    if (errno != EAGAIN && errno != EINTR) return error_kind(errno);
    if (const int error = wait_ready(fd_.get(), POLLIN, until); error != 0) return error_kind(error);
  }
}

std::string Connection::receive_line(std::string& line, Deadline until) {
  for (;;) {
    if (const auto end = received_.find('\n'); end != std::string::npos) {
      line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return "";
    }
    if (std::string error = receive_some(until); !error.empty()) return error;
  }
}

std::string Connection::receive_datagram(std::string& line, Attempt& answer, Deadline until) {
  char buffer[65536];
  for (;;) {
    SocketAddress from;
    const ssize_t n = ::recvfrom(fd_.get(), buffer, sizeof buffer, 0, from.raw(), &from.size);
    if (n >= 0) {
      line.assign(buffer, static_cast<std::size_t>(n));
      if (unconnected()) answer.peer = from.to_string();
      return "";
    }
    if (errno != EAGAIN && errno != EINTR) return error_kind(errno);
    if (const int error = wait_ready(fd_.get(), POLLIN, until); error != 0) return error_kind(error);
  }
}

std::string Connection::ask(Attempt& answer) {
  const Deadline until = deadline();
  std::string line;
  if (!datagrams()) {
    answer.peer = peer_address(fd_.get()).to_string();
    if (std::string error = send_all("who\n", until); !error.empty()) return error;
    if (std::string error = receive_line(line, until); !error.empty()) return error;
    return read_answer(line, answer);
  }
  std::string request = "who\n";
  request.resize(std::max<std::size_t>(request.size(), spec_.bytes), ' ');
  if (std::string error = send_all(request, until); !error.empty()) return error;
  if (!unconnected()) answer.peer = peer_address(fd_.get()).to_string();
  if (std::string error = receive_datagram(line, answer, until); !error.empty()) return error;
  if (spec_.bytes != 0 && line.size() != request.size()) return "corrupt";
  return read_answer(line, answer);
}

std::string Connection::transfer(Attempt& answer) {
  const Deadline until = deadline();
  std::string payload(spec_.bytes, ' ');
  for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = payload_byte(i);
  if (std::string error = send_all(base::cat("take ", spec_.bytes, "\n"), until); !error.empty()) return error;
  if (std::string error = send_all(payload, until); !error.empty()) return error;
  std::string line;
  if (std::string error = receive_line(line, until); !error.empty()) return error;
  if (line != "intact") return "corrupt";
  if (std::string error = send_all(base::cat("give ", spec_.bytes, "\n"), until); !error.empty()) return error;
  while (received_.size() < payload.size()) {
    if (std::string error = receive_some(until); !error.empty()) return error;
  }
  const bool intact = received_ == payload;
  received_.clear();
  return intact ? ask(answer) : "corrupt";
}

std::string Connection::provoke() {
  const Deadline until = deadline();
  if (std::string error = send_all("invalid\n", until); !error.empty()) return error;
  std::string line;
  if (std::string error = receive_line(line, until); !error.empty()) return error;
  return line == "sent" ? "" : line;
}

Attempt attempt(const ConnectSpec& spec) {
  Attempt result;
  const auto start = Clock::now();
  Connection connection(spec);
  result.error = connection.open();
  std::string first;
  for (unsigned i = 0; i < spec.requests && result.error.empty(); ++i) {
    const bool bulk = spec.bytes != 0 && spec.to.transport != Transport::Udp;
    result.error = bulk ? connection.transfer(result) : connection.ask(result);
    if (i == 0) first = result.answer;
    if (i == 0 && spec.invalid_segment && result.error.empty()) result.error = connection.provoke();
    if (result.error.empty() && result.answer != first) result.error = "another server answered";
  }
  if (!result.error.empty()) result.answer.clear();
  result.latency_us =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
  return result;
}

std::vector<Attempt> attempts(const ConnectSpec& spec) {
  std::vector<Attempt> results(spec.count);
  std::atomic<unsigned> next{0};
  const auto work = [&] {
    for (unsigned i = next++; i < spec.count; i = next++) {
      ConnectSpec own = spec;
      if (spec.source_port != 0) own.source_port = static_cast<std::uint16_t>(spec.source_port + i);
      results[i] = attempt(own);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < spec.parallel; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return results;
}

}  // namespace fairlead::testbed::probe
