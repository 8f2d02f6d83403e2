// Containers of podman, with its CNI network backend.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "tests/runtimes/image.h"
#include "tests/runtimes/machine.h"
#include "tests/runtimes/pod_fixture.h"

namespace fairlead::tests::runtimes {
namespace {

using base::cat;

constexpr char kDirectory[] = "/run/podman-test";

constexpr char kContainersConf[] = R"([containers]
cgroups = "no-conmon"
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/run/podman-test/net.d"
)";
constexpr char kStorageConf[] = R"([storage]
driver = "vfs"
graphroot = "/run/podman-test/root"
runroot = "/run/podman-test/run"
)";

class PodmanTest : public PodTest {
 protected:
  PodmanTest() : PodTest({"podman", "conmon", "runc", "nft", "iptables"}) {}

  void SetUp() override {
    PodTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_OK(base::make_directories(cat(kDirectory, "/net.d")));
    const std::string image = cat(kDirectory, "/image.tar");
    ASSERT_OK(base::write_file_atomically(cat(kDirectory, "/containers.conf"), kContainersConf));
    ASSERT_OK(base::write_file_atomically(cat(kDirectory, "/storage.conf"), kStorageConf));
    ASSERT_OK(write_image(image));
    ASSERT_OK(podman({"load", "--quiet", "--input", image}));
  }

  // Its stdout, without the newline.
  static Result<std::string> podman(const std::vector<std::string>& arguments) {
    std::vector<std::string> argv{"env", cat("CONTAINERS_CONF=", kDirectory, "/containers.conf"),
                                  cat("CONTAINERS_STORAGE_CONF=", kDirectory, "/storage.conf"),
                                  cat("TMPDIR=", kDirectory), "podman"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return std::string(base::trim(TRY(base::run_checked(argv, {}, std::chrono::seconds(60)))));
  }
  // Runs kImage.
  static Status run(const std::string& name, std::vector<std::string> options) {
    options.insert(options.begin(), {"run", "--detach", "--name", name, "--hostname", name});
    options.push_back(kImage);
    TRY(podman(options));
    return {};
  }
  static Status remove(const std::string& name) {
    TRY(podman({"stop", "--time", "0", name}));
    TRY(podman({"rm", name}));
    return {};
  }
};

TEST_F(PodmanTest, AContainerIsReachedAtItsPublishedPort) {
  ASSERT_OK(run("first", {"--publish", "18080:8080"}));
  ASSERT_OK(remove("first"));
  const std::vector<std::string> before = state();
  ASSERT_OK(run("box", {"--publish", "18080:8080"}));
  const auto answer = outside().ask_until_answered(Outside::host(net::Family::V4), 18080);
  ASSERT_OK(answer);
  EXPECT_EQ(*answer, "box");
  const auto peer = outside().seen_peer(7000, [&]() -> Status {
    TRY(podman({"exec", "box", "nc", Outside::own(net::Family::V4).to_string(), "7000", "-e", "/bin/hostname"}));
    return {};
  });
  ASSERT_OK(peer);
  EXPECT_EQ(peer->to_string(), Outside::host(net::Family::V4).to_string()) << "masqueraded";
  ASSERT_OK(remove("box"));
  EXPECT_FALSE(outside().ask(Outside::host(net::Family::V4), 18080).has_value());
  expect_back_to(before);
}

TEST_F(PodmanTest, ANetworkItCreatesGivesTheAddressAndHardwareAddressAskedFor) {
  ASSERT_OK(podman({"network", "create", "--subnet", "10.77.0.0/24", "--opt", "mtu=1400", "seven"}));
  ASSERT_OK(run("first", {"--network", "seven", "--publish", "192.0.2.1:18081:8080/tcp"}));
  ASSERT_OK(remove("first"));
  const std::vector<std::string> before = state();
  ASSERT_OK(run("left", {"--network", "seven", "--ip", "10.77.0.50", "--mac-address", "02:11:22:33:44:55"}));
  ASSERT_OK(run("right", {"--network", "seven", "--publish", "192.0.2.1:18081:8080/tcp"}));
  const auto link = podman({"exec", "left", "ip", "-o", "link", "show", "eth0"});
  ASSERT_OK(link);
  EXPECT_NE(link->find("02:11:22:33:44:55"), std::string::npos) << *link;
  EXPECT_NE(link->find("mtu 1400"), std::string::npos) << *link;
  const auto left = outside().ask_until_answered(net::Ip::v4(10, 77, 0, 50), kAnswerPort);
  ASSERT_OK(left);
  EXPECT_EQ(*left, "left");
  const auto neighbour = podman({"exec", "right", "nc", "-w", "3", "10.77.0.50", cat(kAnswerPort)});
  ASSERT_OK(neighbour);
  EXPECT_EQ(*neighbour, "left");
  const auto hairpin = podman({"exec", "right", "nc", "-w", "3", "192.0.2.1", "18081"});
  ASSERT_OK(hairpin);
  EXPECT_EQ(*hairpin, "right");
  ASSERT_OK(remove("left"));
  ASSERT_OK(remove("right"));
  expect_back_to(before);
  EXPECT_OK(podman({"network", "rm", "seven"}));
}

TEST_F(PodmanTest, AContainerOnTwoNetworksHasAnInterfaceInEach) {
  ASSERT_OK(podman({"network", "create", "--subnet", "10.78.0.0/24", "eight"}));
  ASSERT_OK(podman({"network", "create", "--subnet", "10.79.0.0/24", "nine"}));
  ASSERT_OK(run("first", {"--network", "eight,nine", "--publish", "18082:8080"}));
  ASSERT_OK(remove("first"));
  const std::vector<std::string> before = state();
  ASSERT_OK(run("both", {"--network", "eight,nine", "--publish", "18082:8080"}));
  for (const net::Ip& ip : {net::Ip::v4(10, 78, 0, 3), net::Ip::v4(10, 79, 0, 3)}) {
    const auto answer = outside().ask_until_answered(ip, kAnswerPort);
    ASSERT_OK(answer);
    EXPECT_EQ(*answer, "both") << ip.to_string();
  }
  ASSERT_OK(remove("both"));
  expect_back_to(before);
  EXPECT_OK(podman({"network", "rm", "eight", "nine"}));
}

}  // namespace
}  // namespace fairlead::tests::runtimes
