#include "cni-plugin/nft_network_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "base/strings.h"

namespace fairlead::cni::testing {
namespace {

constexpr int kAnswerMs = 10000;
constexpr int kSilenceMs = 300;

sockaddr_in6 socket_address(const Ip& to, std::uint16_t port) {  // IPv4 as ::ffff:a.b.c.d
  sockaddr_in6 out{};
  out.sin6_family = AF_INET6;
  out.sin6_port = htons(port);
  std::memcpy(&out.sin6_addr, to.bytes().data(), sizeof out.sin6_addr);
  return out;
}

Ip ip_of(const sockaddr_in6& from) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &from.sin6_addr, bytes.size());
  return Ip::from_bytes(bytes);
}

base::Fd open_socket(int netns_fd, int type) {
  base::Fd fd;
  EXPECT_TRUE(testbed::in_namespace(netns_fd, [&]() -> Status {
    fd = base::Fd(::socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return Error::from_errno("socket", errno);
    return {};
  }));
  return fd;
}

bool ready(int fd, short what, int limit_ms) {
  pollfd poll{.fd = fd, .events = what, .revents = 0};
  return ::poll(&poll, 1, limit_ms) == 1;
}

}  // namespace

Server::Server(int netns_fd, int type, std::uint16_t port) : fd_(open_socket(netns_fd, type)) {
  const int off = 0;
  const sockaddr_in6 any = socket_address(Ip(), port);
  EXPECT_EQ(::setsockopt(fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
  EXPECT_EQ(::bind(fd(), reinterpret_cast<const sockaddr*>(&any), sizeof any), 0) << std::strerror(errno);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(fd(), 16), 0);
  }
}

testbed::NetNamespace& Network::make(const std::string& name) {
  const testbed::Sysctls sysctls{
      {"net/ipv4/ip_forward", "1"}, {"net/ipv6/conf/all/forwarding", "1"}, {"net/ipv6/conf/default/accept_dad", "0"}};
  const std::string path = base::cat("/run/fairlead-cni-nft-", ::getpid(), "-", name);
  auto made = testbed::NetNamespace::create(path, sysctls);
  ::umount2(path.c_str(), MNT_DETACH);
  ::unlink(path.c_str());
  EXPECT_TRUE(made) << made.error().message();
  return places_.emplace(name, *std::move(made)).first->second;
}

void Network::plug(const std::string& pod, int bridge, const std::string& net4, const std::string& net6, int host) {
  testbed::NetNamespace& place = make(pod);
  auto& here = places_.at("host").netlink();
  here.add_veth(
      {"v" + pod, bridge * 100 + host, {2, 0, 0, 1, 0, static_cast<std::uint8_t>(host)}},
      {"eth0", 2, {2, 0, 0, static_cast<std::uint8_t>(bridge), 0, static_cast<std::uint8_t>(host)}, place.fd()},
      bridge);
  here.set_up(bridge * 100 + host);
  auto done = here.commit();
  ASSERT_TRUE(done) << done.error().message();
  auto& there = place.netlink();
  there.set_up(2);
  for (const auto& [net, length] : {std::pair(net4, 24), {net6, 64}}) {
    there.add_address(2, ip(base::cat(net, host)), length);
    there.add_route({net::Prefix::of(net == net4 ? Ip::v4(0, 0, 0, 0) : Ip(), 0), ip(net + "1"), 2, {}, false});
  }
  done = there.commit();
  ASSERT_TRUE(done) << done.error().message();
}

void Network::SetUp() {
  testbed::NetNamespace& outside = make("outside");
  testbed::NetNamespace& host = make("host");
  auto& here = host.netlink();
  here.add_veth({"eth0", 2, {2, 0, 0, 2, 0, 1}}, {"eth0", 2, {2, 0, 0, 2, 0, 2}, outside.fd()});
  here.set_up(2);
  here.add_address(2, ip("192.0.2.1"), 24);
  here.add_address(2, ip("fd00:2::1"), 64);
  for (const int bridge : {3, 4}) {
    const std::string number = bridge == 3 ? "1" : "3";
    here.add_bridge({bridge == 3 ? "cni0" : "cni1", bridge, {2, 0, 0, 0, 0, static_cast<std::uint8_t>(bridge)}});
    here.set_up(bridge);
    here.add_address(bridge, ip("10." + number + ".0.1"), 24);
    here.add_address(bridge, ip("fd00:" + number + "::1"), 64);
  }
  auto done = here.commit();
  ASSERT_TRUE(done) << done.error().message();
  auto& there = outside.netlink();
  there.set_up(2);
  there.add_address(2, ip("192.0.2.2"), 24);
  there.add_address(2, ip("fd00:2::2"), 64);
  there.add_route({net::Prefix::of(Ip::v4(0, 0, 0, 0), 0), ip("192.0.2.1"), 2, {}, false});
  there.add_route({net::Prefix::of(Ip(), 0), ip("fd00:2::1"), 2, {}, false});
  done = there.commit();
  ASSERT_TRUE(done) << done.error().message();
  plug("a", 3, "10.1.0.", "fd00:1::", 5);
  plug("b", 3, "10.1.0.", "fd00:1::", 6);
  plug("c", 4, "10.3.0.", "fd00:3::", 5);
  // As the bridge plugin's hairpinMode: where br_netfilter is loaded, a translated frame goes back through its own
  // port.
  run_on_host("for port in va vb vc; do bridge link set dev $port hairpin on; done");
}

