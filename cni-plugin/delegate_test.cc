#include "cni-plugin/delegate.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <thread>

#include "base/fd.h"
#include "base/file.h"
#include "cni-plugin/journal.h"
#include "cni-plugin/testing.h"

namespace fairlead::cni {
namespace {

class Delegate : public ::testing::Test {
 protected:
  // As main() does: a plugin may end without reading its stdin.
  Delegate() { ::signal(SIGPIPE, SIG_IGN); }

  // A plugin that writes its variables and stdin down, prints `out` and exits so.
  void install(const std::string& name, std::string_view out, int exit_code = 0) {
    std::ofstream(folder_ / name) << "#!/bin/sh\nenv >" << folder_ / "env"
                                  << "\ncat >" << folder_ / "stdin"
                                  << "\ncat <<'E'\n"
                                  << out << "\nE\nexit " << exit_code << "\n";
    std::filesystem::permissions(folder_ / name, std::filesystem::perms::owner_all);
  }
  Call call(std::string_view ipam, Verb verb = Verb::Add) const {
    Call call;
    call.verb = verb;
    call.plugin = "bridge";
    call.attachment = {"net", "c1", "eth0"};
    call.netns = "/ns";
    call.args = {{"IgnoreUnknown", "1"}, {"K8S_POD_NAME", "web"}};
    call.path = {"/nowhere", folder_.path()};
    call.version = "1.0.0";
    call.stdin_text = base::cat(R"({"name":"net","cniVersion":"1.0.0","ipam":)", ipam, "}");
    call.config = testing::json(call.stdin_text);
    return call;
  }
  std::string content(std::string_view name) const {
    const auto text = base::read_file(folder_ / name);
    return text ? *text : text.error().message();
  }
  bool had(const std::string& variable) const { return content("env").find(variable + "\n") != std::string::npos; }

  testing::Folder folder_;
  World world_{folder_ / "run", "boot"};
};

TEST_F(Delegate, OneOfOursIsNotExecuted) {
  install("static", "", 1);
  const auto result = ipam_add(call(R"({"type":"static","addresses":[{"address":"10.0.0.2/8"}]})"), world_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->ips.front().address.to_string(), "10.0.0.2/8");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "env"));
  EXPECT_EQ(ipam_add(call(R"({"type":"static","addresses":[{}]})"), world_).error().message(),
            "static: ipam.addresses[0].address: is missing");
}

TEST_F(Delegate, AnotherOneGetsTheCallsVariablesAndTheWholeStdin) {
  install("whereabouts", R"({"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.0.0.2/8"}]})");
  const Call add = call(R"({"type":"whereabouts","range":"10.0.0.0/8"})");
  const auto result = ipam_add(add, world_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->ips.front().address.to_string(), "10.0.0.2/8");
  EXPECT_EQ(content("stdin"), add.stdin_text);
  for (const char* variable : {"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/ns",
                               "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web"})
    EXPECT_TRUE(had(variable)) << variable << " in\n" << content("env");
  EXPECT_TRUE(had(base::cat("CNI_PATH=/nowhere:", folder_.path())));
  EXPECT_TRUE(had(base::cat("PATH=", ::getenv("PATH"))));
}

TEST_F(Delegate, EveryVerbIsForwarded) {
  install("ours", "");
  const Call base_call = call(R"({"type":"ours"})");
  EXPECT_TRUE(ipam_del(base_call, world_));
  EXPECT_TRUE(had("CNI_COMMAND=DEL"));
  EXPECT_TRUE(ipam_check(base_call, world_));
  EXPECT_TRUE(had("CNI_COMMAND=CHECK"));
  EXPECT_TRUE(ipam_status(base_call, world_));
  EXPECT_TRUE(had("CNI_COMMAND=STATUS"));
  EXPECT_TRUE(ipam_gc(base_call, world_));
  EXPECT_TRUE(had("CNI_COMMAND=GC"));
}

TEST_F(Delegate, ItsErrorIsPassedOn) {
  install("ours", R"({"code":11,"msg":"try later","details":"all taken"})", 1);
  const Error error = ipam_add(call(R"({"type":"ours"})"), world_).error();
  EXPECT_EQ(error.code(), 11);
  EXPECT_EQ(error.message(), "ours: try later\nall taken");
  install("ours", "panic: oh", 2);
  const Error other = ipam_del(call(R"({"type":"ours"})"), world_).error();
  EXPECT_EQ(other.code(), 999);
  EXPECT_EQ(other.message(), "ours: exit 2 without an error in JSON, but \"panic: oh\"");
}

