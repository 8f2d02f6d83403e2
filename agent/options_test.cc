#include "agent/options.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

Surroundings surroundings(const std::string& file = "") {
  return {.node_name_variable = "",
          .hostname = "Host-1",
          .default_cgroup = [] { return "/cgroup2"; },
          .read_file = [file](const std::string& path) -> Result<std::string> {
            if (path != "/config.conf") return Error(path + ": No such file or directory", ENOENT);
            return file;
          }};
}

constexpr const char* kHead = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

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

// With `lines` in the file of --config, and more flags.
Options with_file(const std::string& lines, std::vector<std::string> more = {}) {
  more.insert(more.begin(), "--config=/config.conf");
  return parsed(more, surroundings(kHead + lines));
}

std::vector<std::string> notes_of(const Options& options) {
  std::vector<std::string> out;
  for (const Note& note : options.notes) out.push_back(note.text);
  return out;
}

TEST(Options, DefaultsListenWhereKubeProxyDoes) {
  const Options options = parsed({});
  EXPECT_EQ(options.command, Command::Run);
  EXPECT_EQ(options.dataplane, "auto");
  EXPECT_EQ(options.dataplane_options.cgroup, "/cgroup2");
  EXPECT_EQ(options.dataplane_options.bpf_root, "/sys/fs/bpf");
  EXPECT_EQ(options.dataplane_options.instance, "fairlead");
  EXPECT_EQ(options.status_socket, "/run/fairlead/agent.sock");
  EXPECT_EQ(options.metrics, (Listen{net::Ip::v4(127, 0, 0, 1), 10249}));
  EXPECT_EQ(options.healthz, (Listen{net::Ip::v4(0, 0, 0, 0), 10256}));
  EXPECT_EQ(options.health_timeout, 60s);
  EXPECT_EQ(options.model, proxy::model::Config());
  EXPECT_EQ(options.dataplane_options.masquerade_mark, 0x4000U);
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

TEST(Options, AListenerCanBeTurnedOff) {
  EXPECT_EQ(parsed({"--metrics-bind-address", "off"}).metrics, std::nullopt);
  EXPECT_EQ(parsed({"--metrics-bind-address="}).metrics, std::nullopt);
  EXPECT_EQ(parsed({"--healthz-port=0"}).healthz, std::nullopt);
  EXPECT_EQ(with_file("healthzBindAddress: off\n").healthz, std::nullopt);
}

TEST(Options, APortAloneIsThatOfAnAddressWithoutOne) {
  EXPECT_EQ(parsed({"--healthz-port=99"}).healthz, (Listen{net::Ip::v4(0, 0, 0, 0), 99}));
  EXPECT_EQ(parsed({"--metrics-port=99", "--bind-address=fd00::1"}).metrics, (Listen{*net::Ip::parse("::1"), 99}));
  EXPECT_EQ(parsed({"--metrics-port=99", "--metrics-bind-address=10.0.0.1"}).metrics,
            (Listen{net::Ip::v4(10, 0, 0, 1), 99}));
  EXPECT_EQ(parsed({"--metrics-port=99", "--metrics-bind-address=10.0.0.1:98"}).metrics,
            (Listen{net::Ip::v4(10, 0, 0, 1), 98}));
}

TEST(Options, CommandsOfKubeProxyAreFlags) {
  EXPECT_EQ(parsed({"--cleanup"}).command, Command::Cleanup);
  EXPECT_TRUE(parsed({"--cleanup"}).clean_kube_proxy);
  EXPECT_FALSE(parsed({"cleanup"}).clean_kube_proxy);
  EXPECT_EQ(parsed({"--cleanup=false"}).command, Command::Run);
  EXPECT_EQ(parsed({"--init-only"}).command, Command::InitOnly);
  EXPECT_EQ(parsed({"--version"}).command, Command::Version);
  EXPECT_EQ(parsed({"--version=raw"}).command, Command::Version);
  EXPECT_EQ(parsed({"--version=false"}).command, Command::Run);
  EXPECT_EQ(parsed({"--write-config-to=/x", "--cleanup"}).command, Command::WriteConfig);
  EXPECT_EQ(parsed({"--write-config-to=/x"}).write_config_to, "/x");
}

TEST(Options, KlogsVerbosityIsALogLevelUnlessThatIsNamed) {
  EXPECT_EQ(parsed({"-v=3"}).log_level, base::log::Level::Info);
  EXPECT_EQ(parsed({"--v=4"}).log_level, base::log::Level::Debug);
  EXPECT_EQ(parsed({"-v9", "--log-level=warn"}).log_level, base::log::Level::Warn);
  EXPECT_EQ(parsed({"--logging-format=json"}).log_format, base::log::Format::Json);
  EXPECT_EQ(parsed({"--vmodule=a=2", "--log-flush-frequency=1s", "--boot-id-file=/b"}).log_level,
            base::log::Level::Info);
}

TEST(Options, UnderscoresInFlagsAreDashes) { EXPECT_EQ(parsed({"--node_name=a_b"}).node_name, "a_b"); }

// As kubeadm starts it.
TEST(Options, WithConfigKubeProxysSettingsComeFromTheFile) {
  const Options options = with_file(R"(
clientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig.conf}
clusterCIDR: 10.244.0.0/16
iptables: {masqueradeBit: 3, syncPeriod: 10s}
metricsBindAddress: 0.0.0.0:10249
hostnameOverride: from-the-file
)",
                                    {"--hostname-override=Node-1"});
  EXPECT_EQ(options.node_name, "node-1");
  EXPECT_EQ(options.kubeconfig, "/var/lib/kube-proxy/kubeconfig.conf");
  EXPECT_EQ(options.model.cluster_cidrs, std::vector<net::Prefix>{*net::Prefix::parse("10.244.0.0/16")});
  EXPECT_EQ(options.dataplane_options.masquerade_mark, 8U);
  EXPECT_EQ(options.health_timeout, 20s);
  EXPECT_EQ(options.metrics, (Listen{net::Ip::v4(0, 0, 0, 0), 10249}));
  EXPECT_EQ(options.dataplane, "auto");
}

