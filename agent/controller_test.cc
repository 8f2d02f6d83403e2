#include "agent/controller.h"

#include <gtest/gtest.h>

#include "agent/status.h"
#include "base/json.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

const Key kWeb{"default", "web"};

kube::Service service(const std::string& name) {
  kube::Service service;
  service.meta.key = {"default", name};
  service.cluster_ips = {net::Ip::v4(10, 96, 0, 1)};
  service.ip_families = {net::Family::V4};
  service.ports = {{.name = "http", .protocol = kube::Protocol::Tcp, .port = 80}};
  return service;
}

kube::EndpointSlice slice(const std::string& owner, std::uint8_t endpoints) {
  kube::EndpointSlice slice;
  slice.meta.key = {"default", owner + "-1"};
  slice.service_name = owner;
  slice.ports = {{.name = "http", .protocol = kube::Protocol::Tcp, .port = 8080}};
  for (std::uint8_t i = 1; i <= endpoints; ++i) {
    kube::Endpoint endpoint;
    endpoint.address = net::Ip::v4(10, 0, 0, i);
    endpoint.ready = true;
    slice.endpoints.push_back(endpoint);
  }
  return slice;
}

class ControllerTest : public testing::Test {
 protected:
  std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());
  base::FakeClock clock;
  Metrics metrics{"test"};
  Health health{clock};
  std::vector<Work> handed_over;
  Controller controller{{.loop = *loop,
                         .clock = clock,
                         .metrics = metrics,
                         .health = health,
                         .hand_over = [this](Work work) { handed_over.push_back(std::move(work)); }},
                        "node1"};

  std::string services_json(const std::string& only_namespace) {
    ServicesJson pieces(controller, only_namespace, clock);
    std::string text;
    while (pieces.append_piece(text)) {
    }
    return text;
  }
  void turn() { loop->run_once(1ms); }
  void sync() {
    controller.replace(kube::Kind::Node, {});
    controller.replace(kube::Kind::ServiceCidr, {});
    controller.replace(kube::Kind::Service, {service("web")});
    controller.replace(kube::Kind::EndpointSlice, {slice("web", 2)});
    turn();
    ASSERT_EQ(handed_over.size(), 1U);
  }
  // As the worker reports that everything handed over so far is in the kernel.
  void apply_all(Outcome::Kind kind) {
    Outcome outcome;
    outcome.kind = kind;
    for (const Work& work : handed_over) merge(outcome.origin, Origin(work.origin));
    outcome.kernel_writes = 1;
    controller.done(outcome);
  }
};

TEST_F(ControllerTest, HandsOverNothingBeforeServicesAndSlicesAreBothComplete) {
  controller.replace(kube::Kind::Node, {});
  controller.replace(kube::Kind::ServiceCidr, {});
  controller.replace(kube::Kind::Service, {service("web")});
  turn();
  EXPECT_TRUE(handed_over.empty());
  controller.upsert(slice("web", 1));
  turn();
  EXPECT_TRUE(handed_over.empty());
  controller.replace(kube::Kind::EndpointSlice, {slice("web", 1)});
  turn();
  ASSERT_EQ(handed_over.size(), 1U);
}

TEST_F(ControllerTest, HandsOverNothingBeforeTheNodeAndTheServiceCidrsAreKnownSoThatARestartWritesNothing) {
  controller.replace(kube::Kind::Service, {service("web")});
  controller.replace(kube::Kind::EndpointSlice, {slice("web", 1)});
  turn();
  EXPECT_TRUE(handed_over.empty());
  kube::Node node;
  node.meta.key = {"", "node1"};
  node.labels = {{"topology.kubernetes.io/zone", "west"}};
  controller.replace(kube::Kind::Node, {node});
  turn();
  EXPECT_TRUE(handed_over.empty());
  kube::ServiceCidr cidr;
  cidr.meta.key = {"", "kubernetes"};
  cidr.cidrs = {*net::Prefix::parse("10.96.0.0/16")};
  controller.replace(kube::Kind::ServiceCidr, {cidr});
  turn();
  ASSERT_EQ(handed_over.size(), 1U);
  ASSERT_TRUE(handed_over[0].all);
  EXPECT_EQ(handed_over[0].all->services.size(), 1U);
  EXPECT_EQ(handed_over[0].all->node.service_cidrs, cidr.cidrs);
  EXPECT_EQ(controller.node_view().zone, "west");
}