std::string Network::address(const std::string& place, Family family) {
  static const std::map<std::string, std::pair<std::string, std::string>> kAddresses{
      {"outside", {"192.0.2.2", "fd00:2::2"}},
      {"host", {"192.0.2.1", "fd00:2::1"}},
      {"a", {"10.1.0.5", "fd00:1::5"}},
      {"b", {"10.1.0.6", "fd00:1::6"}},
      {"c", {"10.3.0.5", "fd00:3::5"}}};
  const auto& both = kAddresses.at(place);
  return family == Family::V4 ? both.first : both.second;
}

void Network::on_host(const std::function<Status()>& work) {
  const Status status = status_on_host(work);
  ASSERT_TRUE(status) << status.error().message();
}

std::string Network::output_on_host(const std::string& command) {
  std::string out;
  on_host([&]() -> Status {
    FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return Error::from_errno(command, errno);
    std::array<char, 4096> buffer;
    for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), n);
    const int code = ::pclose(pipe);
    return code == 0 ? Status() : Error(base::cat(command, ": exit ", code, ": ", out));
  });
  return out;
}

void Network::run_on_host(const std::string& command) { output_on_host(command + " 2>&1"); }

std::string Network::seen_tcp(const Server& server, const std::string& place, const std::string& to,
                              std::uint16_t port) {
  const base::Fd client = start(place, SOCK_STREAM, to, port);
  if (!ready(server.fd(), POLLIN, kAnswerMs)) return "";
  sockaddr_in6 from{};
  socklen_t size = sizeof from;
  const base::Fd taken(::accept(server.fd(), reinterpret_cast<sockaddr*>(&from), &size));
  EXPECT_EQ(::write(taken.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_TRUE(ready(client.get(), POLLIN, kAnswerMs)) << "the answer is lost";
  EXPECT_EQ(::read(client.get(), &byte, 1), 1) << std::strerror(errno);
  return ip_of(from).to_string();
}

std::string Network::seen_udp(const Server& server, const std::string& place, const std::string& to,
                              std::uint16_t port) {
  const base::Fd client = start(place, SOCK_DGRAM, to, port);
  if (!ready(server.fd(), POLLIN, kAnswerMs)) return "";
  sockaddr_in6 from{};
  socklen_t size = sizeof from;
  char byte = 0;
  EXPECT_EQ(::recvfrom(server.fd(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size), 1);
  EXPECT_EQ(::sendto(server.fd(), &byte, 1, 0, reinterpret_cast<const sockaddr*>(&from), size), 1);
  EXPECT_TRUE(ready(client.get(), POLLIN, kAnswerMs)) << "the answer is lost";
  EXPECT_EQ(::read(client.get(), &byte, 1), 1) << std::strerror(errno);
  return ip_of(from).to_string();
}

base::Fd Network::start(const std::string& place, int type, const std::string& to, std::uint16_t port) {
  base::Fd client = open_socket(in(place), type);
  const sockaddr_in6 target = socket_address(ip(to), port);
  (void)::connect(client.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target);
  if (type == SOCK_DGRAM) {
    EXPECT_EQ(::write(client.get(), "x", 1), 1);
  }
  return client;
}

bool Network::silent_tcp(const Server& server, const std::string& place, const std::string& to, std::uint16_t port) {
  const base::Fd client = start(place, SOCK_STREAM, to, port);
  return !ready(server.fd(), POLLIN, kSilenceMs);
}

bool Network::silent_udp(const Server& server, const std::string& place, const std::string& to, std::uint16_t port) {
  const base::Fd client = start(place, SOCK_DGRAM, to, port);
  return !ready(server.fd(), POLLIN, kSilenceMs);
}

base::Fd Network::udp_client(const std::string& place) { return open_socket(in(place), SOCK_DGRAM); }

std::string Network::receiver(const base::Fd& client, const std::string& to, std::uint16_t port,
                              const std::map<std::string, const Server*>& servers, bool expected) {
  const int limit_ms = expected ? kAnswerMs : kSilenceMs;
  const sockaddr_in6 target = socket_address(ip(to), port);
  EXPECT_EQ(::sendto(client.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&target), sizeof target), 1);
  std::vector<pollfd> polls;
  for (const auto& server : servers) polls.push_back({.fd = server.second->fd(), .events = POLLIN, .revents = 0});
  if (::poll(polls.data(), polls.size(), limit_ms) <= 0) return "";
  for (const auto& [name, server] : servers) {
    char byte = 0;
    if (::recv(server->fd(), &byte, 1, 0) == 1) return name;
  }
  return "";
}

Call Network::call(const std::string& place, const std::string& config, const std::string& container) {
  Call call;
  call.verb = Verb::Add;
  call.attachment = {"net", container.empty() ? place : container, "eth0"};
  call.netns = "/none";
  call.version = "1.0.0";
  call.config = base::parse_json(config).value();
  NetResult previous;
  const std::string bridge = place == "c" ? "cni1" : "cni0";
  for (const auto& [name, sandbox] : {std::pair(bridge, ""), {"v" + place, ""}, {"eth0", "/none"}}) {
    Interface& interface = previous.interfaces.emplace_back();
    interface.name = name;
    interface.sandbox = sandbox;
  }
  previous.ips = {{2, {ip(address(place)), 24}, {}}, {2, {ip(address(place, Family::V6)), 64}, {}}};
  call.previous = previous;
  return call;
}

}  // namespace fairlead::cni::testing
