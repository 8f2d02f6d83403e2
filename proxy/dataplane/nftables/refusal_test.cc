// What a kernel that refuses, cannot be read or outlives us does to the dataplane.
#include <gtest/gtest.h>

#include "proxy/dataplane/nftables/elements.h"
#include "proxy/dataplane/nftables/fake_node_test.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

// Every transaction but the last is committed while the next one is staged, so that a refusal is learnt of too late.
constexpr std::size_t kTinyChunk = 3;

std::vector<model::ServiceState> states_before() {
  auto services = services_of_all_kinds();
  auto sticky = service("shrinks", {cluster_ip("10.96.0.30", 80)}, endpoints(4));
  sticky.ports[0].affinity_seconds = 60;
  services.push_back(sticky);
  for (const auto& state : some_services()) services.push_back(state);
  return services;
}

// Something of everything is new, gone, or has more or fewer endpoints.
std::vector<model::ServiceState> states_after() {
  auto services = services_of_all_kinds();
  services[0].ports[0].cluster_endpoints = endpoints(1);
  services[0].ports[0].allowed_sources = {prefix("198.51.100.0/25")};
  services[1].ports[0].affinity_seconds = 0;
  auto shrinks = service("shrinks", {cluster_ip("10.96.0.30", 80)}, {});
  shrinks.ports[0].affinity_seconds = 60;
  auto grows = service("grows", {cluster_ip("10.96.0.31", 80)}, endpoints(6));
  grows.ports[0].affinity_seconds = 60;
  services.push_back(shrinks);
  services.push_back(grows);
  services.push_back(service("dns", {cluster_ip("10.96.0.10", 53)}, endpoints(7), model::Protocol::Udp));
  services.push_back(service("six", {cluster_ip("fd00::10", 80)}, {endpoint("fd01::3", 80, true)}));
  services.push_back(service("web", {cluster_ip("10.96.0.12", 80)}, {}));
  return services;
}

// A dataplane that wrote `before`, and whose nth command from there will be refused.
struct Refused {
  Refused(const std::vector<model::ServiceState>& before, std::size_t chunk, std::uint64_t nth)
      : dataplane(node.start(chunk)) {
    EXPECT_TRUE(dataplane->replace({}, before).ok());
    node.ns->fail_command = nth;
  }
  bool happened() const { return !node.ns->fail_command; }
  // The kernel holds what a fresh one would, and all rules for that; the dataplane believes what the kernel holds.
  testing::AssertionResult ended_as(const std::vector<model::ServiceState>& services, const std::string& fresh) const {
    if (node.text() != fresh) return testing::AssertionFailure() << "kernel:\n" << node.text();
    if (believed(*dataplane) != fresh) return testing::AssertionFailure() << "belief:\n" << dump_text(*dataplane);
    const std::uint64_t missing = node.start()->replace({}, services).kernel_writes;
    if (missing > 0) return testing::AssertionFailure() << missing << " writes are missing";
    return testing::AssertionSuccess();
  }

  Node node;
  std::unique_ptr<Dataplane> dataplane;
};

TEST(NftablesRefusal, ACommandAnywhereIsRepairedWithinTheCall) {
  const auto after = states_after();
  const std::string wanted = fresh_text(after);
  for (const auto& before : {std::vector<model::ServiceState>(), states_before()}) {
    for (const std::size_t chunk : {kTinyChunk, std::size_t{4000}}) {
      std::uint64_t nth = 0;
      for (;; ++nth) {
        Refused refused(before, chunk, nth);
        const Report report = refused.dataplane->replace({}, after);
        if (!refused.happened()) break;
        ASSERT_TRUE(report.ok()) << chunk << " " << nth;
        ASSERT_TRUE(refused.ended_as(after, wanted)) << chunk << " " << nth;
      }
      EXPECT_GT(nth, 30U);
    }
  }
}

TEST(NftablesRefusal, ARefusalWhileAnotherIsRepairedEndsWithTheNextCall) {
  const auto after = states_after();
  const std::string wanted = fresh_text(after);
  for (const auto& before : {std::vector<model::ServiceState>(), states_before()}) {
    for (const std::uint64_t again : {std::uint64_t{0}, std::uint64_t{9}}) {
      std::uint64_t second = 0;
      for (std::uint64_t nth = 0;; ++nth) {
        Refused refused(before, kTinyChunk, nth);
        nft::FakeNamespace& ns = *refused.node.ns;
        ns.fail_again = again;
        const Report report = refused.dataplane->replace({}, after);
        if (ns.fail_again) break;
        second += refused.happened();
        ASSERT_EQ(report.ok(), !refused.happened()) << again << " " << nth;
        ns.fail_command.reset();
        ASSERT_TRUE(refused.dataplane->apply({}).ok()) << again << " " << nth;
        ASSERT_TRUE(refused.ended_as(after, wanted)) << again << " " << nth;
      }
      EXPECT_GT(second, 10U) << again;
    }
  }
}

