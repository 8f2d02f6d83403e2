#include "tests/bench/exchange.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "tests/bench/rows.h"

namespace fairlead::tests::bench {
namespace {

void pin_to_last_cpu() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(std::thread::hardware_concurrency() - 1, &set);
  ::sched_setaffinity(0, sizeof set, &set);
}

sockaddr_in socket_address(const ExchangeTarget& target) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(target.port);
  address.sin_addr.s_addr = target.ip.v4_be();
  return address;
}

struct Exchange {
  double us = 0;
  char answer = 0;
};

Result<Exchange> exchange_once(const sockaddr_in& address) {
  const auto begin = std::chrono::steady_clock::now();
  base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket", errno);
  const timeval limit{.tv_sec = 2, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char byte = 'x';
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Error::from_errno("connect", errno);
  }
  if (::send(fd.get(), &byte, 1, 0) != 1) return Error::from_errno("send", errno);
  if (::recv(fd.get(), &byte, 1, 0) != 1) return Error::from_errno("recv", errno);
  fd.reset();
  const auto took = std::chrono::steady_clock::now() - begin;
  return Exchange{.us = std::chrono::duration<double, std::micro>(took).count(), .answer = byte};
}

Result<base::Fd> listen_on(std::uint16_t port) {
  base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno("socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error::from_errno("bind", errno);
  if (::listen(fd.get(), 128) != 0) return Error::from_errno("listen", errno);
  return fd;
}

}  // namespace

Result<std::vector<std::vector<double>>> time_exchanges(const std::vector<ExchangeTarget>& targets, unsigned rounds) {
  std::vector<sockaddr_in> addresses;
  for (const ExchangeTarget& target : targets) addresses.push_back(socket_address(target));
  std::vector<std::vector<double>> samples(targets.size());
  const unsigned warm_up = rounds / 10;
  for (unsigned round = 0; round < rounds + warm_up; ++round) {
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      const Exchange done = TRY_CONTEXT(exchange_once(addresses[i]), net::host_port(targets[i].ip, targets[i].port));
      if (round >= warm_up) samples[i].push_back(done.us);
    }
  }
  return samples;
}

int serve_child_main(int argc, char** argv) {
  const auto port = argc == 4 ? base::parse_number<std::uint16_t>(argv[2]) : std::nullopt;
  if (!port) return 2;
  const char answer = argv[3][0];
  pin_to_last_cpu();
  const auto listener = listen_on(*port);
  if (!listener) {
    std::fprintf(stderr, "%s\n", listener.error().message().c_str());
    return 1;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  for (;;) {
    const base::Fd connection(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    char byte = 0;
    if (connection && ::recv(connection.get(), &byte, 1, 0) == 1) ::send(connection.get(), &answer, 1, MSG_NOSIGNAL);
    if (!connection && errno != EINTR && errno != ECONNABORTED) return 1;
  }
}

int until_child_main(int argc, char** argv) {
  const auto ip = argc == 4 ? net::Ip::parse(argv[2]) : Result<net::Ip>(Error("usage"));
  const auto port = argc == 4 ? base::parse_number<std::uint16_t>(argv[3]) : std::nullopt;
  if (!ip || !port) return 2;
  const sockaddr_in address = socket_address({*ip, *port});
  char wanted[16];
  while (std::fgets(wanted, sizeof wanted, stdin) != nullptr) {
    const std::uint64_t give_up = monotonic_ns() + 10'000'000'000U;
    for (;;) {
      const auto done = exchange_once(address);
      if (done && done->answer == wanted[0]) break;
      if (monotonic_ns() > give_up) {
        std::fprintf(stderr, "%c never answered\n", wanted[0]);
        return 1;
      }
    }
    std::printf("%llu\n", static_cast<unsigned long long>(monotonic_ns()));
    std::fflush(stdout);
  }
  return 0;
}

std::uint64_t monotonic_ns() {
  const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot).count());
}

int exchange_child_main(int argc, char** argv) {
  if (argc < 5 || argc % 2 != 1) return 2;
  std::vector<ExchangeTarget> targets;
  for (int i = 3; i + 1 < argc; i += 2) {
    const auto ip = net::Ip::parse(argv[i]);
    const auto port = base::parse_number<std::uint16_t>(argv[i + 1]);
    if (!ip || !port) return 2;
    targets.push_back({*ip, *port});
  }
  pin_to_last_cpu();
  auto samples = time_exchanges(targets, base::parse_number<unsigned>(argv[2]).value_or(1));
  if (!samples) {
    std::fprintf(stderr, "%s\n", samples.error().message().c_str());
    return 1;
  }
  for (std::vector<double>& of_target : *samples) {
    const double mean =
        std::accumulate(of_target.begin(), of_target.end(), 0.0) / static_cast<double>(of_target.size());
    std::printf("%.3f %.3f %.3f\n", quantile(of_target, 0.5), quantile(of_target, 0.99), mean);
  }
  return 0;
}

}  // namespace fairlead::tests::bench
