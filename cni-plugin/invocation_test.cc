// What a caller may hand in, and what it is told when it may not: a row each.
#include "cni-plugin/invocation.h"

#include <gtest/gtest.h>

#include <ostream>

#include "cni-plugin/testing.h"

namespace fairlead::cni {
namespace {

using testing::ask;
using testing::Fake;
using testing::variables;

constexpr char kGood[] = R"({"cniVersion":"1.1.0","name":"net"})";

Environment with(Environment environment, const char* name, const char* value) {
  environment[name] = value;
  return environment;
}
Environment without(Environment environment, const char* name) {
  environment.erase(name);
  return environment;
}

struct Refusal {
  const char* what;
  Environment environment;
  std::string config;
  int code;
  std::string message;  // all of it behind "fake: "
  std::string details = "";
  std::string oldest_version = "0.1.0";
};
void PrintTo(const Refusal& row, std::ostream* out) { *out << row.what; }

class Refused : public ::testing::TestWithParam<Refusal> {};

TEST_P(Refused, IsToldWithItsCodeAndNothingIsDone) {
  const Refusal& row = GetParam();
  Fake fake;
  testing::Folder folder;
  const Answer answer =
      ask(Fake::plugin(row.oldest_version), row.environment, row.config, World{folder.path(), "boot"});
  EXPECT_EQ(answer.exit_code, 1);
  const auto json = testing::json(answer.out);
  EXPECT_EQ(json["code"], base::Value(row.code)) << answer.out;
  ASSERT_NE(json["msg"].as_string(), nullptr);
  EXPECT_EQ(*json["msg"].as_string(), "fake: " + row.message);
  EXPECT_EQ(json["details"], row.details.empty() ? base::Value() : base::Value(row.details));
  EXPECT_FALSE(json["cniVersion"].is_null());
  EXPECT_TRUE(fake.asked.empty());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

const std::string kLongIdentifier =
    R"(": must be alphanumeric characters, ".", "_" and "-", an alphanumeric one first)";

const Refusal kRefusals[] = {
    // The environment.
    {"NothingButAdd",
     {{"CNI_COMMAND", "ADD"}},
     kGood,
     4,
     "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"},
    {"NothingButDel",
     {{"CNI_COMMAND", "DEL"}},
     kGood,
     4,
     "required env variables [CNI_CONTAINERID,CNI_IFNAME] missing"},
    {"NothingButCheck",
     {{"CNI_COMMAND", "CHECK"}},
     kGood,
     4,
     "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"},
    {"EmptyContainer", with(variables("ADD"), "CNI_CONTAINERID", ""), kGood, 4,
     "required env variables [CNI_CONTAINERID] missing"},
    {"AddWithoutNetns", without(variables("ADD"), "CNI_NETNS"), kGood, 4, "required env variables [CNI_NETNS] missing"},
    {"MissingVariablesBeforeBadConfig", without(variables("ADD"), "CNI_IFNAME"), "{", 4,
     "required env variables [CNI_IFNAME] missing"},
    {"UnknownCommand", variables("UPDATE"), kGood, 4, "unknown CNI_COMMAND: UPDATE"},
    {"CommandInLowerCase", variables("add"), kGood, 4, "unknown CNI_COMMAND: add"},
    {"ContainerWithSlash", variables("ADD", "a/b"), kGood, 4, "CNI_CONTAINERID=\"a/b" + kLongIdentifier},
    {"ContainerStartsWithDot", variables("DEL", "..x"), kGood, 4, "CNI_CONTAINERID=\"..x" + kLongIdentifier},
    {"InterfaceOf16Bytes", with(variables("ADD"), "CNI_IFNAME", "a234567890123456"), kGood, 4,
     R"(CNI_IFNAME="a234567890123456": has 16 bytes, at most 15 are allowed)"},
    {"InterfaceDot", with(variables("ADD"), "CNI_IFNAME", "."), kGood, 4, R"(CNI_IFNAME=".": is not allowed)"},
    {"InterfaceDots", with(variables("ADD"), "CNI_IFNAME", ".."), kGood, 4, R"(CNI_IFNAME="..": is not allowed)"},
    {"InterfaceSlash", with(variables("ADD"), "CNI_IFNAME", "a/b"), kGood, 4,
     R"(CNI_IFNAME="a/b": must have no "/", ":" or space)"},
    {"InterfaceColon", with(variables("ADD"), "CNI_IFNAME", "a:1"), kGood, 4,
     R"(CNI_IFNAME="a:1": must have no "/", ":" or space)"},
    {"InterfaceSpace", with(variables("ADD"), "CNI_IFNAME", "a b"), kGood, 4,
     R"(CNI_IFNAME="a b": must have no "/", ":" or space)"},
    {"InterfaceNotUtf8", with(variables("ADD"), "CNI_IFNAME", "a\xff"), kGood, 4, "CNI_IFNAME: is not UTF-8"},
    {"ArgumentWithoutValue", with(variables("ADD"), "CNI_ARGS", "IP=10.0.0.1;MAC"), kGood, 4,
     R"(CNI_ARGS: "MAC" must be KEY=VALUE)"},
    {"ArgumentWithTwoValues", with(variables("ADD"), "CNI_ARGS", "IP=1=2"), kGood, 4,
     R"(CNI_ARGS: "IP=1=2" must be KEY=VALUE)"},
    {"UnknownArgument", with(variables("ADD"), "CNI_ARGS", "FOO=1"), kGood, 4,
     R"(CNI_ARGS: the key "FOO" is unknown, and IgnoreUnknown=1 is not given)"},
    // The configuration.
    {"NoConfig", variables("ADD"), "", 6,
     "network configuration: parse error at line 1, column 1: syntax error while parsing value - unexpected end of "
     "input; expected '[', '{', or a literal"},
    {"ListForConfig", variables("ADD"), "[]", 6, "network configuration: must be an object, not a list"},
    {"NumberForName", variables("ADD"), R"({"name":5})", 6, "name: must be a string, not an integer (5)"},
    {"NoName", variables("ADD"), R"({"cniVersion":"1.0.0"})", 7, "missing network name"},
    {"EmptyName", variables("ADD"), R"({"cniVersion":"1.0.0","name":""})", 7, "missing network name"},
    {"NameWithSlash", variables("ADD"), R"({"name":"a/../b"})", 7,
     R"(name: must be alphanumeric characters, ".", "_" and "-", an alphanumeric one first, not "a/../b")"},
    {"NameBeforeVersion", variables("ADD"), R"({"cniVersion":"9.9.9"})", 7, "missing network name"},
    {"ContainerBeforeVersion", variables("ADD", "a/b"), R"({"cniVersion":"9.9.9","name":"n"})", 4,
     "CNI_CONTAINERID=\"a/b" + kLongIdentifier},
    {"UnknownVersion", variables("ADD"), R"({"cniVersion":"1.2.0","name":"n"})", 1, "incompatible CNI versions",
     R"(config is "1.2.0", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"])"},
    {"VersionOlderThanThePlugin", variables("ADD"), R"({"cniVersion":"0.3.1","name":"n"})", 1,
     "incompatible CNI versions", R"(config is "0.3.1", plugin supports ["0.4.0" "1.0.0" "1.1.0"])", "0.4.0"},
    {"NoVersionIsTheOldest", variables("ADD"), R"({"name":"n"})", 1, "incompatible CNI versions",
     R"(config is "0.1.0", plugin supports ["1.1.0"])", "1.1.0"},
    {"CheckBefore040", variables("CHECK"), R"({"cniVersion":"0.3.1","name":"n"})", 1,
     "config version does not allow CHECK", R"(config is "0.3.1")"},
    {"StatusBefore110", variables("STATUS"), R"({"cniVersion":"1.0.0","name":"n"})", 1,
     "config version does not allow STATUS", R"(config is "1.0.0")"},
    {"GcBefore110", variables("GC"), R"({"cniVersion":"1.0.0","name":"n","cni.dev/valid-attachments":[]})", 1,
     "config version does not allow GC", R"(config is "1.0.0")"},
    {"PreviousResultWithoutSense", variables("ADD"),
     R"({"cniVersion":"1.0.0","name":"n","prevResult":{"ips":[{"address":"10.0.0.300/8"}]}})", 6,
     "prevResult: ips[0].address: \"10.0.0.300\" is not an IPv4 or IPv6 address"},
    {"CheckWithoutPreviousResult", variables("CHECK"), kGood, 7, "prevResult: is missing, and CHECK needs it"},
    {"GcWithoutTheList", variables("GC"), kGood, 7, "cni.dev/valid-attachments: is missing, so nothing is removed"},
    {"GcWithAHoleInTheList", variables("GC"),
     R"({"cniVersion":"1.1.0","name":"n","cni.dev/valid-attachments":[{"containerID":"c1"}]})", 7,
     "cni.dev/valid-attachments[0].ifname: is missing"},
    {"OwnNetworkNamespaceOnAdd", variables("ADD", "c1", "/proc/self/ns/net"), kGood, 8,
     R"(CNI_NETNS="/proc/self/ns/net" is the network namespace this plugin runs in; CNI_NETNS_OVERRIDE=1 allows it)"},
    {"OwnNetworkNamespaceOnDel", variables("DEL", "c1", "/proc/self/ns/net"), kGood, 8,
     R"(CNI_NETNS="/proc/self/ns/net" is the network namespace this plugin runs in; CNI_NETNS_OVERRIDE=1 allows it)"},
};

INSTANTIATE_TEST_SUITE_P(Invocation, Refused, ::testing::ValuesIn(kRefusals),
                         [](const auto& row) { return std::string(row.param.what); });

TEST(Invocation, WithoutACommandThePluginTellsWhatItIsOnStderr) {
  const Answer answer = ask(Fake::plugin("0.4.0"), {}, "", World());
  EXPECT_EQ(
      answer,
      (Answer{0, "", "CNI fake plugin of Fairlead: is asked\nCNI protocol versions supported: 0.4.0, 1.0.0, 1.1.0\n"}));
}

TEST(Invocation, VersionIsAnsweredWithoutLookingAtStdin) {
  const Answer answer = dispatch(
      Fake::plugin("1.0.0"), {{"CNI_COMMAND", "VERSION"}},
      []() -> Result<std::string> {
        ADD_FAILURE() << "stdin was read";
        return Error("");
      },
      World());
  EXPECT_EQ(answer, (Answer{0, "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"1.0.0\",\"1.1.0\"]}\n", ""}));
}

TEST(Invocation, AStdinThatCannotBeReadIsAnIoFailure) {
  const Answer answer = dispatch(
      Fake::plugin(), variables("ADD"),
      []() -> Result<std::string> { return Error("error reading from stdin").with_code(code::kIo); }, World());
  EXPECT_EQ(testing::json(answer.out)["code"], base::Value(5));
}

TEST(Invocation, ACallSaysAllThatCame) {
  const Plugin plugin = Fake::plugin();
  Environment environment = variables("ADD");
  environment["CNI_ARGS"] = "IgnoreUnknown=1;K8S_POD_NAME=web-0;FOO=a";
  environment["CNI_PATH"] = "/a:/b";
  auto named = read_environment(plugin, environment);
  ASSERT_TRUE(named) << named.error().message();
  const std::string config = R"({"name":"net","cniVersion":"0.4.0",
      "prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/24"}]}})";
  const auto call = read_config(plugin, *named, config);
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_EQ(call->plugin, "fake");
  EXPECT_EQ(call->attachment, (Attachment{"net", "c1", "eth0"}));
  EXPECT_EQ(call->netns, "/none");
  EXPECT_EQ(call->args.at("K8S_POD_NAME"), "web-0");
  EXPECT_EQ(call->path, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(call->version, "0.4.0");
  EXPECT_EQ(call->stdin_text, config);
  ASSERT_TRUE(call->previous);
  EXPECT_EQ(call->previous->ips.front().address.to_string(), "10.0.0.2/24");
  const auto again = read_environment(plugin, environment_of(*call));
  ASSERT_TRUE(again);
  EXPECT_EQ(environment_of(*again), environment_of(*call));
}