TEST_F(ControllerTest, WithoutAnAnswerAboutTheNodeOrTheServiceCidrsServicesAreServedAllTheSame) {
  Controller hasty({.loop = *loop,
                    .clock = clock,
                    .metrics = metrics,
                    .health = health,
                    .hand_over = [this](Work work) { handed_over.push_back(std::move(work)); },
                    .patience = 1ms},
                   "node1");
  hasty.replace(kube::Kind::Node, {});
  hasty.replace(kube::Kind::Service, {service("web")});
  hasty.replace(kube::Kind::EndpointSlice, {slice("web", 1)});
  testing::internal::CaptureStderr();
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (handed_over.empty() && std::chrono::steady_clock::now() < deadline) turn();
  const std::string log = testing::internal::GetCapturedStderr();
  ASSERT_EQ(handed_over.size(), 1U);
  ASSERT_TRUE(handed_over[0].all);
  EXPECT_EQ(handed_over[0].all->services.size(), 1U);
  EXPECT_NE(log.find("missing=ServiceCIDR\n"), std::string::npos) << log;
  kube::ServiceCidr cidr;
  cidr.meta.key = {"", "kubernetes"};
  cidr.cidrs = {*net::Prefix::parse("10.96.0.0/16")};
  hasty.replace(kube::Kind::ServiceCidr, {cidr});
  turn();
  ASSERT_EQ(handed_over.size(), 2U);
  ASSERT_TRUE(handed_over[1].all);
  EXPECT_EQ(handed_over[1].all->node.service_cidrs, cidr.cidrs);
}

TEST_F(ControllerTest, TheFirstBatchIsEverythingEvenIfThereIsNoNode) {
  sync();
  ASSERT_TRUE(handed_over[0].all);
  ASSERT_EQ(handed_over[0].all->services.size(), 1U);
  EXPECT_EQ(handed_over[0].all->services.at(0).key, kWeb);
  EXPECT_EQ(handed_over[0].origin.generation, 1U);
}

TEST_F(ControllerTest, LaterBatchesHoldOnlyWhatChanged) {
  sync();
  controller.upsert(service("other"));
  turn();
  ASSERT_EQ(handed_over.size(), 2U);
  EXPECT_FALSE(handed_over[1].all);
  ASSERT_EQ(handed_over[1].changed.size(), 1U);
  EXPECT_EQ(handed_over[1].changed.begin()->first, (Key{"default", "other"}));
  EXPECT_EQ(handed_over[1].origin.generation, 2U);
}

TEST_F(ControllerTest, EventsOfOneTurnMakeOneBatch) {
  sync();
  for (std::uint8_t n = 0; n < 10; ++n) controller.upsert(slice("web", n));
  controller.erase(kube::Kind::Service, kWeb);
  turn();
  ASSERT_EQ(handed_over.size(), 2U);
  EXPECT_EQ(handed_over[1].changed, (std::map<Key, std::optional<ServiceState>>{{kWeb, std::nullopt}}));
}

TEST_F(ControllerTest, ANoOpUpdateMakesNoBatch) {
  sync();
  kube::Service same = service("web");
  same.meta.resource_version = "12345";
  controller.upsert(same);
  turn();
  EXPECT_EQ(handed_over.size(), 1U);
}

TEST_F(ControllerTest, ANodeUpdateThatMovesNoZoneResolvesNothing) {
  sync();
  kube::Node node;
  node.meta.key = {"", "node1"};
  node.taints = {{.key = "a", .value = "b", .effect = "NoSchedule"}};
  controller.upsert(node);
  turn();
  EXPECT_EQ(handed_over.size(), 1U);
  EXPECT_TRUE(health.node_eligible());
}

TEST_F(ControllerTest, AZoneChangeResolvesEverything) {
  sync();
  kube::Node node;
  node.meta.key = {"", "node1"};
  node.labels = {{"topology.kubernetes.io/zone", "west"}};
  controller.upsert(node);
  turn();
  ASSERT_EQ(handed_over.size(), 2U);
  ASSERT_TRUE(handed_over[1].all);
  EXPECT_EQ(handed_over[1].all->services.at(0).key, kWeb);
  EXPECT_EQ(controller.node_view().zone, "west");
}

TEST_F(ControllerTest, AServiceCidrReachesTheDataplaneAtOnce) {
  sync();
  kube::ServiceCidr cidr;
  cidr.meta.key = {"", "kubernetes"};
  cidr.cidrs = {*net::Prefix::parse("10.96.0.0/16")};
  controller.upsert(cidr);
  turn();
  ASSERT_EQ(handed_over.size(), 2U);
  ASSERT_TRUE(handed_over[1].all);
  EXPECT_EQ(handed_over[1].all->node.service_cidrs, cidr.cidrs);
}