TEST(NftablesRefusal, WhenTheKernelCannotBeReadAfterItNothingCountsAsAppliedBeforeItCan) {
  const auto after = states_after();
  const std::string wanted = fresh_text(after);
  for (const auto& before : {std::vector<model::ServiceState>(), states_before()}) {
    std::uint64_t nth = 0;
    for (;; ++nth) {
      Refused refused(before, kTinyChunk, nth);
      refused.node.ns->fail_dumps = 2;
      const Report report = refused.dataplane->replace({}, after);
      if (!refused.happened()) break;
      ASSERT_FALSE(report.ok()) << nth;
      // What has no difference to what was believed is no reason to say that it is there.
      ASSERT_FALSE(refused.dataplane->apply({after, {}}).ok()) << nth;
      ASSERT_TRUE(refused.dataplane->apply({{after[0]}, {}}).ok()) << nth;
      ASSERT_TRUE(refused.ended_as(after, wanted)) << nth;
    }
    EXPECT_GT(nth, 30U);
  }
}

TEST(NftablesRefusal, AddressesNobodyUsesGoOnceNoServiceIsRefusedAnyMore) {
  Node node;
  auto dataplane = node.start();
  ASSERT_TRUE(dataplane->replace({}, {}).ok());
  node.ns->tables[kV4].elements["hairpin"].insert(address_element(SetId::Hairpin, ip("192.0.2.7")));
  node.ns->refuse_element_of = "endpoints";
  EXPECT_EQ(dataplane->apply({{service("web", {cluster_ip("10.96.0.12", 80)}, endpoints(5))}, {}}).failures.size(), 1U);
  node.ns->refuse_element_of.reset();
  EXPECT_TRUE(dataplane->apply({}).ok());
  EXPECT_EQ(node.text(), fresh_text({service("web", {cluster_ip("10.96.0.12", 80)}, endpoints(5))}));
}

TEST(NftablesRefusal, AServiceTheKernelKeepsRefusingIsNamedAndTheRestIsApplied) {
  auto others = some_services();
  others.pop_back();
  for (const std::string last : {"13", "14", "15"}) {
    others.push_back(service("later" + last, {cluster_ip("10.96.0." + last, 80)}, endpoints(2)));
  }
  auto services = others;
  services.push_back(some_services().back());
  for (const std::size_t chunk : {kTinyChunk, std::size_t{4000}}) {
    Node node;
    auto dataplane = node.start(chunk);
    ASSERT_TRUE(dataplane->replace({}, {}).ok());
    node.ns->refuse_element_of = "endpoints";
    node.ns->refuse_bytes = std::string("\x0a\x60\x00\x0c", 4);  // 10.96.0.12
    const Report report = dataplane->apply({services, {}});
    ASSERT_EQ(report.failures.size(), 1U) << chunk;
    EXPECT_EQ(report.failures[0].service, (model::Key{"default", "web"}));
    EXPECT_EQ(report.failures[0].error.errno_value(), ENOSPC);
    EXPECT_EQ(node.text(), fresh_text(others));
    // It is tried again with the next change.
    node.ns->refuse_element_of.reset();
    EXPECT_TRUE(dataplane->apply({}).ok());
    EXPECT_EQ(node.start()->replace({}, services).kernel_writes, 0U);
  }
}

TEST(NftablesRefusal, DeathAfterAnyTransactionIsRepairedByTheNextStart) {
  std::vector<model::ServiceState> before = some_services();
  std::vector<model::ServiceState> after{
      service("dns", {cluster_ip("10.96.0.10", 53)}, endpoints(7), model::Protocol::Udp),
      service("new", {cluster_ip("10.96.0.13", 80), node_port(30081)}, endpoints(2)),
      service("web", {cluster_ip("10.96.0.12", 80)}, {})};
  for (std::uint64_t survives = 0; survives < 12; ++survives) {
    Node node;
    ASSERT_TRUE(node.start()->replace({}, before).ok());
    node.ns->die_after = survives;
    (void)node.start(3)->replace({}, after);
    node.ns->die_after.reset();
    EXPECT_TRUE(node.start(3)->replace({}, after).ok());
    EXPECT_EQ(node.start()->replace({}, after).kernel_writes, 0U) << survives;
  }
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::nftables
