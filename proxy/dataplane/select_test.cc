#include "proxy/dataplane/select.h"

#include <gtest/gtest.h>

namespace fairlead::proxy::dataplane {
namespace {

// What the modules were asked, in order.
struct Calls {
  std::vector<std::string> made;
};

Module module(Calls& calls, const std::string& name, const Probe& probe, bool has_traces = true) {
  return {.name = name,
          .probe =
              [&calls, name, probe](const Options&) {
                calls.made.push_back("probe " + name);
                return probe;
              },
          .open = [&calls, name](const Options&) -> Result<std::unique_ptr<Dataplane>> {
            calls.made.push_back("open " + name);
            return Error("not in this test");
          },
          .has_traces = [has_traces](const Options&) { return has_traces; },
          .remove = [&calls, name](const Options&) -> Status {
            calls.made.push_back("remove " + name);
            return {};
          }};
}

const Probe kUsable{.usable = true, .reason = "all there"};

TEST(Select, AutoTakesTheFirstUsableAndProbesNoFurther) {
  Calls calls;
  const std::vector<Module> table = {module(calls, "ebpf", kUsable), module(calls, "nftables", kUsable)};
  const auto selection = select("auto", table, {});
  ASSERT_TRUE(selection) << selection.error().message();
  EXPECT_EQ(selection->module.name, "ebpf");
  EXPECT_EQ(calls.made, std::vector<std::string>{"probe ebpf"});
}

TEST(Select, AutoFallsBackAndKeepsTheReason) {
  Calls calls;
  const std::vector<Module> table = {module(calls, "ebpf", {false, "no bpffs"}), module(calls, "nftables", kUsable)};
  const auto selection = select("auto", table, {});
  ASSERT_TRUE(selection) << selection.error().message();
  EXPECT_EQ(selection->module.name, "nftables");
  ASSERT_EQ(selection->probes.size(), 2U);
  EXPECT_EQ(selection->probes[0].dataplane, "ebpf");
  EXPECT_EQ(selection->probes[0].probe.reason, "no bpffs");
}

TEST(Select, ANamedOneIsTakenWithoutAProbe) {
  Calls calls;
  const std::vector<Module> table = {module(calls, "ebpf", kUsable), module(calls, "nftables", {false, "not root"})};
  const auto selection = select("nftables", table, {});
  ASSERT_TRUE(selection) << selection.error().message();
  EXPECT_EQ(selection->module.name, "nftables");
  ASSERT_EQ(selection->probes.size(), 1U);
  EXPECT_EQ(selection->probes[0].probe.reason, "asked for by name");
  EXPECT_TRUE(calls.made.empty());
}

TEST(Select, AutoWithNothingUsableGivesEveryReason) {
  Calls calls;
  const std::vector<Module> table = {module(calls, "ebpf", {false, "no bpffs"}),
                                     module(calls, "nftables", {false, "not root"})};
  const auto selection = select("auto", table, {});
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().message(), "no dataplane is usable: ebpf: no bpffs; nftables: not root");
}

TEST(Select, AnUnknownNameListsWhatIsAllowed) {
  Calls calls;
  const std::vector<Module> table = {module(calls, "ebpf", kUsable), module(calls, "nftables", kUsable)};
  const auto selection = select("xdp", table, {});
  ASSERT_FALSE(selection);
  EXPECT_EQ(selection.error().message(), "no dataplane is called \"xdp\": allowed are auto, ebpf, nftables");
}

TEST(RemoveTraces, TouchesNothingWhereThereIsNothing) {
  Calls calls;
  const auto found = remove_traces(module(calls, "ebpf", kUsable, false), {});
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, Found::Nothing);
  EXPECT_TRUE(calls.made.empty());
}

TEST(RemoveTraces, RemovesWhatIsThere) {
  Calls calls;
  const auto found = remove_traces(module(calls, "ebpf", kUsable), {});
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, Found::Removed);
  EXPECT_EQ(calls.made, std::vector<std::string>{"remove ebpf"});
}

}  // namespace
}  // namespace fairlead::proxy::dataplane
