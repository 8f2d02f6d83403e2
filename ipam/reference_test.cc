// Beside the reference host-local (Debian's containernetworking-plugins 1.1.1) in one state directory.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <set>

#include "base/json.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "ipam/store_fixture_test.h"

namespace fairlead::ipam {
namespace {

constexpr char kReference[] = "/usr/lib/cni/host-local";

class ReferenceTest : public PlaceTest {
 protected:
  void SetUp() override {
    if (::access(kReference, X_OK) != 0)
      GTEST_SKIP() << kReference << " is not installed (containernetworking-plugins)";
  }

  base::ProcessOutput run(const std::string& verb, const std::string& id, const std::string& ranges) const {
    const std::string config =
        base::cat(R"({"cniVersion":"1.0.0","name":")", place_.network, R"(","ipam":{"type":"host-local","dataDir":")",
                  place_.data_dir, R"(","ranges":)", ranges, R"(},"prevResult":{"cniVersion":"1.0.0","ips":[]}})");
    const base::ProcessOptions options{.environment = {"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id,
                                                       "CNI_NETNS=/none", "CNI_IFNAME=eth0", "CNI_PATH=/none"}};
    const auto output = base::run_process({kReference}, config, options);
    return output ? *output : base::ProcessOutput{255, "", output.error().message()};
  }
  // As add() and del() of ours.
  std::string go_add(const std::string& id) const {
    const auto output = run("ADD", id, ranges_);
    const auto json = base::parse_json(output.out);
    if (!json || output.exit_code != 0) return output.out + output.err;
    std::string text;
    for (const base::Value& address : *(*json)["ips"].as_array())
      text += (text.empty() ? "" : " ") + *address["address"].as_string();
    return text;
  }
  std::string go_del(const std::string& id) const {
    const auto output = run("DEL", id, ranges_);
    return output.exit_code == 0 ? "" : output.out + output.err;
  }
  bool go_holds(const std::string& id) const { return run("CHECK", id, ranges_).exit_code == 0; }
  std::string ours_add(const std::string& id) const { return add(place_, id, sets_); }

  // What both write: all but the lock and our mark of the boot.
  Tree files() const {
    Tree found = reservations();
    for (const char* name : {"last_reserved_ip.0", "last_reserved_ip.1"}) {
      std::ifstream in(base::cat(place_.directory(), "/", name));
      if (in) found[name] = std::string(std::istreambuf_iterator<char>(in), {});
    }
    return found;
  }

  const std::string ranges_ = R"([[{"subnet":"10.1.0.0/28"}],[{"subnet":"fd00::/64"}]])";
  const std::vector<RangeSet> sets_ = sets_of({"10.1.0.0/28", "fd00::/64"});
};

TEST_F(ReferenceTest, EitherGoesOnAfterTheOther) {
  EXPECT_EQ(go_add("a"), "10.1.0.2/28 fd00::2/64");
  EXPECT_EQ(ours_add("b"), "10.1.0.3/28 fd00::3/64");
  EXPECT_EQ(go_add("c"), "10.1.0.4/28 fd00::4/64");
  EXPECT_TRUE(go_holds("b"));
  EXPECT_TRUE(*Store::open(place_)->holds({"c", "eth0"}));
  EXPECT_EQ(go_del("b"), "");
  EXPECT_FALSE(*Store::open(place_)->holds({"b", "eth0"}));
  EXPECT_EQ(del(place_, "a"), "");
  EXPECT_FALSE(go_holds("a"));
  EXPECT_EQ(del(place_, "c"), "");
  EXPECT_EQ(reservations(), Tree());
  EXPECT_EQ(go_add("d"), "10.1.0.5/28 fd00::5/64");
}

// One history, told to each in a directory of its own: the same answers and the same files at every step.
TEST_F(ReferenceTest, GivesWhatTheReferenceWouldGive) {
  std::mt19937 random(11);
  for (int step = 0; step < 150; ++step) {
    const std::string id = base::cat("c", random() % 18);  // more than there are addresses
    const bool adds = random() % 3 != 0;
    place_.network = "theirs";
    const std::string theirs = adds ? go_add(id) : go_del(id);
    const Tree their_files = files();
    place_.network = "ours";
    const std::string ours = adds ? ours_add(id) : del(place_, id);
    ASSERT_EQ(files(), their_files) << "step " << step << ": " << theirs << " / " << ours;
    const bool refused = theirs.find("\"code\"") != theirs.npos;
    if (!refused) {
      ASSERT_EQ(ours, theirs) << step;
    }
    ASSERT_EQ(refused, adds && ours.find("/28 ") == ours.npos) << theirs << " / " << ours;
  }
}

TEST_F(ReferenceTest, BothAtOnceNeverShareAnAddress) {
  const std::string ranges = R"([[{"subnet":"10.1.0.0/24"}]])";
  const std::vector<RangeSet> sets = sets_of({"10.1.0.0/24"});
  std::vector<pid_t> children;
  for (int p = 0; p < 6; ++p) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (int i = 0; i < 25; ++i) {
        const std::string id = base::cat("p", p, "-", i);
        const bool added = p % 2 == 0 ? add(place_, id, sets)[0] == '1' : run("ADD", id, ranges).exit_code == 0;
        if (!added) ::_exit(1);
        // Every third goes again, by the other one.
        if (i % 3 != 0) continue;
        const bool gone = p % 2 != 0 ? del(place_, id) == "" : run("DEL", id, ranges).exit_code == 0;
        if (!gone) ::_exit(2);
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const Tree held = reservations();
  EXPECT_EQ(held.size(), 6U * 16);
  std::set<std::string> holders;
  for (const auto& [name, content] : held) holders.insert(content);
  EXPECT_EQ(holders.size(), held.size());
  auto store = Store::open(place_);
  for (const std::string& holder : holders)
    EXPECT_TRUE(*store->holds({holder.substr(0, holder.find('\r')), "eth0"})) << holder;
}

}  // namespace
}  // namespace fairlead::ipam
