// host-local as a runtime sees it: variables and a configuration in, an answer and files out.
#include <gtest/gtest.h>

#include <fstream>

#include "cni-plugin/host_local_config.h"
#include "cni-plugin/testing.h"

namespace fairlead::cni {
namespace {

struct Ask {
  std::string command = "ADD", id = "c1", args = "", version = "1.0.0", more = "";
};

class HostLocal : public ::testing::Test {
 protected:
  HostLocal() {
    world_.run_dir = folder_ / "run";
    world_.boot_id = "boot-1";
  }

  Answer ask(std::string_view ipam, const Ask& how) {
    Environment environment = testing::variables(how.command, how.id);
    if (!how.args.empty()) environment["CNI_ARGS"] = how.args;
    return testing::ask(
        kHostLocal, environment,
        base::cat(R"({"cniVersion":")", how.version, R"(","name":"net","ipam":{"type":"host-local",)", R"("dataDir":")",
                  folder_ / "networks", "\"", ipam.empty() ? "" : ",", ipam, "}", how.more, "}"),
        world_);
  }
  // "10.1.0.2/24 via 10.1.0.1, ...", or "code text".
  std::string told(std::string_view ipam, const Ask& how = {}) {
    const Answer answer = ask(ipam, how);
    if (answer.out.empty()) return "";
    const auto json = testing::json(answer.out);
    if (answer.exit_code != 0) return base::cat(*json["code"].as_int(), " ", *json["msg"].as_string());
    std::string out;
    for (const auto& ip : *json["ips"].as_array())
      base::append(out,
                   base::cat(out.empty() ? "" : ", ", *ip["address"].as_string(), " via ", *ip["gateway"].as_string()));
    return out;
  }
  std::string held(const std::string& address) {
    std::ifstream in(folder_ / base::cat("networks/net/", address));
    return {std::istreambuf_iterator<char>(in), {}};
  }

  testing::Folder folder_;
  World world_;
};

constexpr char kOne[] = R"("subnet":"10.1.0.0/24")";
constexpr char kTwo[] = R"("ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00::/64"}]])";

TEST_F(HostLocal, AnswersInTheVersionOfTheConfiguration) {
  EXPECT_EQ(ask(R"("subnet":"10.1.0.0/24","routes":[{"dst":"0.0.0.0/0"}])", {.version = "0.2.0"}).out,
            R"({"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]},)"
            R"("dns":{}})"
            "\n");
  EXPECT_EQ(ask(kTwo, {.id = "c2"}).out,
            R"({"cniVersion":"1.0.0","ips":[{"address":"10.1.0.3/24","gateway":"10.1.0.1"},)"
            R"({"address":"fd00::2/64","gateway":"fd00::1"}],"dns":{}})"
            "\n");
}

TEST_F(HostLocal, TheRuntimesRangesComeFirstThenTheOldFormThenTheList) {
  const std::string more = R"(,"runtimeConfig":{"ipRanges":[[{"subnet":"10.9.0.0/24"}]]})";
  EXPECT_EQ(told(R"("subnet":"10.1.0.0/24","ranges":[[{"subnet":"10.2.0.0/24"}]])", {.more = more}),
            "10.9.0.2/24 via 10.9.0.1, 10.1.0.2/24 via 10.1.0.1, 10.2.0.2/24 via 10.2.0.1");
}

TEST_F(HostLocal, KeysAreReadWithoutRegardToCaseAsGoDoes) {
  EXPECT_EQ(told(R"("Ranges":[[{"SUBNET":"10.1.0.0/24","rangestart":"10.1.0.50","Gateway":"10.1.0.254"}]])"),
            "10.1.0.50/24 via 10.1.0.254");
}

