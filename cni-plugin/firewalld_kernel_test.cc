// The firewall plugin on a host whose firewalld runs: a real one, with a bus of its own, in a network namespace.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "base/strings.h"
#include "cni-plugin/firewall.h"
#include "cni-plugin/nft_network_test.h"
#include "tests/cni/firewalld.h"

namespace fairlead::cni::testing {
namespace {

using base::cat;

class CniFirewalld : public Network {
 protected:
  void SetUp() override {
    if (const std::string missing = cnitest::Firewalld::missing(); !missing.empty())
      GTEST_SKIP() << missing << " is not installed (CI=true ./dev test does that)";
    Network::SetUp();
    auto made = cnitest::Firewalld::create({"nsenter", cat("--net=/proc/", ::getpid(), "/fd/", in("host"))});
    ASSERT_TRUE(made) << made.error().message();
    firewalld_.emplace(*std::move(made));
    ::setenv("DBUS_SYSTEM_BUS_ADDRESS", cat("unix:path=", firewalld_->socket()).c_str(), 1);
  }
  void TearDown() override { ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS"); }

  void start_firewalld() { succeeded(firewalld_->start()); }
  static void succeeded(const Status& status) { ASSERT_TRUE(status) << status.error().message(); }
  // None when it is in no zone.
  std::optional<std::string> zone_of(const std::string& source) {
    const auto zone = firewalld_->zone_of(source);
    return zone ? *zone : zone.error().message();
  }
  void add(const Call& call) {
    on_host([&]() -> Status {
      TRY(kFirewall.add(call, {}));
      return {};
    });
  }
  std::string refused(const Call& call) {
    const Status done = status_on_host([&]() -> Status {
      TRY(kFirewall.add(call, {}));
      return {};
    });
    return done ? "" : done.error().message();
  }

  std::optional<cnitest::Firewalld> firewalld_;
};

TEST_F(CniFirewalld, APodIsASourceOfAZoneForAsLongAsItLives) {
  start_firewalld();
  const Server outside(in("outside"), SOCK_STREAM, 9000);
  EXPECT_TRUE(silent_tcp(outside, "a", "192.0.2.2", 9000)) << "firewalld rejects what it does not know";
  const Call a = call("a", R"({"type": "firewall"})");
  add(a);
  EXPECT_EQ(zone_of("10.1.0.5/32"), "trusted");
  EXPECT_EQ(zone_of("fd00:1::5/128"), "trusted");
  EXPECT_EQ(seen_tcp(outside, "a", "192.0.2.2", 9000), "10.1.0.5");
  EXPECT_EQ(seen_tcp(outside, "a", "fd00:2::2", 9000), "fd00:1::5");
  EXPECT_TRUE(silent_tcp(outside, "b", "192.0.2.2", 9000));
  add(a);  // once more is no error
  on_host([&] { return kFirewall.check(a, {}); });
  // DEL without prevResult and configuration: the elements say which addresses it had.
  Call bare = a;
  bare.previous.reset();
  bare.config = base::parse_json(R"({"type": "firewall"})").value();
  on_host([&] { return kFirewall.del(bare, {}); });
  EXPECT_EQ(zone_of("10.1.0.5/32"), std::nullopt);
  EXPECT_EQ(zone_of("fd00:1::5/128"), std::nullopt);
  EXPECT_FALSE(status_on_host([&] { return kFirewall.check(a, {}); }));
  on_host([&] { return kFirewall.del(bare, {}); });
}

TEST_F(CniFirewalld, TheZoneIsTheConfigurationsAndErrorsAreFirewalldsWords) {
  start_firewalld();
  add(call("a", R"({"type": "firewall", "backend": "firewalld", "firewalldZone": "internal"})"));
  EXPECT_EQ(zone_of("10.1.0.5/32"), "internal");
  EXPECT_EQ(refused(call("b", R"({"type": "firewall", "firewalldZone": "nowhere"})")),
            "firewalld: 10.1.0.6/32: INVALID_ZONE: nowhere");
  add(call("b", R"({"type": "firewall", "backend": "iptables"})"));
  EXPECT_EQ(zone_of("10.1.0.6/32"), std::nullopt);
}

TEST_F(CniFirewalld, WithoutOneOnlyWhoAsksForItIsRefused) {
  EXPECT_EQ(refused(call("a", R"({"type": "firewall", "backend": "firewalld"})")),
            "backend: firewalld does not run here");
  succeeded(firewalld_->start_bus());
  EXPECT_EQ(refused(call("a", R"({"type": "firewall", "backend": "firewalld"})")),
            "backend: firewalld does not run here");
  add(call("a", R"({"type": "firewall", "backend": "auto"})"));
  on_host([&] { return kFirewall.del(call("a", R"({"type": "firewall", "backend": "firewalld"})"), {}); });
}

}  // namespace
}  // namespace fairlead::cni::testing
