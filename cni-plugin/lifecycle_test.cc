// Records, and the verbs around them, with a plugin that only writes down what it is asked.
#include "cni-plugin/lifecycle.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "cni-plugin/marks.h"
#include "cni-plugin/sweep.h"
#include "cni-plugin/testing.h"

namespace fairlead::cni {
namespace {

using Asked = std::vector<std::string>;
using testing::Fake;
using testing::variables;

std::string config(std::string_view mark, std::string_view more = "") {
  return base::cat(R"({"cniVersion":"1.1.0","name":"net","mark":")", mark, "\"", more, "}");
}

class Records : public ::testing::Test {
 public:
  std::string path(std::string_view container = "c1") const {
    return record_path(world_, "fake", {"net", std::string(container), "eth0"});
  }
  std::optional<Record> record(std::string_view container = "c1") const {
    const auto text = base::read_file(path(container));
    if (!text) return std::nullopt;
    auto parsed = parse_record(*text);
    EXPECT_TRUE(parsed) << parsed.error().message();
    return parsed ? std::optional(*parsed) : std::nullopt;
  }

 protected:
  Records() {
    // A network namespace that can go: what leads to it can. (Our own, so calls say CNI_NETNS_OVERRIDE.)
    std::filesystem::create_symlink("/proc/self/ns/net", netns_);
  }

  Environment named(std::string_view command, std::string_view container = "c1") const {
    Environment environment = variables(command, container, netns_);
    environment["CNI_NETNS_OVERRIDE"] = "1";
    return environment;
  }
  Answer ask(std::string_view command, std::string_view stdin_text, std::string_view container = "c1") {
    return testing::ask(plugin_, named(command, container), stdin_text, world_);
  }
  // Its code and message; empty: none.
  static std::string error(const Answer& answer) {
    if (answer.exit_code == 0) return "";
    const auto json = testing::json(answer.out);
    return base::cat(*json["code"].as_int(), " ", *json["msg"].as_string());
  }
  // As it stands when an ADD with `stdin_text` is killed before its end.
  void cut_off_add(std::string_view stdin_text, State state = State::Adding) {
    auto named_call = read_environment(plugin_, named("ADD"));
    const auto call = read_config(plugin_, *named_call, std::string(stdin_text));
    ASSERT_TRUE(call) << call.error().message();
    auto entry = Entry::open(path());
    ASSERT_TRUE(entry) << entry.error().message();
    ASSERT_TRUE(entry->create(*record_of(*call, world_)));
    ASSERT_TRUE(entry->set_state(state));
  }
  void lose_netns() { std::filesystem::remove(netns_); }
  // Nobody can tell what it leads to (ELOOP), as when a file may not be opened.
  void hide_netns() {
    lose_netns();
    std::filesystem::create_symlink(netns_, netns_);
  }

  testing::Folder folder_;
  Fake fake_;
  Plugin plugin_ = Fake::plugin();
  World world_{folder_ / "run", "this-boot"};
  std::string netns_ = folder_ / "netns";
};

TEST_F(Records, AnAddThatWorkedLeavesOneThatHoldsTheWholeCall) {
  EXPECT_EQ(ask("ADD", config("a")).out,
            "{\"cniVersion\":\"1.1.0\",\"ips\":[{\"address\":\"10.1.0.5/24\"}],\"dns\":{}}\n");
  const auto kept = record();
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->state, State::Ready);
  EXPECT_EQ(kept->boot_id, "this-boot");
  EXPECT_EQ(kept->attachment(), (Attachment{"net", "c1", "eth0"}));
  EXPECT_NE(kept->netns.inode, 0U);
  EXPECT_EQ(kept->environment.at("CNI_PATH"), "/opt/cni/bin");
  EXPECT_EQ(kept->stdin_text, config("a"));
}