TEST_F(HostLocal, WantedAddressesComeFromThreePlaces) {
  EXPECT_EQ(told(kOne, {.id = "a", .args = "IP=10.1.0.77"}), "10.1.0.77/24 via 10.1.0.1");
  EXPECT_EQ(told(kOne, {.id = "b", .more = R"(,"args":{"cni":{"ips":["10.1.0.78"]}})"}), "10.1.0.78/24 via 10.1.0.1");
  EXPECT_EQ(told(kOne, {.id = "c", .more = R"(,"runtimeConfig":{"ips":["10.1.0.79/16"]})"}),
            "10.1.0.79/24 via 10.1.0.1");
  EXPECT_EQ(told(kOne, {.id = "d", .more = R"(,"runtimeConfig":{"ips":["10.1.0.80"]})"}), "10.1.0.80/24 via 10.1.0.1");
  EXPECT_EQ(told(kOne, {.id = "f", .args = "IP=10.1.0.81/24"}), "10.1.0.81/24 via 10.1.0.1");
  EXPECT_EQ(told(kOne, {.id = "g", .more = R"(,"args":{"cni":{"ips":["10.1.0.82/16"]}})"}),
            "10.1.0.82/24 via 10.1.0.1");
  EXPECT_EQ(told(kTwo, {.id = "e", .args = "IP=fd00::9", .more = R"(,"args":{"cni":{"ips":["10.1.0.90"]}})"}),
            "10.1.0.90/24 via 10.1.0.1, fd00::9/64 via fd00::1");
}

TEST_F(HostLocal, ErrorsNameWhatIsWrongAndWhatIsAllowed) {
  const std::string listed = "must be a list of lists of ranges ([[{\"subnet\": ...}]]), not ";
  const struct {
    const char* ipam;
    Ask ask;
    std::string error;
  } rows[] = {
      {"", {}, "7 host-local: ipam.ranges: no range is given, here, in ipam.subnet or in runtimeConfig.ipRanges"},
      {R"("ranges":[[]])", {}, "7 host-local: ipam.ranges[0]: is empty; it needs one range at least"},
      {R"("ranges":{})", {}, "6 host-local: ipam.ranges: " + listed + "an object"},
      {R"("ranges":[{"subnet":"10.1.0.0/24"}])", {}, "6 host-local: ipam.ranges[0]: " + listed + "an object"},
      {R"("ranges":[[{}]])", {}, "7 host-local: ipam.ranges[0][0].subnet: is missing"},
      {R"("ranges":[[{"subnet":5}]])",
       {},
       "6 host-local: ipam.ranges[0][0].subnet: must be a string, not an integer (5)"},
      {R"("subnet":"10.1.0.7/24")",
       {},
       "7 host-local: ipam.subnet: 10.1.0.7/24 has host bits set; the network is 10.1.0.0/24"},
      {R"("subnet":"10.1.0.0/24","rangeEnd":"x")",
       {},
       "6 host-local: ipam.rangeEnd: \"x\" is not an IPv4 or IPv6 address"},
      {R"("ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"10.2.0.0/24"}]])",
       {.version = "0.2.0"},
       "7 host-local: ipam.ranges: CNI version 0.2.0 does not support more than 1 address per family; 0.3.0 and later "
       "do"},
      {kOne, {.args = "IP=x"}, "4 host-local: CNI_ARGS: IP: \"x\" is not an IPv4 or IPv6 address"},
      {kOne, {.args = "IP=10.1.0.1"}, "7 host-local: the wanted address 10.1.0.1 is the gateway of its subnet"},
      {kOne,
       {.more = R"(,"args":{"cni":{"ips":["10.1.0.3/33"]}})"},
       "7 host-local: args.cni.ips: \"10.1.0.3/33\" is not a prefix (0-32 bits)"},
      {R"("subnet":"10.1.0.0/24","resolvConf":"/no/such")",
       {},
       "5 host-local: ipam.resolvConf: /no/such: No such file or directory"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(told(row.ipam, row.ask), row.error) << row.ipam;
    EXPECT_FALSE(std::filesystem::exists(folder_ / "networks/net/10.1.0.2")) << row.ipam;
  }
}

TEST_F(HostLocal, ResolvConfBecomesDns) {
  std::ofstream(folder_ / "resolv.conf")
      << "# comment\n; other\n nameserver  10.0.0.10\nnameserver fd00::10\nsearch a.b\tc.d\n"
         "domain a.b\noptions ndots:5 edns0\nsortlist x\nnameserver\nsearch e\n";
  const Answer answer = ask(base::cat(kOne, R"(,"resolvConf":")", folder_ / "resolv.conf", "\""), {});
  EXPECT_EQ(testing::json(answer.out)["dns"],
            testing::json(R"({"nameservers":["10.0.0.10","fd00::10"],"domain":"a.b","search":["a.b","c.d","e"],)"
                          R"("options":["ndots:5","edns0"]})"));
}

