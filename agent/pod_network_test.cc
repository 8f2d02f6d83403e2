#include "agent/pod_network.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

net::Prefix prefix(std::string_view text) { return *net::Prefix::parse(text); }
net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }

PodNetworkFacts facts() {
  return {.services_in_kernel = true,
          .node = "node1",
          .pod_cidrs = {prefix("10.244.1.0/24"), prefix("fd00:10:244:1::/64")},
          .mtu = 1450};
}

std::string refusal(const PodNetworkOptions& options, const PodNetworkFacts& with) {
  const auto text = conflist(options, with);
  return text ? "" : text.error().message();
}

TEST(Conflist, TakesRangesAndRoutesFromTheNodesPodCidrs) {
  PodNetworkOptions options;
  options.status_socket = "/run/fairlead/agent.sock";
  options.cluster_cidrs = {prefix("10.244.0.0/16")};
  const auto text = conflist(options, facts());
  ASSERT_TRUE(text);
  const auto json = base::parse_json(*text);
  ASSERT_TRUE(json);
  const base::Value& plugin = (*json)["plugins"].as_array()->front();
  EXPECT_EQ(*plugin["type"].as_string(), "fairlead");
  EXPECT_EQ(*plugin["agent"].as_string(), "/run/fairlead/agent.sock");
  EXPECT_EQ(*plugin["mtu"].as_int(), 1450);
  EXPECT_EQ(base::to_json(plugin["ipMasqExempt"]), R"(["10.244.0.0/16"])");
  EXPECT_EQ(base::to_json(plugin["ipam"]),
            R"({"type":"host-local","ranges":[[{"subnet":"10.244.1.0/24"}],[{"subnet":"fd00:10:244:1::/64"}]],)"
            R"("routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]})");
}

TEST(Conflist, IsReadableByAnOldRuntimeAndOffersANewOneMore) {
  const auto json = base::parse_json(*conflist(PodNetworkOptions(), facts()));
  ASSERT_TRUE(json);
  EXPECT_EQ(*(*json)["cniVersion"].as_string(), "1.0.0");
  EXPECT_EQ(base::to_json((*json)["cniVersions"]), R"(["0.4.0","1.0.0","1.1.0"])");
}

TEST(Conflist, PrefersTheMtuThatWasAskedFor) {
  PodNetworkOptions options;
  options.mtu = 9000;
  EXPECT_NE(conflist(options, facts())->find("\"mtu\": 9000"), std::string::npos);
}

TEST(Conflist, SaysWhatIsMissing) {
  PodNetworkFacts early = facts();
  early.services_in_kernel = false;
  EXPECT_EQ(refusal({}, early), "the agent has not finished its first sync");
  PodNetworkFacts bare = facts();
  bare.pod_cidrs.clear();
  EXPECT_NE(refusal({}, bare).find("\"node1\" has no spec.podCIDRs"), std::string::npos);
  PodNetworkFacts linkless = facts();
  linkless.mtu = 0;
  EXPECT_NE(refusal({}, linkless).find("MTU"), std::string::npos);
}

TEST(PathMtu, IsThatOfTheLinkWithTheNodesAddress) {
  const net::Links links{
      .links = {{.index = 1, .name = "lo", .loopback = true, .master_kind = {}, .mtu = 65536},
                {.index = 2, .name = "eth0", .master_kind = {}, .mtu = 9000},
                {.index = 3, .name = "eth1", .master_kind = {}, .mtu = 1500}},
      .addresses = {{ip("127.0.0.1"), 1, true}, {ip("10.0.0.1"), 2, true}, {ip("10.1.0.1"), 3, true}}};
  EXPECT_EQ(path_mtu(links, {ip("10.0.0.1")}), 9000U);
  EXPECT_EQ(path_mtu(links, {}), 1500U) << "not told which: the smallest";
  EXPECT_EQ(path_mtu(links, {}, {prefix("10.1.0.0/24")}), 9000U) << "the pods' own link does not count";
  EXPECT_EQ(path_mtu({}, {}), 0U);
}

class APodNetwork : public ::testing::Test {
 protected:
  APodNetwork() {
    std::filesystem::create_directories(dir_ + "/net.d");
    std::filesystem::create_directories(dir_ + "/bin");
    options_.conf_dir = dir_ + "/net.d";
    options_.bin_dir = dir_ + "/bin";
    options_.binary = dir_ + "/fairlead-cni";
    EXPECT_TRUE(base::write_file_atomically(options_.binary, "first", 0755));
  }
  ~APodNetwork() override { std::filesystem::remove_all(dir_); }

  const std::string dir_ = base::cat(std::filesystem::temp_directory_path().string(), "/fairlead-pods-", ::getpid());
  PodNetworkOptions options_;
};