TEST_F(Records, TheRecordStandsBeforeThePluginDoesAnything) {
  static const Records* test = nullptr;
  test = this;
  plugin_.add = [](const Call&, const World&) -> Result<NetResult> {
    EXPECT_TRUE(test->record() && test->record()->state == State::Adding);
    return NetResult();
  };
  plugin_.del = [](const Call&, const World&) -> Status {
    EXPECT_TRUE(test->record() && test->record()->state == State::Deleting);
    return {};
  };
  EXPECT_EQ(error(ask("ADD", config("a"))), "");
  EXPECT_EQ(error(ask("DEL", config("a"))), "");
  EXPECT_FALSE(record());
}

TEST_F(Records, APluginWithoutTracesHasNone) {
  plugin_.leaves_traces = false;
  EXPECT_EQ(error(ask("ADD", config("a"))), "");
  EXPECT_EQ(error(ask("DEL", config("a"))), "");
  EXPECT_FALSE(std::filesystem::exists(world_.run_dir));
}

TEST_F(Records, AnAddThatFailsIsUndoneAndLeavesNone) {
  fake_.add_error = Error("no").with_code(code::kTryAgain);
  EXPECT_EQ(error(ask("ADD", config("a"))), "11 fake: no");
  EXPECT_EQ(fake_.asked, (Asked{"add c1 eth0 " + netns_ + " a", "del c1 eth0 " + netns_ + " a"}));
  EXPECT_EQ(fake_.calls.back().verb, Verb::Del);
  EXPECT_FALSE(record());
}

TEST_F(Records, AnAddWhoseResultCannotBeToldIsUndone) {
  fake_.result = NetResult();
  EXPECT_EQ(error(ask("ADD", R"({"cniVersion":"0.2.0","name":"net"})")),
            "7 fake: a result of cniVersion 0.2.0 needs an address, and there is none");
  EXPECT_EQ(fake_.asked.size(), 2U);
  EXPECT_FALSE(record());
}

TEST_F(Records, AnAddThatCannotBeUndoneKeepsItsRecordForTheNextCall) {
  fake_.add_error = Error("no");
  fake_.del_error = Error("neither");
  EXPECT_EQ(error(ask("ADD", config("a"))), "999 fake: no; undoing it: neither");
  ASSERT_TRUE(record());
  EXPECT_EQ(record()->state, State::Adding);
  fake_.add_error = fake_.del_error = std::nullopt;
  EXPECT_EQ(error(ask("ADD", config("b"))), "");
  EXPECT_EQ(fake_.asked.size(), 4U);
  EXPECT_EQ(fake_.asked[2], "del c1 eth0 " + netns_ + " a");
  EXPECT_EQ(record()->stdin_text, config("b"));
}

TEST_F(Records, ASecondAddOfWhatStandsIsRefusedAndTouchesNothing) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  EXPECT_EQ(error(ask("ADD", config("a"))),
            "4 fake: CNI_CONTAINERID=\"c1\" has CNI_IFNAME=\"eth0\" in network net already; a DEL must come first");
  EXPECT_EQ(fake_.asked.size(), 1U);
  EXPECT_EQ(record()->state, State::Ready);
}

TEST_F(Records, ThePluginMayStandTwiceInAChain) {
  const std::string previous = R"(,"prevResult":{"ips":[{"address":"10.1.0.5/24"}]})";
  ASSERT_EQ(error(ask("ADD", config("a", previous))), "");
  EXPECT_EQ(error(ask("ADD", config("b", previous))), "");
  EXPECT_NE(error(ask("ADD", config("a", previous))), "");
  EXPECT_EQ(error(ask("DEL", config("b", previous))), "");
  EXPECT_EQ(error(ask("DEL", config("a", previous))), "");
  EXPECT_FALSE(record());
}

TEST_F(Records, WhatAKilledAddLeftIsTakenAwayByTheNextAdd) {
  for (const State state : {State::Adding, State::Deleting}) {
    fake_.asked.clear();
    cut_off_add(config("old"), state);
    EXPECT_EQ(error(ask("ADD", config("new"))), "");
    EXPECT_EQ(fake_.asked, (Asked{"del c1 eth0 " + netns_ + " old", "add c1 eth0 " + netns_ + " new"}));
    EXPECT_EQ(record()->stdin_text, config("new"));
    ASSERT_EQ(error(ask("DEL", config("new"))), "");
  }
}

