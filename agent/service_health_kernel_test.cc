// Health check ports on the addresses of a node, in a namespace of the test's own.
#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "agent/http_exchange.h"
#include "agent/service_health.h"
#include "base/subprocess.h"

namespace fairlead::agent {
namespace {

void run(const std::vector<std::string>& argv) {
  const auto out = base::run_checked(argv);
  EXPECT_TRUE(out) << out.error().message();
}

void follows_addresses() {
  ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
  run({"ip", "link", "set", "lo", "up"});
  run({"ip", "address", "add", "192.0.2.7/24", "dev", "lo"});
  run({"ip", "address", "add", "198.51.100.7/24", "dev", "lo"});

  const auto loop = std::move(*base::Loop::create());
  const base::FakeClock clock;
  const Health health{clock};
  Ledger ledger{clock};
  FactBook book;
  ServiceHealth ports({.loop = *loop, .health = health, .book = book, .failed = {}});

  Work work;
  work.origin.generation = 1;
  work.all = Everything{};
  work.all->node.node_port_addresses = {*net::Prefix::parse("192.0.2.0/24"), *net::Prefix::parse("2001:db8::/32")};
  ServiceState& web = work.all->services.emplace_back();
  web.key = {"default", "web"};
  web.health_check_node_port = 30100;
  web.counts.local = 1;
  ledger.sent(work);
  book.sent(work);
  Outcome outcome;
  outcome.kind = Outcome::Kind::Replace;
  outcome.origin.generation = 1;
  ledger.done(outcome);
  ports.update(book.done(ledger));

  const auto answers = [&](const char* address) {
    return !http_exchange(*loop, *net::Ip::parse(address), 30100, "GET / HTTP/1.1").empty();
  };
  const auto soon = [&](const char* address, bool wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (answers(address) != wanted && std::chrono::steady_clock::now() < deadline) {
      loop->run_once(std::chrono::milliseconds(20));
    }
    return answers(address) == wanted;
  };
  EXPECT_TRUE(answers("192.0.2.7"));
  EXPECT_FALSE(answers("198.51.100.7")) << "not selected";
  EXPECT_FALSE(answers("127.0.0.1"));
  run({"ip", "address", "add", "192.0.2.8/24", "dev", "lo"});
  run({"ip", "address", "add", "2001:db8::7/64", "dev", "lo", "nodad"});
  EXPECT_TRUE(soon("192.0.2.8", true));
  EXPECT_TRUE(soon("2001:db8::7", true));
  run({"ip", "address", "del", "192.0.2.7/24", "dev", "lo"});  // its secondary address goes with it
  run({"ip", "address", "add", "192.0.2.9/24", "dev", "lo"});
  EXPECT_TRUE(soon("192.0.2.9", true));
  EXPECT_FALSE(answers("192.0.2.7"));
}

TEST(ServiceHealthKernel, PortsFollowTheAddressesThatAreSelected) { std::thread(follows_addresses).join(); }

}  // namespace
}  // namespace fairlead::agent
