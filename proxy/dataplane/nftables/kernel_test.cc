// The dataplane on a real kernel: connections between namespaces, and `nft` as a second opinion.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/fd.h"
#include "proxy/dataplane/nftables/kernel_fixture_test.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

TEST_F(NftablesKernel, TheProbeFindsBothFamiliesAndLeavesNothing) {
  ASSERT_OK(dataplane_->remove());
  Probe found;
  ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
    found = probe(Options());
    EXPECT_FALSE(has_traces(Options()));
    return {};
  }));
  EXPECT_TRUE(found.usable);
  EXPECT_EQ(found.reason, "nf_tables with maps, numgen, fib, nat and reject for IPv4 and IPv6");
  EXPECT_EQ(nft({"list", "tables"}), "");
}

TEST_F(NftablesKernel, EveryEndpointGetsItsShare) {
  for (Family family : kBothFamilies) {
    replace({web(family, {"pod1b", "pod1c", "pod2a"})});
    std::map<std::string, int> counts;
    for (const auto& attempt : connect("pod1a", {.to = {service_ip(family), 80, Transport::Tcp}, .count = 900})) {
      EXPECT_EQ(attempt.error, "");
      EXPECT_EQ(attempt.source, ip_of("pod1a", family).to_string());
      ++counts[attempt.answer];
    }
    // Three equal shares of 900: 300 each, standard deviation 14.
    EXPECT_EQ(counts.size(), 3U);
    for (const auto& [name, count] : counts) EXPECT_NEAR(count, 300, 75) << name;
  }
}

TEST_F(NftablesKernel, TcpAndUdpAreBalancedFromPodsAndFromTheNode) {
  for (Family family : kBothFamilies) {
    replace({web(family, {"pod2a"}), web(family, {"pod2b"}, model::Protocol::Udp)});
    for (const std::string from : {"pod1a", "node1"}) {
      const std::string seen = ip_of(from, family).to_string();
      EXPECT_EQ(ask(from, service_ip(family), 80), cat("pod2a saw ", seen));
      EXPECT_EQ(ask(from, service_ip(family), 80, Transport::Udp), cat("pod2b saw ", seen));
    }
  }
}

TEST_F(NftablesKernel, AServiceWithoutEndpointsRefusesAtOnce) {
  for (Family family : kBothFamilies) {
    replace({web(family, {}), web(family, {}, model::Protocol::Udp), exposed(family, {}, true)});
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), "refused");
    EXPECT_EQ(ask("pod1a", service_ip(family), 80, Transport::Udp), "refused");
    EXPECT_EQ(ask("node1", service_ip(family), 80), "refused");
    EXPECT_EQ(ask("node1", service_ip(family), 80, Transport::Udp), "refused");
    EXPECT_EQ(ask("client", ip_of("node1", family), 30080), "refused");
    // It comes to life, and dies again.
    replace({web(family, {"pod2a"})});
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), cat("pod2a saw ", ip_of("pod1a", family).to_string()));
    replace({web(family, {})});
    EXPECT_EQ(ask("pod1a", service_ip(family), 80), "refused");
  }
}

TEST_F(NftablesKernel, AFrontendThatDropsIsSilent) {
  auto silent = web(Family::V4, {});
  silent.ports[0].frontends[0].when_empty = model::WhenEmpty::Drop;
  replace({silent});
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80), "timeout");
}

TEST_F(NftablesKernel, ANodePortShowsTheNodesAddressWhenMasquerading) {
  for (Family family : kBothFamilies) {
    const net::Ip node = ip_of("node1", family);
    replace({exposed(family, {"pod2a"}, true)});
    EXPECT_EQ(ask("client", node, 30080), cat("pod2a saw ", node.to_string()));
    EXPECT_EQ(ask("pod1a", node, 30080), cat("pod2a saw ", node.to_string()));
    EXPECT_EQ(ask("node1", node, 30080), cat("pod2a saw ", node.to_string()));
    replace({exposed(family, {"pod1a"}, false)});
    EXPECT_EQ(ask("client", node, 30080), cat("pod1a saw ", ip_of("client", family).to_string()));
  }
}