TEST_F(Records, WhatAKilledAddLeftIsTakenAwayByADel) {
  cut_off_add(config("old"));
  EXPECT_EQ(error(ask("DEL", config("new"))), "");
  EXPECT_EQ(fake_.asked, (Asked{"del c1 eth0 " + netns_ + " new", "del c1 eth0 " + netns_ + " old"}));
  EXPECT_FALSE(record());
}

TEST_F(Records, AnAttachmentOfADeadNetnsIsTakenAwayWithoutEnteringWhatStandsAtItsPathNow) {
  ASSERT_EQ(error(ask("ADD", config("old"))), "");
  // Another one at the same path, as far as its identity tells.
  auto entry = Entry::open(path());
  Record other = *entry->record();
  ++other.netns.cookie;
  ASSERT_TRUE(entry->remove());
  ASSERT_TRUE(entry->create(other));
  ASSERT_TRUE(entry->set_state(State::Ready));
  { const Entry unlocked = *std::move(entry); }
  EXPECT_EQ(error(ask("ADD", config("new"))), "");
  EXPECT_EQ(fake_.asked[1], "del c1 eth0  old");
  EXPECT_EQ(fake_.asked[2], "add c1 eth0 " + netns_ + " new");
}

TEST_F(Records, AnAttachmentOfAnotherBootIsTakenAway) {
  ASSERT_EQ(error(ask("ADD", config("old"))), "");
  world_.boot_id = "next-boot";
  EXPECT_EQ(error(ask("ADD", config("new"))), "");
  EXPECT_EQ(fake_.asked[1], "del c1 eth0  old");
  EXPECT_EQ(record()->boot_id, "next-boot");
}

TEST_F(Records, ADelWithTheSameConfigurationAsksOnce) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  EXPECT_EQ(error(ask("DEL", config("a", R"(,"prevResult":{"ips":[{"address":"10.1.0.5/24"}]})"))), "");
  EXPECT_EQ(fake_.asked.size(), 2U);
}

TEST_F(Records, ADelThatSaysLessThanTheAddIsCompletedFromTheRecord) {
  ASSERT_EQ(error(ask("ADD", config("a", R"(,"runtimeConfig":{"mac":"02:00:00:00:00:01"})"))), "");
  EXPECT_EQ(error(ask("DEL", config("a"))), "");
  ASSERT_EQ(fake_.calls.size(), 3U);
  EXPECT_TRUE(fake_.calls[1].config["runtimeConfig"].is_null());
  EXPECT_FALSE(fake_.calls[2].config["runtimeConfig"].is_null());
}

TEST_F(Records, ADelWithoutNetnsUsesTheRecordedOneWhileItLives) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  EXPECT_EQ(testing::ask(plugin_, variables("DEL", "c1", ""), config("a"), world_), (Answer{0, "", ""}));
  EXPECT_EQ(fake_.asked, (Asked{"add c1 eth0 " + netns_ + " a", "del c1 eth0  a", "del c1 eth0 " + netns_ + " a"}));
}

TEST_F(Records, ADelMayComeOftenAndWithoutAnAdd) {
  EXPECT_EQ(error(ask("DEL", config("a"))), "");
  EXPECT_EQ(error(ask("DEL", config("a"))), "");
  EXPECT_EQ(fake_.asked.size(), 2U);
  EXPECT_FALSE(std::filesystem::exists(world_.run_dir));
}

TEST_F(Records, ADelThatFailsKeepsTheRecord) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  fake_.del_error = Error("busy");
  EXPECT_EQ(error(ask("DEL", config("a"))), "999 fake: busy");
  ASSERT_TRUE(record());
  EXPECT_EQ(record()->state, State::Deleting);
}

