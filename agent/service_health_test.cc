#include "agent/service_health.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "agent/http_exchange.h"
#include "agent/process_stats.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using base::cat;
using net::Ip;
using net::Prefix;

const Key kWeb{"default", "web"};
const Key kOther{"shop", "other"};
const Ip kLocalhost = Ip::v4(127, 0, 0, 1);

std::vector<Prefix> prefixes(std::initializer_list<const char*> texts) {
  std::vector<Prefix> out;
  for (const char* text : texts) out.push_back(*Prefix::parse(text));
  return out;
}
Ip ip(const char* text) { return *Ip::parse(text); }

// What a node has; loopback addresses and one that needs an interface beside it are never taken.
const std::vector<Ip> kNode = {ip("127.0.0.1"),   ip("::1"),     ip("192.0.2.7"), ip("10.0.0.7"),
                               ip("2001:db8::7"), ip("fd00::7"), ip("fe80::7")};

TEST(HealthAddresses, OneSocketTakesBothFamiliesUnlessAddressesAreSelected) {
  EXPECT_EQ(health_addresses(prefixes({"0.0.0.0/0", "::/0"}), kNode),
            (std::vector<HealthAddress>{{Ip(), OnAnyV6::Both}}));
}

TEST(HealthAddresses, AFamilyThatIsSelectedHasASocketPerAddressInside) {
  EXPECT_EQ(health_addresses(prefixes({"192.0.2.0/24", "::/0"}), kNode),
            (std::vector<HealthAddress>{{Ip(), OnAnyV6::V6Only}, {ip("192.0.2.7"), OnAnyV6::V6Only}}));
  EXPECT_EQ(health_addresses(prefixes({"0.0.0.0/0", "fd00::/8", "fe80::/10"}), kNode),
            (std::vector<HealthAddress>{{Ip::v4(0, 0, 0, 0), OnAnyV6::V6Only}, {ip("fd00::7"), OnAnyV6::V6Only}}));
}

TEST(HealthAddresses, LoopbackIsNeverSelected) {
  EXPECT_EQ(health_addresses(prefixes({"127.0.0.0/8", "::1/128"}), kNode), std::vector<HealthAddress>());
}

TEST(HealthAnswer, IsKubeProxysToTheByte) {
  const HttpResponse answer = health_answer(kWeb, 2, true);
  EXPECT_EQ(answer.code, 200);
  EXPECT_EQ(answer.content_type, "application/json");
  EXPECT_EQ(answer.body,
            "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n"
            "\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}");
  EXPECT_EQ(answer.headers,
            (std::vector<std::pair<std::string, std::string>>{{"X-Load-Balancing-Endpoint-Weight", "2"}}));
}

TEST(HealthAnswer, NeedsAnEndpointAndAHealthyProxy) {
  EXPECT_EQ(health_answer(kWeb, 0, true).code, 503);
  EXPECT_EQ(health_answer(kWeb, 1, false).code, 503);
  EXPECT_EQ(health_answer(kWeb, 1, true).code, 200);
}

class ServiceHealthTest : public testing::Test {
 protected:
  std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());
  base::FakeClock clock;
  Health health{clock};
  Ledger ledger{clock};
  FactBook book;
  std::vector<std::string> failed;
  ServiceHealth ports{
      {.loop = *loop,
       .health = health,
       .book = book,
       .failed = [this](const Key& service, std::uint16_t, const Error&) { failed.push_back(service.to_string()); }}};
  std::uint64_t generation = 0;

  static ServiceState state(const Key& key, std::uint16_t port, std::uint32_t local) {
    ServiceState out;
    out.key = key;
    out.health_check_node_port = port;
    out.counts.local = local;
    return out;
  }
  // These are all the services, and the kernel has them.
  void apply(std::vector<ServiceState> services, const NodeState& node = {}) {
    Work work;
    work.origin.generation = ++generation;
    work.all = Everything{.node = node, .services = std::move(services)};
    ledger.sent(work);
    book.sent(work);
    Outcome outcome;
    outcome.kind = Outcome::Kind::Replace;
    outcome.origin.generation = generation;
    ledger.done(outcome);
    ports.update(book.done(ledger));
  }
  std::string get(std::uint16_t port, const std::string& line = "GET / HTTP/1.1", const Ip& at = kLocalhost) {
    return http_exchange(*loop, at, port, line);
  }
  // Nobody else on this machine is likely to have it; ephemeral ports begin above.
  static std::uint16_t free_port() {
    static std::uint16_t next = static_cast<std::uint16_t>(20000 + ::getpid() % 4000);
    for (;; ++next) {
      const base::Fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in6 any{};
      any.sin6_family = AF_INET6;
      any.sin6_port = htons(next);
      if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0) return next++;
    }
  }
};

