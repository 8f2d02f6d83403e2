#include "proxy/dataplane/ebpf/test_world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::ebpf::testing {
namespace {

using base::cat;
[[noreturn]] void die(const std::string& what) { throw std::runtime_error(cat(what, ": ", std::strerror(errno))); }

base::Fd new_namespace() {
  base::Fd fd;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) == 0) fd = base::Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }).join();
  if (!fd) die("unshare(CLONE_NEWNET)");
  return fd;
}

std::string cgroup2_root() {
  std::ifstream mounts("/proc/self/mounts");
  std::string device, path, type, line;
  while (std::getline(mounts, line)) {
    std::istringstream(line) >> device >> path >> type;
    if (type == "cgroup2") return path;
  }
  throw std::runtime_error("no cgroup2 mount");
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress make_address(const std::string& text, std::uint16_t port, bool v6) {
  SocketAddress out;
  if (v6) {
    auto* a = reinterpret_cast<sockaddr_in6*>(&out.storage);
    a->sin6_family = AF_INET6;
    a->sin6_port = htons(port);
    ::inet_pton(AF_INET6, text.c_str(), &a->sin6_addr);
    out.size = sizeof *a;
  } else {
    auto* a = reinterpret_cast<sockaddr_in*>(&out.storage);
    a->sin_family = AF_INET;
    a->sin_port = htons(port);
    ::inet_pton(AF_INET, text.c_str(), &a->sin_addr);
    out.size = sizeof *a;
  }
  return out;
}

std::string show(const SocketAddress& address, bool with_port) {
  char text[INET6_ADDRSTRLEN] = {};
  std::uint16_t port = 0;
  if (address.storage.ss_family == AF_INET6) {
    const auto* a = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    ::inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof text);
    port = ntohs(a->sin6_port);
  } else {
    const auto* a = reinterpret_cast<const sockaddr_in*>(&address.storage);
    ::inet_ntop(AF_INET, &a->sin_addr, text, sizeof text);
    port = ntohs(a->sin_port);
  }
  return with_port ? cat(text, "|", port) : text;
}

// One dual-stack listener for TCP and one socket for UDP. Never returns.
[[noreturn]] void serve_forever(std::uint16_t port, const std::string& name, int ready) {
  const int tcp = ::socket(AF_INET6, SOCK_STREAM, 0);
  const int udp = ::socket(AF_INET6, SOCK_DGRAM, 0);
  const int one = 1;
  ::setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  SocketAddress any = make_address("::", port, true);
  if (::bind(tcp, any.get(), any.size) != 0 || ::listen(tcp, 1024) != 0 || ::bind(udp, any.get(), any.size) != 0) {
    std::perror("test server");
    ::_exit(1);
  }
  (void)!::write(ready, "x", 1);
  for (;;) {
    std::array<pollfd, 2> fds{pollfd{tcp, POLLIN, 0}, pollfd{udp, POLLIN, 0}};
    ::poll(fds.data(), fds.size(), -1);
    SocketAddress peer;
    if ((fds[0].revents & POLLIN) != 0) {
      const int client = ::accept(tcp, peer.get(), &peer.size);
      const std::string answer = cat(name, " ", show(peer, false));
      (void)!::write(client, answer.data(), answer.size());
      ::close(client);
    }
    if ((fds[1].revents & POLLIN) != 0) {
      char buffer[8192];
      const ssize_t got = ::recvfrom(udp, buffer, sizeof buffer, 0, peer.get(), &peer.size);
      std::string answer = cat(name, " ", show(peer, false));
      if (got > static_cast<ssize_t>(answer.size())) answer.resize(static_cast<std::size_t>(got), ' ');
      ::sendto(udp, answer.data(), answer.size(), 0, peer.get(), peer.size);
    }
  }
}

}  // namespace

