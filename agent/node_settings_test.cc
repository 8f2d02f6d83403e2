#include "agent/node_settings.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/strings.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using K = KubeProxyConfiguration;

constexpr const char* kMax = "/proc/sys/net/netfilter/nf_conntrack_max";
constexpr const char* kHash = "/sys/module/nf_conntrack/parameters/hashsize";
constexpr const char* kEstablished = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
constexpr const char* kCloseWait = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait";

std::int64_t max_of(std::int32_t per_core, std::int32_t min, unsigned cpus) {
  K configuration;
  configuration.conntrack_max_per_core = per_core;
  configuration.conntrack_min = min;
  for (const NodeSetting& setting : conntrack_settings(configuration, cpus)) {
    if (setting.file == kMax) return setting.value;
  }
  return -1;
}

TEST(ConntrackSettings, DefaultsAreThoseOfKubeProxyAndOnlyTheSizesAreLowerBounds) {
  EXPECT_EQ(conntrack_settings(K(), 8), (std::vector<NodeSetting>{
                                            {kMax, 262144, Bound::AtLeast},
                                            {kHash, 65536, Bound::AtLeast, false},
                                            {kEstablished, 86400},
                                            {kCloseWait, 3600},
                                        }));
}

TEST(ConntrackSettings, TheLimitScalesWithCpusBetweenTheMinimumAndAMillion) {
  EXPECT_EQ(max_of(32768, 131072, 1), 131072);
  EXPECT_EQ(max_of(32768, 131072, 16), 524288);
  EXPECT_EQ(max_of(32768, 131072, 128), 1048576);
  EXPECT_EQ(max_of(2147483647, 0, 1024), 1048576);
}

TEST(ConntrackSettings, AMinimumOfMoreThanAMillionIsTheOperatorsWish) {
  EXPECT_EQ(max_of(32768, 2000000, 128), 2000000);
}

TEST(ConntrackSettings, NoLimitPerCoreLeavesTheLimitAloneWhateverTheMinimum) { EXPECT_EQ(max_of(0, 131072, 8), -1); }

TEST(ConntrackSettings, ZeroLeavesATimeoutAloneAndOthersAreWholeSeconds) {
  K configuration;
  configuration.conntrack_max_per_core = 0;
  configuration.conntrack_tcp_established_timeout = 0s;
  configuration.conntrack_tcp_close_wait_timeout = 1500ms;
  configuration.conntrack_tcp_be_liberal = true;
  configuration.conntrack_udp_timeout = 30s;
  configuration.conntrack_udp_stream_timeout = 3min;
  EXPECT_EQ(conntrack_settings(configuration, 8),
            (std::vector<NodeSetting>{{"/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", 1},
                                      {kCloseWait, 1},
                                      {"/proc/sys/net/netfilter/nf_conntrack_udp_timeout", 30},
                                      {"/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream", 180}}));
}

TEST(ToWrite, IsWhatDiffersAndALargerLimitIsNeverLowered) {
  const NodeSetting limit{kMax, 100, Bound::AtLeast};
  const NodeSetting timeout{kEstablished, 100};
  EXPECT_EQ(to_write({limit, timeout}, {{kMax, 100}, {kEstablished, 100}}), std::vector<NodeSetting>());
  EXPECT_EQ(to_write({limit, timeout}, {{kMax, 101}, {kEstablished, 101}}), std::vector<NodeSetting>{timeout});
  EXPECT_EQ(to_write({limit, timeout}, {{kMax, 99}, {kEstablished, 99}}), (std::vector<NodeSetting>{limit, timeout}));
  EXPECT_EQ(to_write({limit, timeout}, {{kEstablished, 1}}), std::vector<NodeSetting>{timeout});
}

// Files that hold text; what is in `read_only` refuses writes.
struct FakeFiles final : NodeFiles {
  std::map<std::string, std::string> files;
  std::vector<std::string> read_only;
  std::vector<std::string> writes;

  Result<std::string> read(const std::string& file) override {
    const auto it = files.find(file);
    if (it == files.end()) return Error::from_errno(file, ENOENT);
    return it->second;
  }
  Status write(const std::string& file, const std::string& text) override {
    writes.push_back(base::cat(file, "=", text));
    for (const std::string& each : read_only) {
      if (each == file) return Error::from_errno(file, EROFS);
    }
    files[file] = text + "\n";
    return {};
  }
};

TEST(Tune, WritesWhatDiffersAndTheSecondTimeNothing) {
  FakeFiles node;
  node.files = {{kMax, "65536\n"}, {kHash, "16384\n"}, {kEstablished, "432000\n"}, {kCloseWait, "3600\n"}};
  const auto wanted = conntrack_settings(K(), 8);
  const auto first = tune(node, wanted);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->written.size(), 3U);
  EXPECT_EQ(node.files[kMax], "262144\n");
  EXPECT_EQ(node.files[kHash], "65536\n");
  EXPECT_EQ(node.files[kEstablished], "86400\n");
  node.writes.clear();
  EXPECT_TRUE(tune(node, wanted).has_value());
  EXPECT_EQ(node.writes, std::vector<std::string>());
}

TEST(Tune, WhatTheKernelDoesNotHaveIsSaidAndNotWritten) {
  FakeFiles node;
  const auto tuned = tune(node, {{kMax, 1, Bound::AtLeast}, {kEstablished, 1}});
  ASSERT_TRUE(tuned.has_value());
  EXPECT_EQ(tuned->absent, (std::vector<std::string>{kMax, kEstablished}));
  EXPECT_EQ(node.writes, std::vector<std::string>());
}

TEST(Tune, AReadOnlyNodeIsAnErrorOnlyWhereTheValueIsNeeded) {
  FakeFiles node;
  node.files = {{kMax, "65536\n"}, {kEstablished, "86400\n"}};
  node.read_only = {kMax, kEstablished};
  const auto tuned = tune(node, {{kMax, 131072, Bound::AtLeast}, {kEstablished, 86400}});
  ASSERT_FALSE(tuned.has_value());
  EXPECT_EQ(tuned.error().message(), base::cat("cannot set 131072 where 65536 is: ", kMax, ": Read-only file system"));
  EXPECT_TRUE(tune(node, {{kMax, 65536, Bound::AtLeast}, {kEstablished, 86400}}).has_value());
}

TEST(Tune, AfterAnErrorTheRestIsSetAllTheSame) {
  FakeFiles node;
  node.files = {{kMax, "1\n"}, {kEstablished, "1\n"}};
  node.read_only = {kMax};
  EXPECT_FALSE(tune(node, {{kMax, 2, Bound::AtLeast}, {kEstablished, 2}}).has_value());
  EXPECT_EQ(node.files[kEstablished], "2\n");
}

TEST(Tune, AHashTableThatCannotGrowIsAWarning) {
  FakeFiles node;
  node.files = {{kHash, "1\n"}};
  node.read_only = {kHash};
  const auto tuned = tune(node, {{kHash, 2, Bound::AtLeast, false}});
  ASSERT_TRUE(tuned.has_value());
  EXPECT_EQ(tuned->warnings,
            std::vector<std::string>{base::cat("cannot set 2 where 1 is: ", kHash, ": Read-only file system")});
}

}  // namespace
}  // namespace fairlead::agent
