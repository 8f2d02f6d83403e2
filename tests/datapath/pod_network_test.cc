// The agent as the pod network: when the runtime's configuration appears, what STATUS says, and that nothing stays of a
// pod whose sandbox went without a DEL.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mount.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tests/datapath/agent_process.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {
namespace {

using base::cat;

constexpr char kNodeWithout[] = "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n";
constexpr char kNode[] =
    "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n"
    "spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, 'fd00:10:244:1::/64']}\n"
    "status: {addresses: [{type: InternalIP, address: 172.18.0.1}]}\n";

class PodNetworkTest : public testing::Test {
 protected:
  void SetUp() override {
    auto created = Testbed::create({.nodes = 1, .pods_per_node = 0});
    ASSERT_OK(created);
    bed_ = std::move(*created);
    for (const char* name : {"/manifests", "/net.d", "/bin"}) std::filesystem::create_directory(bed_->dir() + name);
    agent_.emplace(
        *bed_, 1, "nftables",
        std::vector<std::string>{"--manifests", bed_->dir() + "/manifests", "--cni-conf-dir", bed_->dir() + "/net.d",
                                 "--cni-bin-dir", bed_->dir() + "/bin", "--cni-gc-period", "1s", "--cni-conf-on-exit",
                                 "remove", "--cluster-cidr", "10.244.0.0/16,fd00:10:244::/48"});
    ASSERT_OK(node_is(kNodeWithout));
    ASSERT_OK(agent_->start());
  }
  void TearDown() override {
    if (HasFailure() && agent_) std::cout << agent_->log() << std::endl;
  }

  Status node_is(const char* manifest) const {
    return base::write_file_atomically(bed_->dir() + "/manifests/node.yaml", manifest);
  }
  std::string conflist() const { return bed_->dir() + "/net.d/10-fairlead.conflist"; }
  bool within_20s(const std::function<bool()>& condition) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      ::poll(nullptr, 0, 10);
    }
    return true;
  }

  // The only plugin of the conflist as a runtime hands it over. The network's name is this testbed's own, since records
  // of all testbeds stand side by side.
  std::string plugin(const std::string& version) const {
    const auto text = base::read_file(conflist());
    base::Value list = text ? *base::parse_json(*text) : base::Value();
    base::Value one =
        list["plugins"].as_array() == nullptr
            ? base::Value().set("type", base::Value("fairlead")).set("agent", base::Value(agent_->status_socket()))
            : list["plugins"].as_array()->front();
    one.set("cniVersion", base::Value(version)).set("name", base::Value(bed_->prefix()));
    return base::to_json(one);
  }
  base::ProcessOutput cni(const std::vector<std::string>& variables, const std::string& version) const {
    base::ProcessOutput output;
    std::vector<std::string> argv{"/usr/bin/env"};
    argv.insert(argv.end(), variables.begin(), variables.end());
    argv.push_back(program_path("cni/fairlead"));
    const Status ran = bed_->run_in("node1", [&]() -> Status {
      output = TRY(base::run_process(argv, plugin(version)));
      return {};
    });
    EXPECT_OK(ran);
    return output;
  }
  base::ProcessOutput status() const { return cni({"CNI_COMMAND=STATUS"}, "1.1.0"); }
  std::string links() const {
    const auto shown = bed_->run("node1", {"ip", "-o", "link"});
    return shown ? shown->out : shown.error().message();
  }
  std::string records() const { return "/run/fairlead/cni/records/" + bed_->prefix(); }

  std::unique_ptr<Testbed> bed_;
  std::optional<AgentProcess> agent_;
};

TEST_F(PodNetworkTest, ARuntimeIsToldOnceTheNodeHasPodCidrsAndNoLongerThanTheAgentLives) {
  EXPECT_FALSE(std::filesystem::exists(conflist()));
  const base::ProcessOutput early = status();
  EXPECT_NE(early.exit_code, 0);
  EXPECT_NE(early.out.find("\"code\":50"), std::string::npos) << early.out;
  EXPECT_NE(early.out.find("has no spec.podCIDRs"), std::string::npos) << early.out;

  ASSERT_OK(node_is(kNode));
  ASSERT_TRUE(within_20s([&] { return std::filesystem::exists(conflist()); }));
  EXPECT_TRUE(std::filesystem::exists(bed_->dir() + "/bin/fairlead"));
  const base::ProcessOutput able = status();
  EXPECT_EQ(able.exit_code, 0) << able.out;

  ASSERT_OK(agent_->terminate());
  EXPECT_FALSE(std::filesystem::exists(conflist()));
  EXPECT_EQ(status().exit_code, 0) << "the binary wires pods without an agent";
}

TEST_F(PodNetworkTest, WhatAPodWithoutASandboxLeftIsCollected) {
  ASSERT_OK(node_is(kNode));
  ASSERT_TRUE(within_20s([&] { return std::filesystem::exists(conflist()); }));
  const std::string before = links();
  std::optional<NetNamespace> pod;
  const std::string path = bed_->dir() + "/netns/lost";
  auto made = NetNamespace::create(path, {});
  ASSERT_OK(made);
  pod.emplace(std::move(*made));
  const base::ProcessOutput added = cni(
      {"CNI_COMMAND=ADD", cat("CNI_CONTAINERID=", bed_->prefix()), "CNI_NETNS=" + path, "CNI_IFNAME=eth0"}, "1.0.0");
  ASSERT_EQ(added.exit_code, 0) << added.out << added.err;
  EXPECT_NE(added.out.find("10.244.1."), std::string::npos) << added.out;
  EXPECT_TRUE(std::filesystem::exists(records()));
  EXPECT_NE(links(), before);

  pod.reset();
  ASSERT_EQ(::umount2(path.c_str(), MNT_DETACH), 0);
  const auto address = [&] {
    return std::filesystem::exists(cat("/var/lib/cni/networks/", bed_->prefix(), "/10.244.1.2"));
  };
  EXPECT_TRUE(address());
  EXPECT_TRUE(within_20s([&] { return !address(); })) << "the address is not given back";
  EXPECT_TRUE(
      within_20s([&] { return agent_->log().find("released what pods without a sandbox left") != std::string::npos; }));
  EXPECT_EQ(links().find("veth"), std::string::npos) << links();
}

}  // namespace
}  // namespace fairlead::testbed