TEST(Invocation, ADelDoesWhatItCanWithBadArgumentsAndPreviousResults) {
  Fake fake;
  testing::Folder folder;
  Environment environment = variables("DEL", "c1", "");
  environment["CNI_ARGS"] = "what;ever";
  const Answer answer = ask(Fake::plugin(), environment, R"({"name":"n","cniVersion":"1.0.0","prevResult":{"ips":5}})",
                            World{folder.path(), "b"});
  EXPECT_EQ(answer, (Answer{0, "", ""}));
  EXPECT_EQ(fake.asked, std::vector<std::string>{"del c1 eth0"});
}

TEST(Invocation, CniPathIsOptional) {
  Fake fake;
  testing::Folder folder;
  const Answer answer = ask(Fake::plugin(), without(variables("ADD"), "CNI_PATH"), kGood, World{folder.path(), "b"});
  EXPECT_EQ(answer.exit_code, 0) << answer.out;
}

TEST(Invocation, GcReadsTheOlderKeyOfTheAttachmentsToo) {
  const Plugin plugin = Fake::plugin();
  const auto named = read_environment(plugin, {{"CNI_COMMAND", "GC"}});
  ASSERT_TRUE(named);
  const auto call =
      read_config(plugin, *named,
                  R"({"cniVersion":"1.1.0","name":"n","cni.dev/attachments":[{"containerID":"a","ifname":"eth1"}]})");
  ASSERT_TRUE(call) << call.error().message();
  EXPECT_EQ(call->valid, (std::vector<Attachment>{{"n", "a", "eth1"}}));
}

TEST(Invocation, MembersAreFoundAsGoFindsThem) {
  const auto config = base::parse_json(R"({"NAME":"other","name":"exact","BandWidth":{"ingressRATE":5},"mtu":null})");
  ASSERT_TRUE(config);
  const auto fields = Fields::of(*config);
  ASSERT_TRUE(fields);
  EXPECT_EQ(*fields->text("name"), "exact");
  EXPECT_EQ(*fields->object("bandwidth")->integer("ingressRate", 0, 10), 5);
  EXPECT_FALSE(fields->has("mtu"));
  EXPECT_EQ(fields->object("bandwidth")->integer("ingressRate", 6, 10).error().message(),
            "bandwidth.ingressRate: must be from 6 to 10, not 5");
  EXPECT_EQ(fields->texts("name").error().message(), "name: must be a list of strings, not a string (\"exact\")");
}

}  // namespace
}  // namespace fairlead::cni