TEST_F(NftablesKernel, ANodePortIsNotServedOnLoopback) {
  for (Family family : kBothFamilies) {
    replace({exposed(family, {"pod2a"}, true)});
    EXPECT_EQ(ask("node1", ip(family == Family::V4 ? "127.0.0.1" : "::1"), 30080), "refused");
  }
}

TEST_F(NftablesKernel, APodReachesItselfThroughItsService) {
  for (Family family : kBothFamilies) {
    replace({web(family, {"pod1a"}), web(family, {"pod1a"}, model::Protocol::Udp)});
    const std::string answer = ask("pod1a", service_ip(family), 80);
    EXPECT_EQ(answer.substr(0, 10), "pod1a saw ");
    EXPECT_NE(answer, cat("pod1a saw ", ip_of("pod1a", family).to_string()));
    EXPECT_EQ(ask("pod1a", service_ip(family), 80, Transport::Udp).substr(0, 10), "pod1a saw ");
  }
}

TEST_F(NftablesKernel, NftListsWhatWasWritten) {
  replace({web(Family::V4, {"pod1b", "pod2a"}), exposed(Family::V4, {}, true)});
  const std::string listing = nft({"list", "table", "ip", "fairlead"});
  for (const std::string line :
       {"10.96.0.1 . tcp . 80 : 0x00000002", "10.96.0.1 . tcp . 80 . 0x00000001 : 10.244.2.10 . 8080",
        "tcp . 30080 : 0x10000000", "10.244.1.11 . 10.244.1.11", "0x00000002 : goto n2", "fully-random"}) {
    EXPECT_NE(listing.find(line), std::string::npos) << line << " in\n" << listing;
  }
  EXPECT_NE(nft({"list", "ruleset"}).find("table ip6 fairlead"), std::string::npos);
}

TEST_F(NftablesKernel, TheDumpVerbReadsTheKernelItself) {
  const auto dump = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {testbed::program_path("fairleadctl"), "dump", "nftables"});
    auto output = bed_->run("node1", arguments);
    EXPECT_OK(output);
    return output ? cat(output->exit_code, "\n", output->out, output->err) : "";
  };
  replace({web(Family::V4, {"pod2a"}), exposed(Family::V6, {}, true)});
  const std::string both = dump({});
  EXPECT_EQ(both.substr(0, 34), "0\ntable ip fairlead: 1 frontend\n\n1");
  EXPECT_NE(both.find("10.244.2.10:8080"), std::string::npos) << both;
  EXPECT_EQ(dump({"--family", "ipv6"}).substr(0, 32), "0\ntable ip6 fairlead: 1 frontend");
  EXPECT_EQ(dump({"--instance", "other"}).substr(0, 65),
            "1\nerror: this network namespace has no table \"other\"\nhint: run it");
}

TEST_F(NftablesKernel, ARestartWritesNothing) {
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod1b", "pod2a"}), exposed(Family::V6, {}, true),
                                                  web(Family::V6, {"pod1a"}, model::Protocol::Udp)};
  replace(services);
  const std::string before = dump_text(*dataplane_);
  start();
  EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U);
  EXPECT_EQ(dump_text(*dataplane_), before);
}

TEST_F(NftablesKernel, OwnChangesDoNotWakeUs) {
  replace({web(Family::V4, {"pod1b", "pod2a"})});
  EXPECT_TRUE(dataplane_->apply({{web(Family::V4, {"pod1b"})}, {}}).ok());
  EXPECT_FALSE(notified(50));
  nft({"add", "table", "ip", "theirs"});
  EXPECT_TRUE(notified(5000));
  EXPECT_EQ(dataplane_->handle_notification().kernel_writes, 0U);
  EXPECT_FALSE(notified(0));
  nft({"delete", "table", "ip", "theirs"});
}