std::string World::address(Place place, net::Family family) {
  const bool v4 = family == net::Family::V4;
  switch (place) {
    case Place::Node: return v4 ? "192.0.2.1" : "fd00:2::1";
    case Place::Pod1: return v4 ? "10.1.0.11" : "fd00:1::11";
    case Place::Pod2: return v4 ? "10.1.0.12" : "fd00:1::12";
    case Place::Client: return v4 ? "192.0.2.10" : "fd00:2::10";
    case Place::FarPod: return v4 ? "10.2.0.21" : "fd00:3::21";
  }
  return {};
}

World::World() : home_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  if (::unshare(CLONE_NEWNS) != 0) die("unshare(CLONE_NEWNS)");
  ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  // Named as testbeds are, so that their sweep() (tests/datapath/remains.h) removes what a killed test leaves: folder
  // and cgroup. The mounts and namespaces go with the process and its children.
  std::string prefix;
  for (int n = 1; bpffs_.empty(); ++n) {
    prefix = cat("fl-", ::getpid(), "-", n);
    if (::mkdir(cat("/run/", prefix).c_str(), 0700) == 0) bpffs_ = cat("/run/", prefix);
    if (bpffs_.empty() && (errno != EEXIST || n == 1000)) die("mkdir /run/" + prefix);
  }
  if (::mount("bpf", bpffs_.c_str(), "bpf", 0, nullptr) != 0) die("mount bpffs");
  cgroup_ = cat(cgroup2_root(), "/", prefix);
  if (::mkdir(cgroup_.c_str(), 0755) != 0) die("mkdir cgroup");
  for (int i = 0; i < 5; ++i) namespaces_.push_back(new_namespace());

  const std::string settings =
      "ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 "
      "net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1";
  for (const Place place : {Place::Node, Place::Pod1, Place::Pod2, Place::Client, Place::FarPod})
    shell(place, settings);
  shell(Place::Node, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  shell(Place::Client, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  join(Place::Node, "up0", Place::Client, "eth0");
  join(Place::Node, "pod1", Place::Pod1, "eth0");
  join(Place::Node, "pod2", Place::Pod2, "eth0");
  join(Place::Client, "far0", Place::FarPod, "eth0");
  shell(Place::Node,
        "ip addr add 192.0.2.1/24 dev up0; ip addr add fd00:2::1/64 dev up0 nodad;"
        "ip route add default via 192.0.2.10; ip -6 route add default via fd00:2::10;"
        "for i in 1 2; do ip addr add 10.1.0.1/32 dev pod$i; ip addr add fd00:1::1/128 dev pod$i nodad;"
        "ip route add 10.1.0.1$i/32 dev pod$i; ip -6 route add fd00:1::1$i/128 dev pod$i; done");
  for (const auto& [place, i] : {std::pair{Place::Pod1, 1}, std::pair{Place::Pod2, 2}}) {
    shell(place, cat("ip addr add 10.1.0.1", i, "/32 dev eth0; ip addr add fd00:1::1", i, "/128 dev eth0 nodad;",
                     "ip route add 10.1.0.1 dev eth0; ip route add default via 10.1.0.1;",
                     "ip -6 route add fd00:1::1 dev eth0; ip -6 route add default via fd00:1::1 dev eth0"));
  }
  shell(Place::Client,
        "ip addr add 192.0.2.10/24 dev eth0; ip addr add fd00:2::10/64 dev eth0 nodad;"
        "ip route add default via 192.0.2.1; ip -6 route add default via fd00:2::1;"
        "ip addr add 10.2.0.1/24 dev far0; ip addr add fd00:3::1/64 dev far0 nodad");
  shell(Place::FarPod,
        "ip addr add 10.2.0.21/24 dev eth0; ip addr add fd00:3::21/64 dev eth0 nodad;"
        "ip route add default via 10.2.0.1; ip -6 route add default via fd00:3::1");
}

World::~World() {
  for (const pid_t pid : servers_) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  ::setns(home_.get(), CLONE_NEWNET);
  ::umount2(bpffs_.c_str(), MNT_DETACH);
  ::rmdir(bpffs_.c_str());
  ::rmdir(cgroup_.c_str());
}

void World::join(Place a, const std::string& name_a, Place b, const std::string& name_b) const {
  shell(a, cat("ip link add ", name_a, " type veth peer name ", name_b, " netns /proc/", ::getpid(), "/fd/", ns_fd(b),
               "; ip link set ", name_a, " up"));
  shell(b, cat("ip link set ", name_b, " up"));
}

Options World::options() const {
  Options options;
  options.instance = "t";
  options.cgroup = cgroup_;
  options.bpf_root = bpffs_;
  options.max_endpoints = 1U << 17;
  options.max_flows = 1U << 14;
  return options;
}

void World::enter(Place place) const {
  if (::setns(ns_fd(place), CLONE_NEWNET) != 0) die("setns");
}

std::string World::run(Place place, Cgroup cgroup, const std::function<std::string()>& work) const {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) die("pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter(place);
    if (cgroup == Cgroup::Inside) std::ofstream(cgroup_ + "/cgroup.procs") << ::getpid() << std::flush;
    const std::string out = work();
    (void)!::write(ends[1], out.data(), out.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string out;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    out.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? cat("signal ", WTERMSIG(status)) : out;
}

std::string World::shell(Place place, const std::string& command) const {
  const std::string out = run(place, Cgroup::Outside, [&] {
    const std::string line = cat("set -e; { ", command, "; } 2>&1");
    std::FILE* pipe = ::popen(line.c_str(), "r");
    std::string text;
    char buffer[4096];
    while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) text += buffer;
    return cat(::pclose(pipe) == 0 ? "+" : "-", text);
  });
  if (out.empty() || out[0] != '+') throw std::runtime_error(cat(command, ": ", out));
  return out.substr(1);
}

void World::serve(Place place, std::uint16_t port, const std::string& name) {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) die("pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter(place);
    serve_forever(port, name, ready[1]);
  }
  servers_.push_back(pid);
  ::close(ready[1]);
  char byte = 0;
  const bool ok = ::read(ready[0], &byte, 1) == 1;
  ::close(ready[0]);
  if (!ok) throw std::runtime_error("the test server did not start");
}