TEST(Options, WithConfigOtherFlagsOfKubeProxyAreIgnoredAndNamed) {
  const Options options = with_file("clusterCIDR: 10.244.0.0/16,fd00::/64\n",
                                    {"--cluster-cidr=11.0.0.0/8", "--masquerade-all", "--healthz-port=1",
                                     "--metrics-bind-address=nonsense", "--kubeconfig=/k"});
  EXPECT_EQ(options.kube_proxy.cluster_cidr, "10.244.0.0/16,fd00::/64");
  EXPECT_EQ(options.kubeconfig, "");
  EXPECT_FALSE(options.model.masquerade_all);
  EXPECT_EQ(options.healthz->port, 10256);
  EXPECT_EQ(notes_of(options), std::vector<std::string>{"ignored, since --config says all of that: --cluster-cidr, "
                                                        "--masquerade-all, --metrics-bind-address, --kubeconfig, "
                                                        "--healthz-port"});
}

struct Beside {
  std::string flag;
  std::function<bool(const Options&)> counts;
};
class FlagsBesideConfig : public testing::TestWithParam<Beside> {};

TEST_P(FlagsBesideConfig, Count) {
  const Options options =
      with_file("hostnameOverride: file\nlogging: {verbosity: 0, format: text}\nclusterCIDR: 10.0.0.0/8,fd00::/8\n",
                {GetParam().flag});
  EXPECT_TRUE(GetParam().counts(options)) << GetParam().flag;
  EXPECT_EQ(notes_of(options), std::vector<std::string>());
}