TEST_F(NftablesKernel, WhatSomebodyElseBreaksIsRepaired) {
  auto restricted = exposed(Family::V4, {}, true);
  restricted.ports[0].frontends[0].restricted = true;
  restricted.ports[0].frontends[0].pool = model::Pool::Local;
  restricted.ports[0].frontends[0].short_circuit = true;
  restricted.ports[0].cluster_endpoints = at({"pod2a"}, Family::V4);
  restricted.ports[0].allowed_sources = {prefix("10.244.0.0/16")};
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod1b", "pod2a"}), restricted};
  const std::vector<std::vector<std::string>> attacks{
      {"flush", "ruleset"},
      {"delete", "table", "ip", "fairlead"},
      {"flush", "chain", "ip", "fairlead", "n2"},
      {"flush", "map", "ip", "fairlead", "endpoints"},
      {"delete", "element", "ip", "fairlead", "services", "{ 10.96.0.1 . tcp . 80 }"},
      {"insert", "rule", "ip", "fairlead", "nat_prerouting", "counter", "accept"},
      {"flush", "set", "ip", "fairlead", "hairpin"},
      {"flush", "set", "ip", "fairlead", "cluster_ips"},
      {"flush", "set", "ip", "fairlead", "restricted"},
      {"flush", "set", "ip", "fairlead", "ranges"},
      {"flush", "map", "ip", "fairlead", "externals"},
      {"flush", "chain", "ip", "fairlead", "strangers"},
      {"flush", "chain", "ip", "fairlead", "n1_nodeport_short"},
      {"flush", "chain", "ip", "fairlead", "restricted_nodeports"},
  };
  replace(services);
  const std::string before = dump_text(*dataplane_);
  for (const auto& attack : attacks) {
    nft(attack);
    ASSERT_TRUE(notified(5000)) << base::join(attack, " ");
    const Report report = dataplane_->handle_notification();
    EXPECT_TRUE(report.ok());
    EXPECT_GT(report.kernel_writes, 0U) << base::join(attack, " ");
    EXPECT_EQ(dump_text(*dataplane_), before);
    EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 3), "pod");
    EXPECT_FALSE(notified(0));
    EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U) << base::join(attack, " ");
  }
  nft({"flush", "ruleset"});  // noticed by a change instead
  EXPECT_TRUE(dataplane_->apply({{web(Family::V4, {"pod1b"})}, {}}).ok());
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod1b");
}

TEST_F(NftablesKernel, ReplacingTheTableLosesNoConnection) {
  const std::vector<model::ServiceState> services{web(Family::V4, {"pod1b", "pod2a"})};
  replace(services);
  const testbed::Target to{service_ip(Family::V4), 80, Transport::Tcp};
  auto fresh = bed_->start_load("pod1a", {.to = to, .parallel = 2, .rate = 1000, .report_every_ms = 20});
  ASSERT_OK(fresh);
  auto lasting =
      bed_->start_load("pod1a", {.to = to, .long_lived = true, .parallel = 2, .rate = 200, .report_every_ms = 20});
  ASSERT_OK(lasting);
  for (int i = 0; i < 20; ++i) {
    nft({"add", "chain", "ip", "fairlead", cat("theirs", i)});
    ASSERT_TRUE(notified(5000));
    EXPECT_GT(dataplane_->handle_notification().kernel_writes, 0U);
    for (auto* load : {&*fresh, &*lasting}) ASSERT_OK((*load)->next_report(std::chrono::seconds(30)));
  }
  for (auto* load : {&*fresh, &*lasting}) {
    const auto counts = (*load)->stop();
    ASSERT_OK(counts);
    EXPECT_EQ(counts->failed(), 0U) << *counts;
    EXPECT_GT(counts->answered, 20U);
  }
}