TEST_F(Records, GcReleasesWhatIsNotInTheListAndGoesOnBehindErrors) {
  for (const char* container : {"c1", "c2", "c3"}) ASSERT_EQ(error(ask("ADD", config("a"), container)), "");
  Environment other = named("ADD");
  ASSERT_EQ(testing::ask(plugin_, other, R"({"cniVersion":"1.1.0","name":"other"})", world_).exit_code, 0);
  fake_.asked.clear();

  const auto gc = [&](std::string_view valid) {
    return testing::ask(plugin_, {{"CNI_COMMAND", "GC"}},
                        config("gc", base::cat(R"(,"cni.dev/valid-attachments":)", valid)), world_);
  };
  fake_.del_error = Error("busy");
  EXPECT_EQ(error(gc(R"([{"containerID":"c2","ifname":"eth0"}])")), "999 fake: c1 eth0: busy; c3 eth0: busy");
  EXPECT_EQ(fake_.asked, (Asked{"del c1 eth0 " + netns_ + " a", "del c3 eth0 " + netns_ + " a", "gc    gc"}));
  EXPECT_TRUE(record("c1") && record("c2") && record("c3"));

  fake_.del_error = std::nullopt;
  EXPECT_EQ(error(gc(R"([{"containerID":"c2","ifname":"eth0"},{"containerID":"c3","ifname":"eth1"}])")), "");
  EXPECT_TRUE(!record("c1") && record("c2") && !record("c3"));
  EXPECT_EQ(error(gc("[]")), "");
  EXPECT_FALSE(record("c2"));
  EXPECT_EQ(list_all_records(world_).size(), 1U);  // the other network's
}

TEST_F(Records, WhatIsNoRecordIsNamedAndSetAside) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  for (const std::string_view text : {"", "{\"state\":\"rea", "{}", "[]", "\xff"}) {
    std::ofstream(path(), std::ios::trunc) << text;
    const Answer answer = ask("DEL", config("a"));
    EXPECT_EQ(answer.exit_code, 0);
    EXPECT_NE(answer.err.find(path() + ": is no record ("), std::string::npos) << answer.err;
    EXPECT_FALSE(std::filesystem::exists(path()));
    EXPECT_TRUE(std::filesystem::exists(path() + ".bad"));
    EXPECT_TRUE(list_all_records(world_).empty());
  }
}

TEST_F(Records, StatusOfAPluginThatCannotServeIsNotAvailable) {
  fake_.status_error = Error("no bridge");
  EXPECT_EQ(error(ask("STATUS", config("a"))), "50 fake: no bridge");
  fake_.status_error = Error("half of it").with_code(code::kLimitedConnectivity);
  EXPECT_EQ(error(ask("STATUS", config("a"))), "51 fake: half of it");
}

TEST_F(Records, DetailsStandBehindALineBreak) {
  fake_.add_error = Error("short\nand long").with_code(100);
  const auto json = testing::json(ask("ADD", config("a")).out);
  EXPECT_EQ(json["msg"], base::Value("fake: short"));
  EXPECT_EQ(json["details"], base::Value("and long"));
}

TEST_F(Records, NamesFitIntoAFileNameHoweverLongTheyAre) {
  const Attachment one{"net", std::string(253, 'c'), "eth0"};
  const Attachment two{"net", std::string(254, 'c'), "eth0"};
  EXPECT_NE(record_path(world_, "fake", one), record_path(world_, "fake", two));
  Environment environment = named("ADD", one.container_id);
  ASSERT_EQ(error(testing::ask(plugin_, environment, config("a"), world_)), "");
  environment = named("ADD", std::string(4000, 'c'));
  ASSERT_EQ(error(testing::ask(plugin_, environment, config("a"), world_)), "");
  const std::string long_network = base::cat(R"({"cniVersion":"1.1.0","name":")", std::string(3000, 'n'), "\"}");
  ASSERT_EQ(error(testing::ask(plugin_, environment, long_network, world_)), "");
  EXPECT_EQ(list_all_records(world_).size(), 3U);
}