TEST_F(APodNetwork, WritesItsConflistOnceItCanServeAndNotAgain) {
  PodNetwork network(options_);
  PodNetworkFacts early = facts();
  early.services_in_kernel = false;
  EXPECT_EQ(*network.update(early), false);
  EXPECT_FALSE(std::filesystem::exists(network.conf_path()));
  EXPECT_TRUE(network.refusal());
  EXPECT_EQ(*network.update(facts()), true);
  EXPECT_FALSE(network.refusal());
  EXPECT_EQ(*network.update(facts()), false);
}

TEST_F(APodNetwork, KeepsTheLastGoodConflistWhenTheNodeLosesItsPodCidrs) {
  PodNetwork network(options_);
  ASSERT_TRUE(network.update(facts()));
  PodNetworkFacts bare = facts();
  bare.pod_cidrs.clear();
  ASSERT_TRUE(network.update(bare));
  EXPECT_TRUE(network.refusal());
  EXPECT_TRUE(std::filesystem::exists(network.conf_path()));
}

TEST_F(APodNetwork, SaysWhyTheConflistCannotBeWritten) {
  std::filesystem::remove_all(options_.conf_dir);
  PodNetwork network(options_);
  const auto written = network.update(facts());
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message().find("net.d"), std::string::npos);
  EXPECT_EQ(network.refusal(), written.error().message());
}

TEST_F(APodNetwork, LeavesOrRemovesItsConflistAtTheEnd) {
  PodNetwork leaving(options_);
  ASSERT_TRUE(leaving.update(facts()));
  ASSERT_TRUE(leaving.leave());
  EXPECT_TRUE(std::filesystem::exists(leaving.conf_path()));
  options_.on_exit = OnExit::Remove;
  PodNetwork removing(options_);
  ASSERT_TRUE(removing.leave());
  EXPECT_FALSE(std::filesystem::exists(removing.conf_path()));
  EXPECT_TRUE(removing.leave()) << "gone already is no error";
}

TEST_F(APodNetwork, ServesByTheConflistOfAnEarlierRunUntilItKnowsBetter) {
  ASSERT_TRUE(PodNetwork(options_).update(facts()));
  PodNetwork again(options_);
  EXPECT_FALSE(again.refusal());
  PodNetworkFacts early = facts();
  early.services_in_kernel = false;
  ASSERT_TRUE(again.update(early));
  EXPECT_FALSE(again.refusal());
}

TEST_F(APodNetwork, KeepsTheMtuWhenTheNodeLosesItsAddressForAWhile) {
  PodNetwork network(options_);
  ASSERT_TRUE(network.update(facts()));
  PodNetworkFacts bare = facts();
  bare.mtu = 0;
  EXPECT_EQ(*network.update(bare), false);
  EXPECT_FALSE(network.refusal());
}

TEST_F(APodNetwork, TriesAgainToInstallTheBinary) {
  const std::string binary = options_.binary;
  options_.binary = dir_ + "/not-yet";
  PodNetwork network(options_);
  ASSERT_FALSE(network.update(facts()));
  EXPECT_NE(network.refusal()->find("install the CNI binary"), std::string::npos);
  std::filesystem::copy(binary, options_.binary);
  EXPECT_EQ(*network.update(facts()), true);
}

TEST_F(APodNetwork, LeavesSomebodysLoopbackAndMendsATornOne) {
  const std::string loopback = options_.bin_dir + "/loopback";
  ASSERT_TRUE(base::write_file_atomically(loopback, "somebody's", 0755));
  ASSERT_TRUE(PodNetwork(options_).install_binary());
  EXPECT_EQ(*base::read_file(loopback), "somebody's");
  ASSERT_TRUE(base::write_file_atomically(loopback, "", 0755));
  ASSERT_TRUE(PodNetwork(options_).install_binary());
  EXPECT_EQ(*base::read_file(loopback), "first");
}

TEST_F(APodNetwork, InstallsTheBinaryByRenameAndOnlyWhatIsNotThere) {
  const PodNetwork network(options_);
  const std::string installed = options_.bin_dir + "/fairlead";
  ASSERT_TRUE(network.install_binary());
  EXPECT_EQ(*base::read_file(installed), "first");
  struct stat before {};
  ASSERT_EQ(::stat(installed.c_str(), &before), 0);
  EXPECT_EQ(before.st_mode & 0777U, 0755U);

  ASSERT_TRUE(network.install_binary());
  struct stat same {};
  ASSERT_EQ(::stat(installed.c_str(), &same), 0);
  EXPECT_EQ(same.st_ino, before.st_ino) << "the same bytes are not written again";

  ASSERT_TRUE(base::write_file_atomically(options_.binary, "second", 0755));
  ASSERT_TRUE(network.install_binary());
  struct stat after {};
  ASSERT_EQ(::stat(installed.c_str(), &after), 0);
  EXPECT_NE(after.st_ino, before.st_ino) << "a runtime that executes the old one must not see it change";
  EXPECT_EQ(*base::read_file(installed), "second");
  EXPECT_EQ(*base::read_file(options_.bin_dir + "/loopback"), "second") << "goes with it";
}

}  // namespace
}  // namespace fairlead::agent