TEST_F(NftablesKernel, TenThousandServicesAreWrittenAdoptedAndChanged) {
  std::vector<model::ServiceState> services;
  for (int i = 0; i < 10000; ++i) {
    auto endpoints = std::vector<model::Endpoint>();
    for (int e = 0; e < 10; ++e) {
      endpoints.push_back({.address = net::Ip::v4(10, 200, static_cast<std::uint8_t>(i >> 4 & 255),
                                                  static_cast<std::uint8_t>((i & 15) * 10 + e)),
                           .port = static_cast<std::uint16_t>(1000 + (i >> 12))});
    }
    services.push_back(service(cat("s", i), {cluster_ip(cat("10.97.", i >> 8, ".", i & 255), 80)}, endpoints));
  }
  services.push_back(web(Family::V4, {"pod2a"}));
  replace(services);
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod2a");
  start();
  EXPECT_EQ(dataplane_->replace({}, services).kernel_writes, 0U);
  EXPECT_EQ(dataplane_->apply({{web(Family::V4, {"pod2b"})}, {}}).kernel_writes, 2U);
  EXPECT_EQ(ask("pod1a", service_ip(Family::V4), 80).substr(0, 5), "pod2b");
}

// A connection through the service, with the server's end in our hands.
class Connection {
 public:
  // Listens in the calling thread's namespace.
  Status listen(std::uint16_t port) {
    listener_ = base::Fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in6 any = address(net::Ip(), port);
    if (::bind(listener_.get(), as_any(any), sizeof any) < 0 || ::listen(listener_.get(), 1) < 0) {
      return Error::from_errno("listen", errno);
    }
    return {};
  }
  Status connect(const net::Ip& to, std::uint16_t port) {
    client_ = base::Fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in6 there = address(to, port);
    if (::connect(client_.get(), as_any(there), sizeof there) < 0) return Error::from_errno("connect", errno);
    server_ = base::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return server_ ? Status() : Error::from_errno("accept", errno);
  }
  // From the server's namespace, a segment far beyond the window. (One before it is let through since linux v6.1.)
  Status send_stray() const {
    std::array<sockaddr_in6, 2> ends{};  // server, client
    socklen_t size = sizeof ends[0];
    ::getsockname(server_.get(), reinterpret_cast<sockaddr*>(&ends[0]), &size);
    ::getpeername(server_.get(), reinterpret_cast<sockaddr*>(&ends[1]), &size);
    tcphdr header{};
    header.source = ends[0].sin6_port;
    header.dest = ends[1].sin6_port;
    header.seq = htonl(sequence(TCP_SEND_QUEUE) + 100'000'000);
    header.ack_seq = htonl(sequence(TCP_RECV_QUEUE));
    header.doff = sizeof header / 4;
    header.ack = 1;
    header.window = 0xffff;
    header.check = checksum(ends, header);
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&ends[0].sin6_addr);
    const base::Fd raw(::socket(mapped ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP));
    sockaddr_in6 to6 = ends[1];
    to6.sin6_port = 0;
    sockaddr_in to4{};
    to4.sin_family = AF_INET;
    std::memcpy(&to4.sin_addr, ends[1].sin6_addr.s6_addr + 12, 4);
    const auto* to = mapped ? reinterpret_cast<const sockaddr*>(&to4) : as_any(to6);
    const socklen_t to_size = mapped ? sizeof to4 : sizeof to6;
    if (::sendto(raw.get(), &header, sizeof header, 0, to, to_size) < 0) return Error::from_errno("sendto", errno);
    return {};
  }
  // One byte from the client: "arrived", or what the server's end says instead.
  std::string say() const {
    char byte = 'x';
    if (::send(client_.get(), &byte, 1, MSG_NOSIGNAL) < 0) return "client cannot send";
    pollfd wait{.fd = server_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, 10000) <= 0) return "silence";
    return ::recv(server_.get(), &byte, 1, 0) == 1 ? "arrived" : std::strerror(errno);
  }

 private:
  static sockaddr_in6 address(const net::Ip& ip, std::uint16_t port) {
    sockaddr_in6 out{};
    out.sin6_family = AF_INET6;
    out.sin6_port = htons(port);
    std::memcpy(&out.sin6_addr, ip.bytes().data(), 16);  // an IPv4 address is mapped there as well
    return out;
  }
  static const sockaddr* as_any(const sockaddr_in6& a) { return reinterpret_cast<const sockaddr*>(&a); }
  std::uint32_t sequence(int queue) const {
    const int on = TCP_REPAIR_ON;
    const int off = TCP_REPAIR_OFF_NO_WP;
    std::uint32_t number = 0;
    socklen_t size = sizeof number;
    ::setsockopt(server_.get(), IPPROTO_TCP, TCP_REPAIR, &on, sizeof on);
    ::setsockopt(server_.get(), IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof queue);
    ::getsockopt(server_.get(), IPPROTO_TCP, TCP_QUEUE_SEQ, &number, &size);
    ::setsockopt(server_.get(), IPPROTO_TCP, TCP_REPAIR, &off, sizeof off);
    return number;
  }
  // RFC 9293 3.1. Of a mapped address the words before the last two add up to 0xffff, which is zero here too.
  static std::uint16_t checksum(const std::array<sockaddr_in6, 2>& ends, const tcphdr& header) {
    std::uint32_t sum = htons(IPPROTO_TCP) + htons(sizeof header);
    const auto add = [&](const void* bytes, std::size_t size) {
      for (std::size_t i = 0; i < size; i += 2) {
        std::uint16_t word = 0;
        std::memcpy(&word, static_cast<const char*>(bytes) + i, sizeof word);
        sum += word;
      }
    };
    for (const sockaddr_in6& end : ends) add(&end.sin6_addr, 16);
    add(&header, sizeof header);
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
  }

  base::Fd listener_;
  base::Fd client_;
  base::Fd server_;
};

