// For the kernel tests of the interface plugins: the host is a network namespace of the test's own, and so is every
// container.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <list>
#include <map>
#include <stdexcept>
#include <thread>

#include "cni-plugin/marks.h"
#include "cni-plugin/testing.h"
#include "net/netns.h"
#include "net/rtnl.h"

namespace fairlead::cni::testing {

using base::cat;
using net::Netns;
using net::Rtnl;

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The value, or the end of the test.
template <typename T>
T ok(Result<T> result) {
  if (!result) throw Failure(result.error().message());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

inline net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }

// A network namespace that lives as long as this.
struct Container {
  std::optional<Netns> netns;
  std::string path;  // for CNI_NETNS
};

inline std::optional<Netns> new_namespace() {
  std::optional<Netns> made;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    auto now = Netns::current();
    if (now) made.emplace(*std::move(now));
  }).join();
  return made;
}

inline sockaddr_storage socket_address(const net::Ip& address, std::uint16_t port, socklen_t& size) {
  sockaddr_storage out{};
  if (address.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = address.v4_be();
    size = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::copy(address.bytes().begin(), address.bytes().end(), v6.sin6_addr.s6_addr);
    size = sizeof v6;
  }
  return out;
}

inline Result<base::Fd> socket_in(const Netns* netns, net::Family family) {
  base::Fd fd;
  const auto open = [&]() -> Status {
    fd = base::Fd(::socket(family == net::Family::V4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return fd ? Status() : Error::from_errno("socket", errno);
  };
  Status opened = netns == nullptr ? open() : netns->run(open);
  TRY(std::move(opened));
  return fd;
}

// Where a client sees a server.
struct Seen {
  net::Ip address;
  std::uint16_t port = 0;
};

// A TCP handshake from one namespace (null: the thread's) to an address of another, where `seen` leads too.
inline Status connects(const Netns* from, const Netns* to, const net::Ip& address, std::uint16_t port = 0,
                       const std::optional<Seen>& seen = {}) {
  const base::Fd server = TRY(socket_in(to, address.family()));
  socklen_t size = 0;
  sockaddr_storage name = socket_address(address, port, size);
  const int on = 1;
  ::setsockopt(server.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(server.get(), reinterpret_cast<sockaddr*>(&name), size) != 0 || ::listen(server.get(), 1) != 0 ||
      ::getsockname(server.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0)
    return Error::from_errno(cat("listen at ", address.to_string()), errno);
  const base::Fd client = TRY(socket_in(from, address.family()));
  if (seen) name = socket_address(seen->address, seen->port, size);
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(client.get(), reinterpret_cast<sockaddr*>(&name), size) != 0)
    return Error::from_errno(cat("connect to ", address.to_string()), errno);
  return {};
}

class InterfaceTest : public ::testing::Test {
 protected:
  // On a host of its own.
  void run(const std::function<void(Rtnl& host)>& test) {
    std::thread([&] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
      try {
        auto host = ok(Rtnl::open());
        ok(host.order({net::change_link({.up = true, .name = "lo"})}));
        test(host);
      } catch (const Failure& failure) {
        ADD_FAILURE() << failure.what();
      }
      containers_.clear();
    }).join();
  }

  Container& container() {
    Container& made = containers_.emplace_back();
    made.netns = new_namespace();
    if (!made.netns) throw Failure("needs root");
    made.path = cat("/proc/self/fd/", made.netns->fd());
    return made;
  }

  Answer call(std::string_view verb, std::string_view plugin, const std::string& id, const std::string& netns,
              std::string_view config, std::string_view args = "") {
    const Environment environment{{"CNI_COMMAND", std::string(verb)},
                                  {"CNI_CONTAINERID", id},
                                  {"CNI_NETNS", netns},
                                  {"CNI_IFNAME", "eth0"},
                                  {"CNI_PATH", "/nowhere"},
                                  {"CNI_ARGS", std::string(args)}};
    return dispatch(
        *find_plugin(plugin), environment, [&]() -> Result<std::string> { return std::string(config); }, world_);
  }
  NetResult add(std::string_view plugin, const std::string& id, const Container& to, const std::string& config,
                std::string_view args = "") {
    const Answer answer = call("ADD", plugin, id, to.path, config, args);
    if (answer.exit_code != 0) throw Failure(cat("ADD ", id, ": ", answer.out));
    results_[id] = answer.out;
    return ok(parse_result(ok(base::parse_json(answer.out)), "1.1.0"));
  }
  // The message of an ADD that must fail.
  std::string refused(std::string_view plugin, const std::string& id, const Container& to, const std::string& config) {
    const Answer answer = call("ADD", plugin, id, to.path, config);
    EXPECT_NE(answer.exit_code, 0) << answer.out;
    return *ok(base::parse_json(answer.out))["msg"].as_string();
  }
  void del(std::string_view plugin, const std::string& id, const std::string& netns, const std::string& config) {
    const Answer answer = call("DEL", plugin, id, netns, config);
    EXPECT_EQ(answer.exit_code, 0) << answer.out;
  }
  // Empty, or what CHECK finds wrong with what the last ADD told.
  std::string check(std::string_view plugin, const std::string& id, const Container& of, const std::string& config) {
    const std::string with_previous = cat(config.substr(0, config.rfind('}')), ",\"prevResult\":", results_[id], "}");
    const Answer answer = call("CHECK", plugin, id, of.path, with_previous);
    return answer.exit_code == 0 ? "" : *ok(base::parse_json(answer.out))["msg"].as_string();
  }

  static std::vector<std::string> links(Rtnl& rtnl) {
    std::vector<std::string> names;
    for (const net::LinkInfo& link : ok(rtnl.list_links())) names.push_back(link.name);
    std::sort(names.begin(), names.end());
    return names;
  }
  static std::vector<std::string> links(const Container& of) {
    auto inside = ok(Rtnl::open(*of.netns));
    return links(inside);
  }
  // Global ones, in order.
  static std::vector<std::string> addresses(Rtnl& rtnl, const std::string& link) {
    std::vector<std::string> out;
    for (const net::AddressInfo& one : ok(rtnl.list_addresses(ok(rtnl.link(link)).index))) {
      if (one.scope == 0) out.push_back(one.address.to_string());
    }
    return out;
  }
  static std::vector<std::string> routes(Rtnl& rtnl, net::Family family) {
    std::vector<std::string> out;
    for (const net::RouteInfo& one : ok(rtnl.list_routes(family, 0))) {
      const bool of_links = one.destination.to_string() == "fe80::/64";
      if (!of_links)
        out.push_back(cat(one.destination.to_string(), one.gateway ? cat(" via ", one.gateway->to_string()) : ""));
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  static Attachment attachment(const std::string& id) { return {"pods", id, "eth0"}; }

  Folder folder_;
  World world_{folder_.path(), "11111111-2222-3333-4444-555555555555"};
  std::list<Container> containers_;
  std::map<std::string, std::string> results_;
};

using Names = std::vector<std::string>;

inline std::string config(std::string_view plugin, std::string_view keys, std::string_view addresses,
                          std::string_view routes = R"({"dst":"0.0.0.0/0"},{"dst":"::/0"})") {
  return cat(R"({"cniVersion":"1.1.0","name":"pods","type":")", plugin, "\",", keys, keys.empty() ? "" : ",",
             R"("ipam":{"type":"static","addresses":[)", addresses, R"(],"routes":[)", routes, "]}}");
}
inline std::string address(std::string_view text, std::string_view gateway = "") {
  return gateway.empty() ? cat(R"({"address":")", text, "\"}")
                         : cat(R"({"address":")", text, R"(","gateway":")", gateway, "\"}");
}
// As CRI-O's 11-crio-ipv4-bridge.conflist, but for the IPAM plugin; the last number of each address is `host`.
inline std::string crio(unsigned host,
                        std::string_view keys = R"("bridge":"cni0","isGateway":true,"hairpinMode":true)") {
  return config("bridge", keys,
                cat(address(cat("10.85.0.", host, "/16")), ",", address(cat("1100:200::", host, "/24"))));
}

}  // namespace fairlead::cni::testing
