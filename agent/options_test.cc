#include "agent/options.h"

#include <gtest/gtest.h>

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

Surroundings surroundings() {
  return {.node_name_variable = "", .hostname = "Host-1", .default_cgroup = [] { return "/cgroup2"; }};
}

Options parsed(const std::vector<std::string>& arguments, const Surroundings& around = surroundings()) {
  auto result = parse_options(arguments, around);
  if (const auto* stop = std::get_if<Stop>(&result)) {
    ADD_FAILURE() << stop->text;
    return {};
  }
  return std::get<Options>(result);
}

Stop stopped(const std::vector<std::string>& arguments, const Surroundings& around = surroundings()) {
  auto result = parse_options(arguments, around);
  if (std::holds_alternative<Options>(result)) {
    ADD_FAILURE() << "was accepted";
    return {};
  }
  return std::get<Stop>(result);
}

constexpr const char* kHint = "hint: fairlead-agent --help lists every flag\n";

TEST(Options, DefaultsListenOnLoopbackOnly) {
  const Options options = parsed({});
  EXPECT_EQ(options.command, Command::Run);
  EXPECT_EQ(options.dataplane, "auto");
  EXPECT_EQ(options.dataplane_options.cgroup, "/cgroup2");
  EXPECT_EQ(options.dataplane_options.bpf_root, "/sys/fs/bpf");
  EXPECT_EQ(options.dataplane_options.instance, "fairlead");
  EXPECT_EQ(options.status_socket, "/run/fairlead/agent.sock");
  EXPECT_EQ(options.metrics, (Listen{net::Ip::v4(127, 0, 0, 1), 10249}));
  EXPECT_EQ(options.healthz, (Listen{net::Ip::v4(127, 0, 0, 1), 10256}));
  EXPECT_EQ(options.resync_period, 15min);
}

TEST(Options, EveryFlagIsTaken) {
  const Options options = parsed({"--node-name",
                                  "n1",
                                  "--manifests",
                                  "/m",
                                  "--dataplane=ebpf",
                                  "--cgroup",
                                  "/c",
                                  "--bpf-root",
                                  "/b",
                                  "--instance",
                                  "i-1",
                                  "--state-dir",
                                  "/s",
                                  "--status-socket",
                                  "/x.sock",
                                  "--metrics-bind-address",
                                  "127.0.0.1:0",
                                  "--healthz-bind-address",
                                  "[::1]:99",
                                  "--resync-period",
                                  "30s",
                                  "--log-level",
                                  "debug",
                                  "--log-format",
                                  "json"});
  EXPECT_EQ(options.node_name, "n1");
  EXPECT_EQ(options.manifests, "/m");
  EXPECT_EQ(options.dataplane, "ebpf");
  EXPECT_EQ(options.dataplane_options.cgroup, "/c");
  EXPECT_EQ(options.dataplane_options.bpf_root, "/b");
  EXPECT_EQ(options.dataplane_options.instance, "i-1");
  EXPECT_EQ(options.state_dir, "/s");
  EXPECT_EQ(options.status_socket, "/x.sock");
  EXPECT_EQ(options.metrics, (Listen{net::Ip::v4(127, 0, 0, 1), 0}));
  EXPECT_EQ(options.healthz, (Listen{*net::Ip::parse("::1"), 99}));
  EXPECT_EQ(options.resync_period, 30s);
  EXPECT_EQ(options.log_level, base::log::Level::Debug);
  EXPECT_EQ(options.log_format, base::log::Format::Json);
}

TEST(Options, TheNodeNameIsTrimmedAndLowerCasedFlagThenVariableThenHostname) {
  Surroundings around = surroundings();
  EXPECT_EQ(parsed({}, around).node_name, "host-1");
  around.node_name_variable = " Node-2\n";
  EXPECT_EQ(parsed({}, around).node_name, "node-2");
  EXPECT_EQ(parsed({"--node-name", " Node-3 "}, around).node_name, "node-3");
}

TEST(Options, SubcommandsTakeTheSameFlagsOnEitherSide) {
  EXPECT_EQ(parsed({"cleanup", "--instance", "x"}).dataplane_options.instance, "x");
  EXPECT_EQ(parsed({"--instance", "x", "cleanup"}).command, Command::Cleanup);
  EXPECT_EQ(parsed({"probe"}).command, Command::Probe);
  EXPECT_EQ(parsed({"version"}).command, Command::Version);
}

TEST(Options, AListenerCanBeTurnedOff) { EXPECT_EQ(parsed({"--metrics-bind-address", "off"}).metrics, std::nullopt); }

TEST(Options, KubeProxysLeftoversAreRemovedOnlyWhenAsked) {
  EXPECT_FALSE(parsed({"cleanup"}).clean_kube_proxy);
  EXPECT_TRUE(parsed({"cleanup", "--kube-proxy"}).clean_kube_proxy);
  EXPECT_TRUE(parsed({"--clean-kube-proxy"}).clean_kube_proxy);
}

TEST(Options, HelpGoesToStdoutAndIsNoFailure) {
  const Stop stop = stopped({"--help"});
  EXPECT_EQ(stop.exit_code, 0);
  EXPECT_NE(stop.text.find("--manifests"), std::string::npos);
}

struct Wrong {
  std::vector<std::string> arguments;
  std::string error;
};

class WrongOptions : public testing::TestWithParam<Wrong> {};

TEST_P(WrongOptions, NameFlagValueAndWhatIsAllowedAndExitWith2) {
  const Stop stop = stopped(GetParam().arguments);
  EXPECT_EQ(stop.exit_code, 2);
  EXPECT_EQ(stop.text, "error: " + GetParam().error + "\n" + kHint);
}

INSTANTIATE_TEST_SUITE_P(
    Each, WrongOptions,
    testing::Values(
        Wrong{{"--dataplane", "xdp"}, "--dataplane: \"xdp\" is not allowed: use auto, ebpf or nftables"},
        Wrong{{"--metrics-bind-address", "localhost:80"},
              "--metrics-bind-address: \"localhost:80\" is not allowed: "
              "use IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), or off"},
        Wrong{{"--healthz-bind-address", "::1:80"},
              "--healthz-bind-address: \"::1:80\" is not allowed: "
              "use IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), or off"},
        Wrong{{"--healthz-bind-address", "127.0.0.1:70000"},
              "--healthz-bind-address: \"127.0.0.1:70000\" is not allowed: "
              "use IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), or off"},
        Wrong{{"--instance", "a/b"}, "--instance: \"a/b\" is not allowed: use 1 to 32 of a-z, 0-9, - and _"},
        Wrong{{"--resync-period", "0s"},
              "--resync-period: \"0s\" is not allowed: use a duration of at least 1s, such as 30s, 15m or 1h30m"},
        Wrong{{"--log-level", "loud"}, "--log-level: \"loud\" is not allowed: use debug, info, warn or error"},
        Wrong{{"--log-format", "xml"}, "--log-format: \"xml\" is not allowed: use text or json"},
        Wrong{{"--master", "10.0.0.1:6443"},
              "--master: \"10.0.0.1:6443\" is not allowed: use a URL that starts with https:// or http://"},
        Wrong{{"--manifests", "/m", "--kubeconfig", "/k"},
              "--manifests: \"/m\" is not allowed: use either a directory of manifests or an API server"},
        Wrong{{"--bogus"}, "--bogus: no such flag or command"}, Wrong{{"run"}, "run: no such flag or command"},
        Wrong{{"--cgroup"}, "--cgroup: a value is missing"}));

}  // namespace
}  // namespace fairlead::agent