TEST_F(Delegate, AResultWithoutSenseIsNamed) {
  install("ours", "nothing");
  EXPECT_EQ(ipam_add(call(R"({"type":"ours"})"), world_).error().code(), 6);
  install("ours", R"({"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2"}]})");
  EXPECT_NE(ipam_add(call(R"({"type":"ours"})"), world_).error().message().find("ours: its result: ips[0].address: "),
            std::string::npos);
}

TEST_F(Delegate, AnEmptyTypeIsNoIpamPlugin) {
  EXPECT_FALSE(has_ipam(call(R"({"type":""})")));
  EXPECT_FALSE(has_ipam(call("{}")));
  EXPECT_TRUE(has_ipam(call(R"({"type":"static"})")));
  EXPECT_TRUE(has_ipam(call(R"({"type":5})"))) << "its user names what is wrong";
}

TEST_F(Delegate, OnlyANameIsAllowedAndOnlyInCniPath) {
  const auto refused = [this](std::string_view ipam) {
    const Error error = ipam_add(call(ipam), world_).error();
    return base::cat(error.code(), ": ", error.message());
  };
  EXPECT_EQ(refused(R"({"type":"../sh"})"), R"(7: ipam.type: must be the name of a plugin, not the path "../sh")");
  EXPECT_EQ(refused(R"({"type":"/bin/sh"})"), R"(7: ipam.type: must be the name of a plugin, not the path "/bin/sh")");
  EXPECT_EQ(refused(R"({"type":""})"), "7: ipam.type: is missing");
  EXPECT_EQ(refused(R"({"type":"sh"})"),
            base::cat(R"(7: ipam.type: no plugin "sh" in CNI_PATH [/nowhere:)", folder_.path(), "]"));
  EXPECT_EQ(refused(R"({"type":5})"), "6: ipam.type: must be a string, not an integer (5)");
}

// What has begun without it could not be undone without it, nor begun again with another.
TEST_F(Delegate, AnAddWithoutItsIpamPluginDoesNotBegin) {
  testing::Fake fake;
  Plugin plugin = testing::Fake::plugin();
  plugin.has_ipam = true;
  const auto add = [&](std::string_view ipam) {
    Environment variables = testing::variables("ADD");
    variables["CNI_PATH"] = folder_.path();
    return testing::ask(plugin, variables, call(ipam).stdin_text, world_).exit_code;
  };
  EXPECT_EQ(add(R"({"type":"typo"})"), 1);
  EXPECT_EQ(add(R"({"type":"../static"})"), 1);
  EXPECT_EQ(fake.asked.size(), 0U);
  EXPECT_TRUE(list_records(world_, "net").empty());
  EXPECT_EQ(add(R"({"type":"static"})"), 0);
}

TEST_F(Delegate, AnExecutableThatIsBeingWrittenIsWaitedFor) {
  // A script may be written while it runs; a binary may not.
  std::filesystem::copy_file("/bin/true", folder_ / "ours");
  base::Fd writer(::open((folder_ / "ours").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(writer);
  std::thread installer([&] {
    std::this_thread::yield();
    writer.reset();
  });
  EXPECT_TRUE(ipam_del(call(R"({"type":"ours"})"), world_));
  installer.join();
}

TEST_F(Delegate, APluginThatReadsNoStdinIsNoError) {
  std::ofstream(folder_ / "ours") << "#!/bin/sh\nexit 0\n";
  std::filesystem::permissions(folder_ / "ours", std::filesystem::perms::owner_all);
  Call del = call(R"({"type":"ours"})", Verb::Del);
  del.stdin_text.append(std::size_t{1} << 20, ' ');
  EXPECT_TRUE(ipam_del(del, world_));
}

TEST_F(Delegate, StatusAndGcGoOnToTheIpamPlugin) {
  install("ours", R"({"code":50,"msg":"exhausted"})", 1);
  testing::Fake fake;
  const std::string config =
      R"({"name":"net","cniVersion":"1.1.0","ipam":{"type":"ours"},"cni.dev/valid-attachments":[]})";
  const Environment status{{"CNI_COMMAND", "STATUS"}, {"CNI_PATH", folder_.path()}};
  EXPECT_EQ(testing::ask(testing::Fake::plugin(), status, config, world_).out,
            "{\"cniVersion\":\"1.1.0\",\"code\":50,\"msg\":\"fake: ours: exhausted\"}\n");
  const Environment gc{{"CNI_COMMAND", "GC"}, {"CNI_PATH", folder_.path()}};
  EXPECT_EQ(testing::ask(testing::Fake::plugin(), gc, config, world_).exit_code, 1);
  EXPECT_TRUE(had("CNI_COMMAND=GC"));
}

}  // namespace
}  // namespace fairlead::cni