TEST_F(HostLocal, DelNeedsNoMoreOfTheConfigurationThanItsPlace) {
  told(kOne);
  EXPECT_EQ(held("10.1.0.2"), "c1\r\neth0");
  EXPECT_EQ(told(R"("ranges":"nonsense")", {.command = "DEL"}), "");
  EXPECT_EQ(held("10.1.0.2"), "");
  EXPECT_EQ(told(kOne, {.command = "DEL"}), "") << "and once more";
}

TEST_F(HostLocal, ADelBeforeAnyAddMakesNothing) {
  EXPECT_EQ(told(kOne, {.command = "DEL"}), "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "networks"));
}

TEST_F(HostLocal, ASecondAddOfWhatAnotherPluginGaveIsRefusedAndTakesNothingAway) {
  std::filesystem::create_directories(folder_ / "networks/net");
  std::ofstream(folder_ / "networks/net/10.1.0.2", std::ios::binary) << "c1\r\neth0";
  EXPECT_EQ(told(kOne),
            "100 host-local: 10.1.0.2 has been allocated to c1 (eth0) already; DEL comes before another ADD");
  EXPECT_EQ(held("10.1.0.2"), "c1\r\neth0");
}

TEST_F(HostLocal, CheckAsksWhetherSomethingIsHeld) {
  const std::string previous = R"(,"prevResult":{"cniVersion":"1.0.0","ips":[]})";
  const Ask check{.command = "CHECK", .more = previous};
  EXPECT_EQ(told(kOne, check), "999 host-local: no address is held by container c1 (eth0)");
  told(kOne);
  EXPECT_EQ(told(kOne, check), "");
  told(kOne, {.command = "DEL"});
  EXPECT_EQ(told(kOne, check), "999 host-local: no address is held by container c1 (eth0)");
}

TEST_F(HostLocal, ExhaustionIsTryAgainAndStatusSaysSoBefore) {
  constexpr char kTiny[] = R"("subnet":"10.1.0.0/30")";
  const Ask status{.command = "STATUS", .version = "1.1.0"};
  EXPECT_EQ(told(kTiny, status), "");
  told(kTiny);
  const std::string full = base::cat(
      "host-local: no address is left in range set 0 (10.1.0.1-10.1.0.2): 1 of its 1 "
      "addresses are held in ",
      folder_ / "networks/net");
  EXPECT_EQ(told(kTiny, {.id = "c2"}), "11 " + full);
  EXPECT_EQ(told(kTiny, status), "50 " + full);
  told(kTiny, {.command = "DEL"});
  EXPECT_EQ(told(kTiny, status), "");
}

TEST_F(HostLocal, AStateDirectoryThatCannotBeUsedIsAnIoErrorAndStatus50) {
  std::ofstream(folder_ / "networks") << "a file";
  const std::string text = base::cat("host-local: ", folder_ / "networks/net", ": Not a directory");
  EXPECT_EQ(told(kOne).substr(0, text.size() + 2), "5 " + text);
  EXPECT_EQ(told(kOne, {.command = "DEL"}), "5 " + text);
  EXPECT_EQ(told(kOne, {.command = "STATUS", .version = "1.1.0"}), "50 " + text);
}

TEST_F(HostLocal, GcKeepsWhatLivesInThisNetwork) {
  for (const std::string id : {"a", "b", "c"}) told(kOne, {.id = id});
  const auto gc = [&](std::string_view valid) {
    return told(kOne,
                {.command = "GC", .version = "1.1.0", .more = base::cat(R"(,"cni.dev/valid-attachments":)", valid)});
  };
  EXPECT_EQ(gc(R"([{"containerID":"b","ifname":"eth0"},{"containerID":"c","ifname":"net1"}])"), "");
  EXPECT_EQ(held("10.1.0.2") + held("10.1.0.3") + held("10.1.0.4"), "b\r\neth0");
  EXPECT_EQ(gc("[]"), "");
  EXPECT_EQ(held("10.1.0.3"), "");
}

}  // namespace
}  // namespace fairlead::cni