TEST_F(ServiceHealthTest, AnswersAnyPathAndMethodInBothFamilies) {
  const std::uint16_t port = free_port();
  apply({state(kWeb, port, 1)});
  for (const char* line : {"GET /healthz HTTP/1.1", "GET /any/other?x=1 HTTP/1.1", "POST / HTTP/1.1"}) {
    const std::string answer = get(port, line);
    EXPECT_EQ(answer.substr(0, 15), "HTTP/1.1 200 OK") << line;
    EXPECT_TRUE(answer.ends_with("true\n}")) << answer;
    EXPECT_NE(answer.find("X-Content-Type-Options: nosniff\r\n"), answer.npos);
    EXPECT_NE(answer.find("X-Load-Balancing-Endpoint-Weight: 1\r\n"), answer.npos);
  }
  EXPECT_EQ(get(port, "GET / HTTP/1.1", ip("::1")).substr(0, 12), "HTTP/1.1 200");
}

TEST_F(ServiceHealthTest, TheAnswerFollowsEndpointsAndHealth) {
  const std::uint16_t port = free_port();
  apply({state(kWeb, port, 1)});
  EXPECT_EQ(get(port).substr(9, 3), "200");
  apply({state(kWeb, port, 0)});
  EXPECT_EQ(get(port).substr(9, 3), "503");
  apply({state(kWeb, port, 1)});
  health.queued();
  clock.advance(60s);
  EXPECT_EQ(get(port).substr(9, 3), "503") << "the dataplane does not keep up";
}

TEST_F(ServiceHealthTest, AnotherPortClosesTheOldOneAndAServiceThatIsGoneHasNone) {
  const std::uint16_t first = free_port();
  const std::uint16_t second = free_port();
  apply({state(kWeb, first, 1)});
  apply({state(kWeb, second, 1)});
  EXPECT_EQ(get(first), "");
  EXPECT_EQ(get(second).substr(9, 3), "200");
  apply({});
  EXPECT_EQ(get(second), "");
  EXPECT_TRUE(ports.ports().empty());
}

TEST_F(ServiceHealthTest, TwoServicesMaySwapTheirPorts) {
  const std::uint16_t first = free_port();
  const std::uint16_t second = free_port();
  apply({state(kWeb, first, 1), state(kOther, second, 1)});
  apply({state(kWeb, second, 1), state(kOther, first, 1)});
  EXPECT_NE(get(first).find("other"), std::string::npos);
  EXPECT_NE(get(second).find("web"), std::string::npos);
  EXPECT_TRUE(failed.empty());
}

TEST_F(ServiceHealthTest, APortThatIsTakenIsToldOnceAndTriedAgainWithTheNextChange) {
  const std::uint16_t port = free_port();
  auto other = HttpServer::listen_tcp(*loop, kLocalhost, port, {});
  ASSERT_TRUE(other) << other.error().message();
  apply({state(kWeb, port, 1)});
  apply({state(kWeb, port, 2)});
  EXPECT_EQ(failed, std::vector<std::string>{"default/web"});
  EXPECT_NE(ports.ports().at(kWeb).error.find("Address already in use"), std::string::npos);
  other->reset();
  apply({state(kWeb, port, 3)});
  EXPECT_EQ(get(port).substr(9, 3), "200");
  EXPECT_EQ(ports.ports().at(kWeb).error, "");
}

TEST_F(ServiceHealthTest, AnotherPortThatIsTakenIsToldAnew) {
  const std::uint16_t first = free_port();
  const std::uint16_t second = free_port();
  const auto one = HttpServer::listen_tcp(*loop, kLocalhost, first, {});
  const auto two = HttpServer::listen_tcp(*loop, kLocalhost, second, {});
  apply({state(kWeb, first, 1)});
  apply({state(kWeb, second, 1)});
  EXPECT_EQ(failed.size(), 2U);
}

TEST_F(ServiceHealthTest, SelectedAddressesAreTheOnlyOnesAndFollowTheNodesState) {
  const std::uint16_t port = free_port();
  apply({state(kWeb, port, 1)});
  NodeState none;
  none.node_port_addresses = prefixes({"192.0.2.0/24", "2001:db8::/32"});  // this node has no such address
  apply({state(kWeb, port, 1)}, none);
  EXPECT_EQ(get(port), "");
  apply({state(kWeb, port, 1)});
  EXPECT_EQ(get(port).substr(9, 3), "200");
}

TEST_F(ServiceHealthTest, AThousandPortsCostADescriptorAndSomeKilobytesEach) {
  constexpr std::uint16_t kCount = 1000;
  std::vector<ServiceState> services;
  for (std::uint16_t i = 0; i < kCount; ++i) services.push_back(state({"default", cat("s", i)}, free_port(), 1));
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const ProcessStats before = process_stats();
  const auto start = std::chrono::steady_clock::now();
  apply(services);
  const auto opened = std::chrono::steady_clock::now();
  services[500].counts.local = 2;
  apply(services);
  const ProcessStats after = process_stats();
  EXPECT_LE(after.open_descriptors - before.open_descriptors, kCount);
  EXPECT_LE(after.resident_bytes - before.resident_bytes, std::uint64_t{8} << 20);
  EXPECT_NE(get(services[500].health_check_node_port).find("\"localEndpoints\": 2"), std::string::npos);
  std::cout << kCount << " ports: " << std::chrono::duration<double, std::milli>(opened - start).count() << " ms, "
            << (after.resident_bytes - before.resident_bytes) / kCount << " bytes each\n";
}

}  // namespace
}  // namespace fairlead::agent