INSTANTIATE_TEST_SUITE_P(
    Each, FlagsBesideConfig,
    testing::Values(
        Beside{"--hostname-override=flag", [](const Options& o) { return o.node_name == "flag"; }},
        Beside{"--node-name=flag", [](const Options& o) { return o.node_name == "flag"; }},
        Beside{"--v=5", [](const Options& o) { return o.log_level == base::log::Level::Debug; }},
        Beside{"--logging-format=json", [](const Options& o) { return o.log_format == base::log::Format::Json; }},
        Beside{"--master=https://10.0.0.1", [](const Options& o) { return o.master == "https://10.0.0.1"; }},
        Beside{"--cleanup", [](const Options& o) { return o.command == Command::Cleanup; }},
        Beside{"--init-only", [](const Options& o) { return o.command == Command::InitOnly; }},
        Beside{"--write-config-to=/x", [](const Options& o) { return o.command == Command::WriteConfig; }},
        Beside{"--dataplane=nftables", [](const Options& o) { return o.dataplane == "nftables"; }},
        Beside{"--instance=i", [](const Options& o) { return o.dataplane_options.instance == "i"; }},
        Beside{"--bpf-root=/b", [](const Options& o) { return o.dataplane_options.bpf_root == "/b"; }},
        Beside{"--cgroup=/c", [](const Options& o) { return o.dataplane_options.cgroup == "/c"; }},
        Beside{"--state-dir=/s", [](const Options& o) { return o.status_socket == "/s/agent.sock"; }},
        Beside{"--status-socket=/s", [](const Options& o) { return o.status_socket == "/s"; }},
        Beside{"--manifests=/m", [](const Options& o) { return o.manifests == "/m"; }},
        Beside{"--resync-period=1m", [](const Options& o) { return o.resync_period == 1min; }},
        Beside{"--log-level=error", [](const Options& o) { return o.log_level == base::log::Level::Error; }}));

TEST(Options, DataplaneWinsOverModeAndSaysSo) {
  const Options options = with_file("mode: iptables\nclusterCIDR: 10.0.0.0/8,fd00::/8\n", {"--dataplane=ebpf"});
  EXPECT_EQ(options.dataplane, "ebpf");
  EXPECT_EQ(notes_of(options), std::vector<std::string>{"--dataplane ebpf counts, not mode iptables"});
  EXPECT_EQ(parsed({"--proxy-mode=nftables"}).dataplane, "nftables");
}

TEST(Options, TheNodesOwnSettingsAreLeftAloneUnlessAskedFor) {
  EXPECT_FALSE(parsed({}).tune_conntrack);
  EXPECT_FALSE(parsed({"--cluster-cidr=10.0.0.0/8"}).tune_conntrack);
  EXPECT_TRUE(parsed({"--conntrack-min=5"}).tune_conntrack);
  EXPECT_TRUE(parsed({"--init-only"}).tune_conntrack);
  EXPECT_TRUE(with_file("").tune_conntrack);
  EXPECT_EQ(parsed({}).oom_score_adj, std::nullopt);
  EXPECT_EQ(parsed({"--oom-score-adj", "-5"}).oom_score_adj, -5);
  EXPECT_EQ(with_file("").oom_score_adj, -999);
}

TEST(Options, AWrongFileStopsWith1AndItsNameAndNoHintAboutFlags) {
  const auto stop_of = [](const std::string& file) {
    return stopped({"--config", "/config.conf"}, surroundings(file));
  };
  EXPECT_EQ(stop_of(std::string(kHead) + "mode: x\n").exit_code, 1);
  EXPECT_EQ(stop_of(std::string(kHead) + "mode: x\n").text,
            "error: /config.conf: line 3: mode: \"x\" is not allowed: use iptables, ipvs or nftables\n");
  EXPECT_EQ(stopped({"--config", "/none"}).text, "error: /none: No such file or directory\n");
}