std::string ask(const Ask& what) {
  const bool v6 = what.v6_socket || what.to.find(':') != std::string::npos;
  const base::Fd fd(::socket(v6 ? AF_INET6 : AF_INET, what.udp ? SOCK_DGRAM : SOCK_STREAM, 0));
  const timeval timeout{what.timeout_ms / 1000, what.timeout_ms % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  const auto failed = [](const char* where) { return cat("error: ", where, ": ", std::strerror(errno)); };
  if (what.from_port != 0) {
    const int one = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    SocketAddress from = make_address(v6 ? "::" : "0.0.0.0", what.from_port, v6);
    if (::bind(fd.get(), from.get(), from.size) != 0) return failed("bind");
  }
  SocketAddress to = make_address(what.to, what.port, v6);
  const bool connect = !what.udp || what.connect;
  const std::string payload(what.payload_bytes, '?');
  if (connect && ::connect(fd.get(), to.get(), to.size) != 0) return failed("connect");
  if (what.udp &&
      ::sendto(fd.get(), payload.data(), payload.size(), 0, connect ? nullptr : to.get(), connect ? 0 : to.size) < 0) {
    return failed("send");
  }
  char buffer[8192];
  SocketAddress peer;
  const ssize_t got = ::recvfrom(fd.get(), buffer, sizeof buffer, 0, peer.get(), &peer.size);
  if (got < 0) return failed("receive");
  if (what.udp && static_cast<std::size_t>(got) < what.payload_bytes) return "error: short answer";
  const std::string answer(base::trim(std::string_view(buffer, static_cast<std::size_t>(got))));
  if (!what.show_peer) return answer;
  if (connect) {
    peer.size = sizeof peer.storage;
    if (::getpeername(fd.get(), peer.get(), &peer.size) != 0) return failed("getpeername");
  }
  return cat(answer, " peer=", show(peer, true));
}

}  // namespace fairlead::proxy::dataplane::ebpf::testing