// kubernetes#74839: a segment that conntrack finds invalid is not translated back; the client's host resets a
// connection it does not know, and the server believes it.
TEST_F(NftablesKernel, AStraySegmentOfTheServerDoesNotResetTheConnection) {
  std::uint16_t port = 9090;  // a port that was repaired does not come free at once
  for (const bool drop_invalid : {true, false}) {
    for (Family family : kBothFamilies) {
      ++port;
      ASSERT_OK(dataplane_->remove());
      ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
        dataplane_ =
            make(TRY(net::nft::open_netlink()), Options(), {Family::V4, Family::V6}, {.drop_invalid = drop_invalid});
        return {};
      }));
      auto boom = web(family, {"pod2a"});
      boom.ports[0].cluster_endpoints[0].port = port;
      replace({boom});
      Connection connection;
      ASSERT_OK(bed_->run_in("pod2a", [&] { return connection.listen(port); }));
      ASSERT_OK(bed_->run_in("pod1a", [&] { return connection.connect(service_ip(family), 80); }));
      EXPECT_EQ(connection.say(), "arrived");
      ASSERT_OK(bed_->run_in("pod2a", [&] { return connection.send_stray(); }));
      EXPECT_EQ(connection.say(), drop_invalid ? "arrived" : "Connection reset by peer");
    }
  }
}

TEST_F(NftablesKernel, InvalidPacketsPassWhereConntrackIsToldToBeLiberal) {
  const auto forward = [] { return nft({"list", "chain", "ip", "fairlead", "filter_forward"}); };
  const auto be_liberal = [](const char* value) {
    return bed_->run_in("node1", [&] {
      return testbed::set_sysctls({{"net/netfilter/nf_conntrack_tcp_be_liberal", value}});
    });
  };
  replace({});
  EXPECT_NE(forward().find("ct state invalid drop"), std::string::npos) << forward();
  ASSERT_OK(be_liberal("1"));
  start();
  replace({});
  EXPECT_EQ(forward().find("invalid"), std::string::npos) << forward();
  ASSERT_OK(be_liberal("0"));
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
