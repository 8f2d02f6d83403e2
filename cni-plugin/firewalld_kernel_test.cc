// The firewall plugin on a host whose firewalld runs: a real one, with a bus of its own, in a network namespace.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/strings.h"
#include "cni-plugin/firewall.h"
#include "cni-plugin/nft_network_test.h"
#include "net/dbus.h"

namespace fairlead::cni::testing {
namespace {

using base::cat;

class CniFirewalld : public Network {
 protected:
  void SetUp() override {
    if (::access("/usr/sbin/firewalld", X_OK) != 0 || ::access("/usr/bin/dbus-daemon", X_OK) != 0)
      GTEST_SKIP() << "firewalld and dbus-daemon are not installed (CI=true ./dev test does that)";
    Network::SetUp();
    std::filesystem::create_directories(folder_ + "/config");
    std::ofstream(folder_ + "/bus.conf")
        << "<busconfig><type>system</type><listen>unix:path=" << socket() << "</listen><auth>EXTERNAL</auth>"
        << "<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>"
        << "<allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>";
    ::setenv("DBUS_SYSTEM_BUS_ADDRESS", cat("unix:path=", socket()).c_str(), 1);
    ::setenv("XTABLES_LOCKFILE", cat(folder_, "/lock").c_str(), 1);
  }
  void TearDown() override {
    for (const pid_t pid : daemons_) ::kill(pid, SIGTERM);
    ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    ::unsetenv("XTABLES_LOCKFILE");
    std::filesystem::remove_all(folder_);
  }
  // Ends by itself, should the test not.
  void start(const std::string& command) {
    const std::string pid =
        output_on_host(cat("timeout 60 ", command, " >", folder_, "/log 2>&1 </dev/null & echo $!"));
    daemons_.push_back(base::parse_number<pid_t>(base::trim(pid)).value());
  }
  void start_bus() {
    start(cat("dbus-daemon --config-file=", folder_, "/bus.conf --nofork --nopidfile"));
    wait_for([&] { return std::filesystem::exists(socket()); });
  }
  void start_firewalld() {
    start(cat("firewalld --nofork --nopid --system-config=", folder_, "/config --log-file=", folder_, "/fw.log"));
    wait_for([&] {
      auto bus = net::dbus::Bus::open({socket()}, std::chrono::seconds(2));
      if (!bus || !*bus) return false;
      const auto runs = (*bus)->has_owner("org.fedoraproject.FirewallD1");
      return runs && *runs && !zone_of("10.9.9.9/32");
    });
  }
  void wait_for(const std::function<bool()>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!holds()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << output_on_host(cat("cat ", folder_, "/log"));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  // None when it is in no zone.
  std::optional<std::string> zone_of(const std::string& source) {
    auto bus = net::dbus::Bus::open({socket()}, std::chrono::seconds(2));
    if (!bus || !*bus) return "no bus";
    const auto answer = (*bus)->call({"org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1",
                                      "org.fedoraproject.FirewallD1.zone", "getZoneOfSource"},
                                     {source});
    if (!answer || !answer->error.empty()) return answer ? answer->error : answer.error().message();
    if (answer->text.empty()) return std::nullopt;
    return answer->text;
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
  std::string socket() const { return folder_ + "/bus"; }

  std::string folder_ = cat("/tmp/fairlead-firewalld.", ::getpid());
  std::vector<pid_t> daemons_;
};

TEST_F(CniFirewalld, APodIsASourceOfAZoneForAsLongAsItLives) {
  start_bus();
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
  start_bus();
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
  start_bus();
  EXPECT_EQ(refused(call("a", R"({"type": "firewall", "backend": "firewalld"})")),
            "backend: firewalld does not run here");
  add(call("a", R"({"type": "firewall", "backend": "auto"})"));
  on_host([&] { return kFirewall.del(call("a", R"({"type": "firewall", "backend": "firewalld"})"), {}); });
}

}  // namespace
}  // namespace fairlead::cni::testing
