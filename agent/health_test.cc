#include "agent/health.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

class HealthTest : public testing::Test {
 protected:
  base::FakeClock clock;
  Health health{clock};
  kube::Node node;
};

TEST_F(HealthTest, IsHealthyBeforeAnythingWasQueued) {
  clock.advance(1h);
  EXPECT_EQ(health.livez().code, 200);
}

TEST_F(HealthTest, IsUnhealthyWhenSomethingWaitsForTheWholeTimeout) {
  health.queued();
  clock.advance(60s - 1ns);
  EXPECT_EQ(health.livez().code, 200);
  clock.advance(1ns);
  EXPECT_EQ(health.livez().code, 503);
}

TEST_F(HealthTest, TheOldestWaitingChangeCounts) {
  health.queued();
  clock.advance(59s);
  health.queued();
  clock.advance(1s);
  EXPECT_EQ(health.livez().code, 503);
  health.updated();
  EXPECT_EQ(health.livez().code, 200);
}

TEST_F(HealthTest, IdleIsHealthy) {
  health.queued();
  health.updated();
  clock.advance(24h);
  EXPECT_EQ(health.livez().code, 200);
}

TEST_F(HealthTest, HealthzNeedsAnEligibleNodeAndLivezDoesNot) {
  EXPECT_EQ(health.healthz().code, 503) << "the Node is not known";
  EXPECT_EQ(health.livez().code, 200);
  health.set_node(&node);
  EXPECT_EQ(health.healthz().code, 200);
}

TEST_F(HealthTest, ANodeBeingDeletedOrScaledDownIsNotEligible) {
  node.deleting = true;
  health.set_node(&node);
  EXPECT_FALSE(health.node_eligible());
  node.deleting = false;
  node.taints = {{.key = "ToBeDeletedByClusterAutoscaler", .value = "1", .effect = "NoSchedule"}};
  health.set_node(&node);
  EXPECT_FALSE(health.node_eligible());
  node.taints = {{.key = "example.com/other", .value = "", .effect = "NoSchedule"}};
  health.set_node(&node);
  EXPECT_TRUE(health.node_eligible());
  health.set_node(nullptr);
  EXPECT_FALSE(health.node_eligible());
}

TEST_F(HealthTest, TheBodyHasTheFieldsThatKubeProxyHas) {
  health.set_node(&node);
  clock.advance(1s);
  const HttpResponse good = health.healthz();
  EXPECT_EQ(good.content_type, "application/json");
  EXPECT_EQ(good.body,
            R"({"lastUpdated":"1970-01-02T00:00:01.000000000Z","currentTime":"1970-01-02T00:00:01.000000000Z",)"
            R"("nodeEligible":true,"healthy":true,"status":{)"
            R"("IPv4":{"lastUpdated":"1970-01-02T00:00:00.000000000Z","healthy":true},)"
            R"("IPv6":{"lastUpdated":"1970-01-02T00:00:00.000000000Z","healthy":true}}})");
}

TEST_F(HealthTest, LastUpdatedIsTheRealTimeWhenUnhealthyAndLivezHasNoNode) {
  health.queued();
  clock.advance(60s);
  const auto body = base::parse_json(health.livez().body);
  ASSERT_TRUE(body);
  EXPECT_EQ(*(*body)["lastUpdated"].as_string(), "1970-01-02T00:00:00.000000000Z");
  EXPECT_EQ(*(*body)["healthy"].as_bool(), false);
  EXPECT_TRUE((*body)["nodeEligible"].is_null());
}

}  // namespace
}  // namespace fairlead::agent