TEST_F(Records, AnotherAttachmentNeverWaits) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  auto held = Entry::open(path());
  ASSERT_TRUE(held);
  EXPECT_EQ(error(ask("ADD", config("a"), "c2")), "");
  EXPECT_EQ(error(ask("DEL", config("a"), "c2")), "");
  EXPECT_EQ(Entry::open(path(), Entry::IfBusy::Refuse).error().errno_value(), EWOULDBLOCK);
}

TEST_F(Records, SweepTellsWhatCannotBeAlive) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  EXPECT_EQ(sweep(world_), (Answer{0, "[]\n", ""}));
  lose_netns();
  const auto dead = testing::json(sweep(world_).out);
  ASSERT_EQ(dead.as_array()->size(), 1U);
  const base::Value& first = dead.as_array()->front();
  EXPECT_EQ(first["record"], base::Value(path()));
  EXPECT_EQ(first["plugin"], base::Value("fake"));
  EXPECT_EQ(first["network"], base::Value("net"));
  EXPECT_EQ(first["containerId"], base::Value("c1"));
  EXPECT_EQ(first["ifname"], base::Value("eth0"));
  EXPECT_EQ(first["state"], base::Value("ready"));
  EXPECT_EQ(first["reason"], base::Value("its network namespace " + netns_ + " is gone"));
}

TEST_F(Records, AFileInPlaceOfTheNetnsIsADeadOne) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  lose_netns();
  std::ofstream(netns_) << "";
  EXPECT_NE(sweep(world_).out, "[]\n");
}

TEST_F(Records, ANetnsThatCannotBeLookedAtIsAlive) {
  plugin_.name = "loopback";  // of a plugin that is really there: release looks it up
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  const std::string path = record_path(world_, "loopback", {"net", "c1", "eth0"});
  hide_netns();
  const std::string reason = netns_ + ": Too many levels of symbolic links";
  EXPECT_EQ(sweep(world_), (Answer{0, "[]\n", base::cat(path, ": cannot be judged: ", reason, "\n")}));
  const auto released = testing::json(release({path}, world_).out);
  EXPECT_EQ(released.as_array()->front()["error"], base::Value(reason));
  EXPECT_EQ(error(ask("ADD", config("a"))).substr(0, 12), "4 loopback: ") << "it stands";
  EXPECT_EQ(fake_.asked.size(), 1U);
  EXPECT_EQ(testing::ask(plugin_, variables("DEL", "c1", ""), config("a"), world_).exit_code, 0);
  EXPECT_EQ(fake_.asked.back(), "del c1 eth0 " + netns_ + " a");
}

TEST_F(Records, AnAddToANetnsThatCannotBeLookedAtDoesNothing) {
  hide_netns();
  EXPECT_EQ(error(ask("ADD", config("a"))), "999 fake: CNI_NETNS: " + netns_ + ": Too many levels of symbolic links");
  EXPECT_EQ(fake_.asked, Asked{});
  EXPECT_FALSE(record());
}

TEST_F(Records, WithoutABootIdNothingIsOfAnotherBoot) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  world_.boot_id.clear();
  EXPECT_EQ(sweep(world_), (Answer{0, "[]\n", ""}));
  ASSERT_EQ(error(ask("ADD", config("a"), "c2")), "");
  world_.boot_id = "this-boot";
  EXPECT_EQ(sweep(world_), (Answer{0, "[]\n", ""}));
  lose_netns();
  EXPECT_EQ(testing::json(sweep(world_).out).as_array()->size(), 2U);
}

TEST_F(Records, WhatNeverHadANetnsDiesWithTheBootOnly) {
  ASSERT_EQ(testing::ask(plugin_, variables("ADD", "c1", "/some/where"), config("a"), world_).exit_code, 0);
  EXPECT_EQ(sweep(world_).out, "[]\n");
  world_.boot_id = "next-boot";
  EXPECT_EQ(testing::json(sweep(world_).out).as_array()->front()["reason"], base::Value("it is of another boot"));
}