TEST_F(ControllerTest, SendAllWaitsForTheFirstSync) {
  controller.send_all();
  EXPECT_TRUE(handed_over.empty());
  sync();
  controller.send_all();
  ASSERT_EQ(handed_over.size(), 2U);
  EXPECT_TRUE(handed_over[1].all);
  EXPECT_EQ(handed_over[1].origin.generation, 1U) << "a repair is no new batch";
}

TEST_F(ControllerTest, HealthWaitsForTheWorker) {
  sync();
  clock.advance(60s);
  EXPECT_FALSE(health.healthy());
  apply_all(Outcome::Kind::Replace);
  EXPECT_TRUE(health.healthy());
}

TEST_F(ControllerTest, OneFailingServiceLeavesTheNodeHealthy) {
  sync();
  Outcome outcome;
  outcome.kind = Outcome::Kind::Replace;
  outcome.origin.generation = 1;
  outcome.failures.push_back({kWeb, Error("map is full")});
  controller.done(outcome);
  clock.advance(1h);
  EXPECT_TRUE(health.healthy());
}

TEST_F(ControllerTest, AFailingDataplaneMakesTheNodeUnhealthy) {
  sync();
  Outcome outcome;
  outcome.kind = Outcome::Kind::Replace;
  outcome.failures.push_back({{}, Error("no buffer space")});
  controller.done(outcome);
  clock.advance(60s);
  EXPECT_FALSE(health.healthy());
}

TEST_F(ControllerTest, MeasuresNetworkProgrammingFromTriggersAfterTheStartOnly) {
  sync();
  apply_all(Outcome::Kind::Replace);
  handed_over.clear();
  kube::EndpointSlice old = slice("web", 3);
  old.last_change_trigger_time = "1970-01-01T00:00:00Z";  // the clock starts a day later
  controller.upsert(old);
  kube::EndpointSlice fresh = slice("web", 4);
  fresh.last_change_trigger_time = "1970-01-02T00:00:01Z";
  controller.upsert(fresh);
  controller.upsert(fresh);  // the same trigger again
  clock.advance(3s);
  turn();
  ASSERT_EQ(handed_over.size(), 1U);
  EXPECT_EQ(handed_over[0].origin.triggers, std::vector<base::WallTime>{base::WallTime(24h + 1s)});
  apply_all(Outcome::Kind::Apply);
  const std::string text = metrics.text({});
  EXPECT_NE(text.find("kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"} 2\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1\n"),
            std::string::npos);
}

TEST_F(ControllerTest, CountsEventsAndWhatIsPending) {
  sync();
  EXPECT_EQ(controller.ledger().totals().service_events_pending, 1U);
  EXPECT_EQ(controller.ledger().totals().slice_events_pending, 1U);
  apply_all(Outcome::Kind::Replace);
  EXPECT_EQ(controller.ledger().totals().service_events_pending, 0U);
  EXPECT_NE(metrics.text({}).find("kubeproxy_sync_proxy_rules_service_changes_total 1\n"), std::string::npos);
}

TEST_F(ControllerTest, StatusSaysWhatIsApplied) {
  sync();
  const Identity identity{.version = "1",
                          .instance = "fairlead",
                          .node = "node1",
                          .dataplane = "ebpf",
                          .probes = {{"ebpf", {true, "tcx"}}},
                          .metrics_address = {},
                          .healthz_address = {}};
  const SourceStatus source{.kind = "manifests", .where = "/m", .connected = true, .errors = {"a.yaml:3: no kind"}};
  auto before = base::parse_json(status_json(identity, controller, source, {}, clock));
  ASSERT_TRUE(before);
  EXPECT_EQ((*before)["synced"], base::Value(false));
  EXPECT_EQ((*before)["generation"], base::Value(1));
  EXPECT_EQ((*before)["applied"], base::Value(0));
  apply_all(Outcome::Kind::Replace);
  auto after = base::parse_json(status_json(identity, controller, source, {}, clock));
  ASSERT_TRUE(after);
  EXPECT_EQ((*after)["synced"], base::Value(true));
  EXPECT_EQ((*after)["applied"], base::Value(1));
  EXPECT_EQ((*after)["pending"], base::Value(0));
  EXPECT_EQ((*after)["services"], base::Value(1));
  EXPECT_EQ((*after)["endpoints"], base::Value(2));
  EXPECT_EQ((*after)["kernel_writes"]["first_sync"], base::Value(1));
  EXPECT_EQ((*(*after)["source"]["errors"].as_array())[0], base::Value("a.yaml:3: no kind"));
  EXPECT_EQ((*(*after)["probes"].as_array())[0]["reason"], base::Value("tcx"));
}

