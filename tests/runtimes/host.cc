#include "tests/runtimes/host.h"

#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "tests/datapath/probe/sockets.h"
#include "tests/datapath/process.h"
#include "tests/runtimes/machine.h"

namespace fairlead::tests::runtimes {
namespace {

using base::cat;
using testbed::probe::Deadline;
using testbed::probe::SocketAddress;
using Clock = std::chrono::steady_clock;

constexpr char kPluginDirectory[] = "/opt/cni/bin";
constexpr char kClientPath[] = "/run/client-netns";
constexpr char kUplink[] = "uplink";
constexpr int kUplinkIndex = 1000;
constexpr int kClientIndex = 2;
const testbed::Sysctls kNoAddressDetection = {{"net/ipv6/conf/all/accept_dad", "0"},
                                              {"net/ipv6/conf/default/accept_dad", "0"}};

std::string plugin_source() {
  const char* chosen = std::getenv("FAIRLEAD_CNI_PLUGINS");
  return chosen != nullptr ? chosen : testbed::program_path("cni");
}

Result<base::Fd> open_stream(const net::Ip& ip) {
  return testbed::probe::open_socket(ip.is_v4() ? AF_INET : AF_INET6, testbed::Transport::Tcp);
}

Result<std::string> read_to_end(int fd, Deadline deadline) {
  std::string text;
  for (;;) {
    if (const int failed = testbed::probe::wait_ready(fd, POLLIN, deadline); failed != 0)
      return Error::from_errno("read", failed);
    char buffer[512];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n == 0) return text;
    if (n < 0) return Error::from_errno("read", errno);
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

Result<std::string> ask_once(const net::Ip& ip, std::uint16_t port) {
  const Deadline deadline = Clock::now() + std::chrono::seconds(3);
  const base::Fd fd = TRY(open_stream(ip));
  const SocketAddress address = testbed::probe::socket_address(ip, port);
  if (::connect(fd.get(), address.raw(), address.size) != 0 && errno != EINPROGRESS)
    return Error::from_errno("connect", errno);
  if (const int failed = testbed::probe::wait_ready(fd.get(), POLLOUT, deadline); failed != 0)
    return Error::from_errno("connect", failed);
  int failed = 0;
  socklen_t size = sizeof failed;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failed, &size);
  if (failed != 0) return Error::from_errno("connect", failed);
  return std::string(base::trim(TRY(read_to_end(fd.get(), deadline))));
}

// A bridge's state follows the pods on it, and nobody chooses link-local addresses.
bool is_incidental(std::string_view word) {
  return word.empty() || word == "UP" || word == "DOWN" || word == "UNKNOWN" || word == "LOWERLAYERDOWN" ||
         word == "linkdown" || word.starts_with("fe80:");
}

// Appends each line that `command` prints and `is_ours` takes, with `head` before it.
template <typename Filter>
Status add_lines(std::vector<std::string>& out, const std::string& head, const std::vector<std::string>& command,
                 const Filter& is_ours) {
  const std::string text = TRY(base::run_checked(command));
  for (const std::string_view line : base::split(text, '\n')) {
    if (base::trim(line).empty() || !is_ours(line)) continue;
    std::string entry = head;
    for (const std::string_view word : base::split(line, ' ')) {
      if (!is_incidental(word)) entry += cat(" ", base::trim(word));
    }
    out.push_back(std::move(entry));
  }
  return {};
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

bool reference_plugins() { return std::getenv("FAIRLEAD_CNI_PLUGINS") != nullptr; }

Status install_plugins() {
  TRY(base::make_directories(kPluginDirectory));
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(plugin_source(), failed)) {
    const std::string link = cat(kPluginDirectory, "/", entry.path().filename().string());
    if (!std::filesystem::exists(std::filesystem::symlink_status(link)))
      std::filesystem::create_symlink(entry.path(), link, failed);
    if (failed) break;
  }
  if (failed) return Error(cat("plugins of ", plugin_source(), ": ", failed.message()));
  return {};
}

std::string missing_programs(const std::vector<std::string>& programs) {
  std::vector<std::string> missing;
  for (const std::string& program : programs) {
    const bool found = ::access(cat("/usr/bin/", program).c_str(), X_OK) == 0 ||
                       ::access(cat("/usr/sbin/", program).c_str(), X_OK) == 0;
    if (!found) missing.push_back(program);
  }
  return base::join(missing, " ");
}

net::Ip Outside::host(net::Family family) {
  return family == net::Family::V4 ? net::Ip::v4(192, 0, 2, 1) : *net::Ip::parse("2001:db8::1");
}

net::Ip Outside::own(net::Family family) {
  return family == net::Family::V4 ? net::Ip::v4(192, 0, 2, 2) : *net::Ip::parse("2001:db8::2");
}

Result<Outside> Outside::create() {
  TRY(testbed::set_sysctls(kNoAddressDetection));
  Outside outside(TRY(testbed::NetNamespace::create(kClientPath, kNoAddressDetection)));
  auto here = TRY(testbed::Netlink::open());
  testbed::Netlink& there = outside.netns_.netlink();
  here.set_up(1);  // loopback
  here.add_veth({.name = kUplink, .index = kUplinkIndex, .mac = {2, 0, 0, 0, 0, 1}, .netns_fd = -1},
                {.name = "eth0", .index = kClientIndex, .mac = {2, 0, 0, 0, 0, 2}, .netns_fd = outside.netns_.fd()});
  for (const auto& [family, length] : {std::pair{net::Family::V4, 24}, std::pair{net::Family::V6, 64}}) {
    here.add_address(kUplinkIndex, host(family), length);
    there.add_address(kClientIndex, own(family), length);
  }
  here.set_up(kUplinkIndex);
  TRY(here.commit());
  there.set_up(kClientIndex);
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    const net::Ip any = family == net::Family::V4 ? net::Ip::v4(0, 0, 0, 0) : net::Ip();
    there.add_route({.to = net::Prefix::of(any, 0),
                     .via = host(family),
                     .interface_index = kClientIndex,
                     .source = {},
                     .blackhole = false});
  }
  TRY(there.commit());
  return outside;
}

Outside::~Outside() {
  if (netns_.fd() < 0) return;  // moved from
  ::umount2(kClientPath, MNT_DETACH);
  ::unlink(kClientPath);
  // The pair would live as long as the namespace, which goes a little later.
  if (auto here = testbed::Netlink::open()) {
    here->delete_link(kUplinkIndex);
    (void)here->commit().has_value();
  }
}

Result<std::string> Outside::ask(const net::Ip& ip, std::uint16_t port) const {
  return testbed::value_in_namespace<std::string>(netns_.fd(), [&] { return ask_once(ip, port); });
}

Result<std::string> Outside::ask_until_answered(const net::Ip& ip, std::uint16_t port) const {
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  for (;;) {
    auto answer = ask(ip, port);
    if ((answer && !answer->empty()) || Clock::now() > deadline) return answer;
    ::usleep(20'000);
  }
}

Result<net::Ip> Outside::seen_peer(std::uint16_t port, const std::function<Status()>& work) const {
  base::Fd listener;
  const Status listening = testbed::in_namespace(netns_.fd(), [&]() -> Status {
    listener = TRY(open_stream(net::Ip()));
    const SocketAddress address = testbed::probe::socket_address(net::Ip(), port);
    if (::bind(listener.get(), address.raw(), address.size) != 0 || ::listen(listener.get(), 8) != 0)
      return Error::from_errno("listen", errno);
    return {};
  });
  TRY(listening);
  TRY(work());  // on this thread: what it starts belongs to the host's namespace
  if (const int failed = testbed::probe::wait_ready(listener.get(), POLLIN, Clock::now() + std::chrono::seconds(3));
      failed != 0)
    return Error::from_errno("accept", failed);
  const base::Fd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!peer) return Error::from_errno("accept", errno);
  return testbed::probe::peer_address(peer.get()).ip();
}

Result<std::vector<std::string>> host_state() {
  std::vector<std::string> out;
  const auto any = [](std::string_view) { return true; };
  const auto not_kernels = [](std::string_view line) {
    return !contains(line, "fe80:") && !contains(line, "ff00::/8");
  };
  TRY(add_lines(out, "address", {"ip", "-br", "address"}, any));
  for (const char* family : {"-4", "-6"})
    TRY(add_lines(out, "route", {"ip", family, "route", "show", "table", "all"}, not_kernels));
  TRY(add_lines(out, "qdisc", {"tc", "qdisc"}, [](std::string_view line) { return !contains(line, "noqueue"); }));
  TRY(add_lines(out, "nft", {"nft", "--stateless", "list", "ruleset"}, any));
  for (const char* directory : {"/var/lib/cni", "/run/fairlead", "/run/cni", "/run/netns"}) {
    std::error_code none;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, none)) {
      if (!entry.is_directory(none)) out.push_back(cat("file ", entry.path().string()));
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string difference(const std::vector<std::string>& before, const std::vector<std::string>& after) {
  std::vector<std::string> lost;
  std::vector<std::string> gained;
  std::set_difference(before.begin(), before.end(), after.begin(), after.end(), std::back_inserter(lost));
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(gained));
  std::string out;
  for (const std::string& line : lost) out += cat("- ", line, "\n");
  for (const std::string& line : gained) out += cat("+ ", line, "\n");
  return out;
}

}  // namespace fairlead::tests::runtimes
