// The agent with a configuration file of kube-proxy: what it sets on the node, and when it ends.
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "tests/datapath/agent_process.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {
namespace {

using base::cat;

// maxPerCore 0: the limit belongs to the whole machine, not to a namespace.
constexpr std::string_view kConfiguration =
    "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
    "kind: KubeProxyConfiguration\n"
    "mode: nftables\n"
    "clusterCIDR: 10.0.0.0/8,fd00::/8\n"
    "oomScoreAdj: 100\n"
    "conntrack: {maxPerCore: 0, tcpBeLiberal: true, tcpCloseWaitTimeout: 30m, tcpEstablishedTimeout: 0s}\n"
    "hostnameOverride: nobody\n";

class AgentConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    auto created = Testbed::create({.nodes = 1, .pods_per_node = 0});
    ASSERT_OK(created);
    bed_ = std::move(*created);
    std::filesystem::create_directory(bed_->dir() + "/manifests");
    agent_.emplace(*bed_, 1, "nftables",
                   std::vector<std::string>{"--manifests", bed_->dir() + "/manifests", "--config", file()});
  }
  void TearDown() override {
    if (HasFailure() && agent_) std::cout << agent_->log() << std::endl;
  }

  std::string file() const { return bed_->dir() + "/config.conf"; }
  Status write(std::string_view text) const { return base::write_file_atomically(file(), text); }
  Status start(std::string_view text) {
    TRY(write(text));
    return agent_->start();
  }
  std::string setting(const std::string& name) const {
    const auto read = bed_->run("node1", {"cat", "/proc/sys/net/netfilter/nf_conntrack_" + name});
    return read ? std::string(base::trim(read->out)) : read.error().message();
  }
  bool log_says(std::string_view text) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (agent_->log().find(text) == std::string::npos) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      ::poll(nullptr, 0, 5);
    }
    return true;
  }

  std::unique_ptr<Testbed> bed_;
  std::optional<AgentProcess> agent_;
};

TEST_F(AgentConfigTest, TheNodeIsSetUpAsTheFileSays) {
  const std::string established = setting("tcp_timeout_established");
  ASSERT_NE(setting("tcp_timeout_close_wait"), "1800");
  ASSERT_OK(start(kConfiguration));
  EXPECT_EQ(setting("tcp_timeout_close_wait"), "1800");
  EXPECT_EQ(setting("tcp_be_liberal"), "1");
  EXPECT_EQ(setting("tcp_timeout_established"), established) << "0s leaves it alone";
  const auto score = base::read_file(cat("/proc/", agent_->process()->pid(), "/oom_score_adj"));
  ASSERT_OK(score);
  EXPECT_EQ(*score, "100\n");
}

TEST_F(AgentConfigTest, WithoutAFileTheNodeIsLeftAlone) {
  const std::string before = setting("tcp_timeout_close_wait") + " " + setting("tcp_timeout_established");
  AgentProcess agent(*bed_, 1, "nftables", {"--manifests", bed_->dir() + "/manifests"});
  ASSERT_OK(agent.start());
  EXPECT_EQ(setting("tcp_timeout_close_wait") + " " + setting("tcp_timeout_established"), before);
}

TEST_F(AgentConfigTest, InitOnlySetsTheNodeUpAndEnds) {
  const auto done = bed_->run("node1", {program_path("fairlead-agent"), "--init-only", "--conntrack-max-per-core=0",
                                        "--conntrack-tcp-timeout-close-wait=10m"});
  ASSERT_OK(done);
  EXPECT_EQ(done->exit_code, 0) << done->err;
  EXPECT_EQ(setting("tcp_timeout_close_wait"), "600");
  EXPECT_EQ(setting("tcp_timeout_established"), "86400");
}

TEST_F(AgentConfigTest, AChangeOfTheFileEndsTheAgentToBeStartedAgain) {
  ASSERT_OK(start(kConfiguration));
  ASSERT_OK(write(cat(kConfiguration, "bindAddressHardFail: true\n")));
  const auto exit_code = agent_->process()->wait(std::chrono::seconds(10));
  ASSERT_OK(exit_code);
  EXPECT_EQ(*exit_code, 1);
  EXPECT_TRUE(log_says(cat("error: ", file(), ": has changed; ending, to be started again with it")));
}

TEST_F(AgentConfigTest, AMistakeOrACommentInTheFileDoesNot) {
  ASSERT_OK(start(kConfiguration));
  ASSERT_OK(write(cat(kConfiguration, "portRange: 7\n")));
  EXPECT_TRUE(log_says("line 8: portRange: 7 is not allowed: use a string")) << agent_->log();
  ASSERT_OK(write(cat("# a comment\n", kConfiguration)));
  EXPECT_TRUE(log_says("the configuration file was written and says what it said")) << agent_->log();
  EXPECT_TRUE(agent_->running());
  EXPECT_OK(agent_->wait_until_settled());
}

TEST_F(AgentConfigTest, AnAddressThatIsTakenEndsTheAgentOnlyWhereTheFileSaysSo) {
  ASSERT_OK(start(cat(kConfiguration, "healthzBindAddress: 203.0.113.9:10256\n")));
  ASSERT_OK(agent_->terminate());
  ASSERT_OK(write(cat(kConfiguration, "healthzBindAddress: 203.0.113.9:10256\nbindAddressHardFail: true\n")));
  ASSERT_OK(agent_->launch());
  const auto exit_code = agent_->process()->wait(std::chrono::seconds(10));
  ASSERT_OK(exit_code);
  EXPECT_EQ(*exit_code, 1);
  EXPECT_TRUE(log_says("error: healthzBindAddress: cannot listen on 203.0.113.9:10256"));
}

TEST_F(AgentConfigTest, AFileThatIsWrongAtTheStartIsNamedWithLineFieldAndValue) {
  ASSERT_OK(write("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ebpf\n"));
  ASSERT_OK(agent_->launch());
  const auto exit_code = agent_->process()->wait(std::chrono::seconds(10));
  ASSERT_OK(exit_code);
  EXPECT_EQ(*exit_code, 1);
  EXPECT_EQ(agent_->log(),
            cat("error: ", file(), ": line 3: mode: \"ebpf\" is not allowed: use iptables, ipvs or nftables\n"));
}

}  // namespace
}  // namespace fairlead::testbed