TEST_F(ControllerTest, StatusSaysWhatDataplanesKnowOfTheNodeAndWhichHealthCheckPortsFail) {
  kube::ServiceCidr cidr;
  cidr.meta.key = {"", "kubernetes"};
  cidr.cidrs = {*net::Prefix::parse("10.96.0.0/16")};
  sync();
  controller.upsert(cidr);
  turn();
  const std::map<Key, ServiceHealth::Port> ports = {{kWeb, {30100, ""}}, {{"default", "b"}, {30200, "taken"}}};
  const auto status = base::parse_json(status_json({}, controller, {}, ports, clock));
  ASSERT_TRUE(status);
  EXPECT_EQ((*status)["node_state"]["service_cidrs"].as_array()->at(0), base::Value("10.96.0.0/16"));
  EXPECT_EQ((*status)["node_state"]["node_port_addresses"].as_array()->at(0), base::Value("0.0.0.0/0"));
  EXPECT_EQ((*status)["health_check_ports"], base::Value(2));
  ASSERT_EQ((*status)["health_check_ports_failing"].as_array()->size(), 1U);
  EXPECT_EQ((*status)["health_check_ports_failing"].as_array()->at(0)["service"], base::Value("default/b"));
}

TEST_F(ControllerTest, ServicesListsFrontendsCountsAgeAndTheLastError) {
  sync();
  Outcome outcome;
  outcome.kind = Outcome::Kind::Replace;
  outcome.failures.push_back({kWeb, Error("map is full")});
  controller.done(outcome);
  clock.advance(90s);
  const auto list = base::parse_json(services_json(""));
  ASSERT_TRUE(list) << list.error().message();
  ASSERT_EQ(list->as_array()->size(), 1U);
  const base::Value& row = list->as_array()->at(0);
  EXPECT_EQ(row["name"], base::Value("web"));
  EXPECT_EQ(row["type"], base::Value("ClusterIP"));
  EXPECT_EQ(row["age_seconds"], base::Value(90));
  EXPECT_EQ(row["last_error"], base::Value("map is full"));
  EXPECT_EQ(row["endpoints"]["ready"], base::Value(2));
  const base::Value& frontend = row["frontends"].as_array()->at(0);
  EXPECT_EQ(frontend["address"], base::Value("10.96.0.1"));
  EXPECT_EQ(frontend["port"], base::Value(80));
  EXPECT_EQ(services_json("other"), "[]\n");
}

TEST_F(ControllerTest, ServicesComeInPiecesThatSurviveChanges) {
  std::vector<kube::Object> many;
  for (int i = 1000; i < 1500; ++i) many.emplace_back(service(base::cat("s", i)));
  controller.replace(kube::Kind::Service, many);
  ServicesJson pieces(controller, "", clock);
  std::string text;
  ASSERT_TRUE(pieces.append_piece(text));
  controller.erase(kube::Kind::Service, {"default", "s1199"});  // where the first piece ended
  controller.erase(kube::Kind::Service, {"default", "s1200"});
  while (pieces.append_piece(text)) {
  }
  const auto list = base::parse_json(text);
  ASSERT_TRUE(list) << list.error().message();
  EXPECT_EQ(list->as_array()->size(), 499U);
}

TEST_F(ControllerTest, WithoutPodCidrsToTellPodsByItSaysSoAndFollowsThemWhenTheyCome) {
  proxy::model::Config config;
  config.detect_local = proxy::model::DetectLocal::NodeCidr;
  Controller by_node({.loop = *loop,
                      .clock = clock,
                      .metrics = metrics,
                      .health = health,
                      .hand_over = [this](Work work) { handed_over.push_back(std::move(work)); }},
                     "node1", config);
  by_node.replace(kube::Kind::Service, {service("web")});
  by_node.replace(kube::Kind::EndpointSlice, {slice("web", 2)});
  by_node.replace(kube::Kind::ServiceCidr, {});
  kube::Node node;
  node.meta.key.name = "node1";
  testing::internal::CaptureStderr();
  by_node.replace(kube::Kind::Node, {node});
  turn();
  EXPECT_NE(testing::internal::GetCapturedStderr().find("the Node has no podCIDRs"), std::string::npos);
  ASSERT_EQ(handed_over.size(), 1U);
  EXPECT_FALSE(handed_over[0].all->node.pods.known(net::Family::V4));
  node.pod_cidrs = {*net::Prefix::parse("10.1.0.0/24")};
  by_node.upsert(node);
  turn();
  ASSERT_EQ(handed_over.size(), 2U);
  EXPECT_EQ(handed_over[1].all->node.pods.sources, node.pod_cidrs);
}

}  // namespace
}  // namespace fairlead::agent