TEST(Options, ARangeOfAFamilyThatTheNodeDoesNotSpeakIsNamedAsItWasGiven) {
  Surroundings around = surroundings(std::string(kHead) + "clusterCIDR: fd00::/8\n");
  around.families = NodeFamilies::Ipv4Only;
  EXPECT_EQ(stopped({"--cluster-cidr=fd00::/8"}, around).text,
            std::string("error: --cluster-cidr: fd00::/8 is IPv6 alone, which this node does not speak\n") + kHint);
  EXPECT_EQ(stopped({"--config=/config.conf"}, around).text,
            "error: /config.conf: clusterCIDR: fd00::/8 is IPv6 alone, which this node does not speak\n");
}

TEST(Options, ConfigzShowsTheConfigurationInForce) {
  const auto shown = base::parse_json(configz_json(with_file("mode: ipvs\n", {"--hostname-override=n"})));
  ASSERT_TRUE(shown.has_value());
  const base::Value& configuration = (*shown)["kubeproxy.config.k8s.io"];
  EXPECT_EQ(configuration["kind"], base::Value("KubeProxyConfiguration"));
  EXPECT_EQ(configuration["apiVersion"], base::Value("kubeproxy.config.k8s.io/v1alpha1"));
  EXPECT_EQ(configuration["mode"], base::Value("ipvs"));
  EXPECT_EQ(configuration["hostnameOverride"], base::Value("n"));
  EXPECT_EQ(configuration["conntrack"]["tcpEstablishedTimeout"], base::Value("24h0m0s"));
}

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
        Wrong{{"--dataplane", "xdp"}, "--dataplane: \"xdp\" is not allowed: use auto, ebpf, nftables or iptables"},
        Wrong{{"--metrics-bind-address", "localhost:80"},
              "--metrics-bind-address: \"localhost:80\" is not allowed: "
              "use IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), an IP alone, or off"},
        Wrong{{"--healthz-bind-address", "[::1:80"},
              "--healthz-bind-address: \"[::1:80\" is not allowed: "
              "use IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), an IP alone, or off"},
        Wrong{{"--healthz-bind-address", "127.0.0.1:70000"},
              "--healthz-bind-address: \"127.0.0.1:70000\" is not allowed: "
              "use IP:PORT ([IP]:PORT for IPv6, port 0 for any free one), an IP alone, or off"},
        Wrong{{"--instance", "a/b"}, "--instance: \"a/b\" is not allowed: use 1 to 32 of a-z, 0-9, - and _"},
        Wrong{{"--resync-period", "0s"},
              "--resync-period: \"0s\" is not allowed: use a duration of at least 1s, such as 30s, 15m or 1h30m"},
        Wrong{{"--log-level", "loud"}, "--log-level: \"loud\" is not allowed: use debug, info, warn or error"},
        Wrong{{"--log-format", "xml"}, "--log-format: \"xml\" is not allowed: use text or json"},
        Wrong{{"--master", "10.0.0.1:6443"},
              "--master: \"10.0.0.1:6443\" is not allowed: use a URL that starts with https:// or http://"},
        Wrong{{"--manifests", "/m", "--kubeconfig", "/k"},
              "--manifests: \"/m\" is not allowed: use either a directory of manifests or an API server"},
        Wrong{{"--pod-bridge-interface=br0", "--detect-local-mode=InterfaceNamePrefix"},
              "--pod-interface-name-prefix: is empty, but detectLocalMode is InterfaceNamePrefix"},
        Wrong{{"--iptables-min-sync-period=1m"}, "--iptables-min-sync-period: 1m0s is longer than syncPeriod, 30s"},
        Wrong{{"--cleanup=maybe"}, "--cleanup: \"maybe\" is not allowed: use true or false"},
        Wrong{{"--healthz-port=http"}, "--healthz-port: \"http\" is not allowed: use a port, or 0 for off"},
        Wrong{{"probe", "now"}, "now: no such flag or command"}, Wrong{{"--bogus"}, "--bogus: no such flag or command"},
        Wrong{{"run"}, "run: no such flag or command"}, Wrong{{"--cgroup"}, "--cgroup: a value is missing"}));

}  // namespace
}  // namespace fairlead::agent
