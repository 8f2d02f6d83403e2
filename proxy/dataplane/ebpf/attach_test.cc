// What is particular to one way of attaching; packet_test.cc has what all of them share.
#include "proxy/dataplane/ebpf/attach.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "base/strings.h"
#include "proxy/dataplane/ebpf/ebpf.h"
#include "proxy/dataplane/ebpf/install.h"
#include "proxy/dataplane/ebpf/test_services.h"
#include "proxy/dataplane/ebpf/test_world.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;

// One interface takes no program.
class Refusing final : public Attacher {
 public:
  Refusing(std::unique_ptr<Attacher> inner, std::string name) : inner_(std::move(inner)), name_(std::move(name)) {}
  Status attach(const net::Link& link, bool ingress, int program, Writes& writes) override {
    if (link.name == name_) return Error::from_errno("create the link", EOPNOTSUPP);
    return inner_->attach(link, ingress, program, writes);
  }
  std::vector<ForgetFailure> forget_others(const std::set<std::uint32_t>& ours, Writes& writes) override {
    return inner_->forget_others(ours, writes);
  }

 private:
  std::unique_ptr<Attacher> inner_;
  std::string name_;
};

class Attachment : public ::testing::Test {
 protected:
  void SetUp() override { world_.enter(Place::Node); }
  void TearDown() override { EXPECT_TRUE(remove(world_.options())); }
  void open_clsact() {
    dataplane_ = *open_with(world_.options(), make_attacher(TcHook::Clsact, links_dir(world_.options())));
  }
  std::string qdiscs() const { return world_.shell(Place::Node, "tc qdisc show | grep clsact || true"); }
  std::string filters(const std::string& device) const {
    return world_.shell(Place::Node,
                        base::cat("tc filter show dev ", device, " ingress; tc filter show dev ", device, " egress"));
  }

  const std::vector<model::ServiceState> services_{
      service("web").node_port(30080).masquerade().endpoint("10.1.0.11", 8080)};
  World world_;
  std::unique_ptr<Dataplane> dataplane_;
};

TEST_F(Attachment, AnInterfaceThatTakesNoProgramIsNamedAndTheOthersServe) {
  world_.serve(Place::Pod1, 8080, "one");
  dataplane_ = *open_with(world_.options(),
                          std::make_unique<Refusing>(make_attacher(TcHook::Tcx, links_dir(world_.options())), "pod2"));
  for (int i = 0; i < 2; ++i) {
    const Report report = i == 0 ? dataplane_->replace({}, services_) : dataplane_->handle_notification();
    ASSERT_EQ(report.failures.size(), 1U);
    EXPECT_EQ(report.failures[0].service, model::Key{});
    EXPECT_EQ(report.failures[0].object, "interface pod2");
    EXPECT_EQ(world_.run(Place::Client, Cgroup::Outside, [] { return ask({.to = "192.0.2.1", .port = 30080}); }),
              "one ::ffff:192.0.2.1");
  }
}

TEST_F(Attachment, AnUnattachableCgroupIsNamedAndThePacketsAreServed) {
  world_.serve(Place::Pod1, 8080, "one");
  dataplane_ = *open(world_.options());
  world_.shell(Place::Node, "rmdir " + world_.options().cgroup);
  const Report report = dataplane_->replace({}, services_);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].object, "cgroup " + world_.options().cgroup);
  EXPECT_EQ(world_.run(Place::Client, Cgroup::Outside, [] { return ask({.to = "192.0.2.1", .port = 30080}); }),
            "one ::ffff:192.0.2.1");
}

TEST_F(Attachment, AQdiscThatOthersHaveComeToUseStaysWithTheirFilters) {
  open_clsact();
  expect_ok(dataplane_->replace({}, services_));
  world_.shell(Place::Node, base::cat("tc filter add dev pod1 egress pref 7 bpf direct-action object-pinned ",
                                      world_.options().bpf_root, "/t/v2/programs/tc_egress"));
  ASSERT_TRUE(dataplane_->remove());
  EXPECT_EQ(qdiscs(), "qdisc clsact ffff: dev pod1 parent ffff:fff1 \n");
  EXPECT_NE(filters("pod1").find(" pref 7 "), std::string::npos) << filters("pod1");
  EXPECT_EQ(filters("pod1").find(" pref 4001 "), std::string::npos) << filters("pod1");
}

TEST_F(Attachment, AQdiscThatStoodBeforeStaysEvenEmpty) {
  world_.shell(Place::Node, "tc qdisc add dev pod1 clsact");
  const std::string before = qdiscs();
  open_clsact();
  expect_ok(dataplane_->replace({}, services_));
  EXPECT_NE(qdiscs(), before);
  ASSERT_TRUE(dataplane_->remove());
  EXPECT_EQ(qdiscs(), before);
  EXPECT_EQ(filters("pod1"), "");
}

TEST_F(Attachment, AFilterThatSomebodyTookAwayComesBackWithTheNextReplace) {
  open_clsact();
  expect_ok(dataplane_->replace({}, services_));
  const std::string whole = filters("pod1").substr(0, filters("pod1").find(" id "));
  world_.shell(Place::Node, "tc qdisc del dev pod1 clsact");
  const Report report = dataplane_->replace({}, services_);
  expect_ok(report);
  EXPECT_EQ(report.kernel_writes, 2U);
  EXPECT_EQ(filters("pod1").substr(0, whole.size()), whole);
  ASSERT_TRUE(dataplane_->remove());
  EXPECT_EQ(qdiscs(), "");
}

// A port of a bond is seen on the bond: what it had of ours must go.
TEST_F(Attachment, AnInterfaceThatIsNoLongerOursLosesFiltersAndQdisc) {
  open_clsact();
  expect_ok(dataplane_->replace({}, services_));
  world_.shell(Place::Node, "ip link add late type veth peer name late-peer");
  expect_ok(dataplane_->handle_notification());
  EXPECT_NE(filters("late").find("tc_ingress"), std::string::npos) << filters("late");
  EXPECT_NE(filters("late").find("tc_egress"), std::string::npos) << filters("late");
  Writes writes;
  std::set<std::uint32_t> ours;
  const Result<net::Links> all = net::list_links();
  ASSERT_TRUE(all);
  for (const net::Link& link : all->links) {
    if (link.name != "late") ours.insert(link.index);
  }
  EXPECT_TRUE(make_attacher(TcHook::Clsact, links_dir(world_.options()))->forget_others(ours, writes).empty());
  EXPECT_EQ(writes.changed, 1U);
  EXPECT_EQ(qdiscs().find("dev late "), std::string::npos) << qdiscs();
  EXPECT_NE(qdiscs().find("dev late-peer "), std::string::npos) << qdiscs();
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