TEST_F(Records, WhatWasMadeInOtherNamespacesIsNeitherToldNorReleased) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  lose_netns();
  {
    auto entry = Entry::open(path());
    Record elsewhere = *entry->record();
    ++elsewhere.home.mount_namespace;
    ASSERT_TRUE(entry->remove());
    ASSERT_TRUE(entry->create(elsewhere));
  }
  EXPECT_EQ(sweep(world_), (Answer{0, "[]\n", path() + ": was made in another mount or network namespace\n"}));
  EXPECT_EQ(release({path()}, world_).exit_code, 1);
  EXPECT_TRUE(record());
}

TEST_F(Records, ReleaseTakesNothingThatIsAliveOrBusyOrElsewhere) {
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  const auto told = [&](const std::string& which) {
    const Answer answer = release({which}, world_);
    EXPECT_EQ(answer.exit_code, 1);
    const auto outcome = testing::json(answer.out);
    return outcome.as_array()->front()["error"].as_string() == nullptr
               ? std::string("released")
               : *outcome.as_array()->front()["error"].as_string();
  };
  EXPECT_EQ(told(path()), "is alive");
  EXPECT_EQ(told("/etc/passwd"), "is not where records are");
  EXPECT_EQ(told(world_.run_dir + "/records/../x"), "is not where records are");
  lose_netns();
  EXPECT_EQ(told(path()), "is of the plugin \"fake\", which is none of ours");
  auto held = Entry::open(path());
  EXPECT_EQ(told(path()), path() + ": Resource temporarily unavailable");
}

TEST_F(Records, ReleaseDoesTheDelOfADeadOne) {
  // Of a plugin that is really there: release looks it up.
  plugin_.name = "loopback";
  ASSERT_EQ(error(ask("ADD", config("a"))), "");
  const std::string path = record_path(world_, "loopback", {"net", "c1", "eth0"});
  lose_netns();
  const std::string released = base::cat("[{\"record\":\"", path, "\",\"released\":true}]\n");
  EXPECT_EQ(release({path}, world_), (Answer{0, released, ""}));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(release({path}, world_), (Answer{0, released, ""}));
}

// In a thread whose getsockopt() fails so.
Result<NetnsIdentity> identity_where_options_fail(int errno_value) {
  Result<NetnsIdentity> identity = Error("not run");
  std::thread([&] {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockopt, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(errno_value)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{std::size(program), program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0)
      identity = identify_netns("/proc/self/ns/net");
  }).join();
  return identity;
}

TEST(NetnsIdentity, HasNoCookieOnlyWhereTheKernelHasNone) {
  const auto old_kernel = identity_where_options_fail(ENOPROTOOPT);
  ASSERT_TRUE(old_kernel) << old_kernel.error().message();
  EXPECT_NE(old_kernel->inode, 0U);
  EXPECT_EQ(old_kernel->cookie, 0U);
  EXPECT_FALSE(identity_where_options_fail(ENOBUFS));
}

TEST(NetnsIdentity, IsNoneWhereCertainlyNoneIs) {
  const testing::Folder folder;
  std::ofstream(folder / "file") << "";
  for (const std::string& path : {std::string(), folder / "gone", folder / "file", folder / "file/below"}) {
    const auto identity = identify_netns(path);
    ASSERT_TRUE(identity) << identity.error().message();
    EXPECT_EQ(*identity, NetnsIdentity()) << path;
  }
}

TEST(Record, IsReadBackAsItWasWritten) {
  const Record record{State::Deleting,
                      "boot",
                      "bridge",
                      "net",
                      {~0ULL, ~0ULL - 1},
                      {1, 2},
                      {{"CNI_CONTAINERID", "c"}, {"CNI_IFNAME", "e\"0"}, {"CNI_ARGS", "A=\n"}},
                      "{\n \"name\":\"\\u00e4\"}"};
  const auto back = parse_record(to_json(record));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, record);
}

}  // namespace
}  // namespace fairlead::cni
