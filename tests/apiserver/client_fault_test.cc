// kube/'s client against a test API server that misbehaves: what it had stays in force, and what changed meanwhile
// arrives.

#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/apiserver/agent_fixture.h"

namespace fairlead::tests::apiserver {
namespace {

using namespace std::chrono_literals;
using base::cat;
using kube::Kind;

std::unique_ptr<TestApiServer> small_cluster(const Options& options = {}) {
  auto server = TestApiServer::start(options);
  EXPECT_TRUE(server) << server.error().message();
  EXPECT_TRUE((*server)->load(generate({.services = 2, .endpoints = 3, .nodes = 2})));
  return *std::move(server);
}

// A change that cannot be mistaken for what was there before has arrived.
bool follows_changes(TestApiServer& server, Agent& agent, const std::string& name) {
  if (!server.upsert(Resource::Services, make_service("ns-0", name, "10.96.77.1"))) return false;
  return agent.wait_for([&] { return agent.has_service("ns-0", name); });
}

struct Case {
  Break what;
  kube::Encoding encoding;
  const char* name;
};

class BrokenStream : public testing::TestWithParam<Case> {};
constexpr auto kJson = kube::Encoding::Json;
constexpr auto kProtobuf = kube::Encoding::Protobuf;
INSTANTIATE_TEST_SUITE_P(
    Client, BrokenStream,
    testing::Values(
        Case{Break::CutMidFrame, kJson, "CutMidFrameJson"}, Case{Break::CutMidFrame, kProtobuf, "CutMidFrameProtobuf"},
        Case{Break::CutMidEvent, kJson, "CutMidEventJson"}, Case{Break::CutMidEvent, kProtobuf, "CutMidEventProtobuf"},
        Case{Break::GarbageFrames, kProtobuf, "GarbageFrames"}, Case{Break::GarbageEvents, kJson, "GarbageEventsJson"},
        Case{Break::GarbageEvents, kProtobuf, "GarbageEventsProtobuf"},
        Case{Break::OversizedEvent, kJson, "OversizedEventJson"},
        Case{Break::OversizedEvent, kProtobuf, "OversizedEventProtobuf"},
        Case{Break::UnknownEvent, kJson, "UnknownEventJson"},
        Case{Break::UnknownEvent, kProtobuf, "UnknownEventProtobuf"}, Case{Break::Reset, kProtobuf, "Reset"},
        Case{Break::EndWatches, kProtobuf, "EndWatches"}, Case{Break::ExpireWatches, kJson, "ExpireWatchesJson"},
        Case{Break::ExpireWatches, kProtobuf, "ExpireWatchesProtobuf"},
        Case{Break::ThrottleWatches, kProtobuf, "ThrottleWatches"}, Case{Break::FailWatches, kProtobuf, "FailWatches"}),
    [](const auto& about) { return std::string(about.param.name); });

TEST_P(BrokenStream, LosesNothingAndForgetsNothing) {
  const auto server = small_cluster();
  ASSERT_TRUE(server->set_faults({.retry_after_seconds = 0, .oversized_bytes = 300'000}));
  Agent agent(*server, {.encoding = GetParam().encoding, .largest_item = 100'000});
  ASSERT_TRUE(agent.wait_until_watching());
  (void)agent.store().take_dirty();
  server->break_now(GetParam().what);
  // Deleted and created while the stream is down, or while it is being broken.
  server->erase(Resource::Services, {.ns = "ns-1", .name = "svc-1"});
  ASSERT_TRUE(server->set_endpoints("ns-0", "svc-0", {{.address = "10.1.0.1"}}));
  ASSERT_TRUE(
      agent.wait_for([&] { return !agent.has_service("ns-1", "svc-1") && agent.endpoints_of("ns-0", "svc-0") == 1; }));
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
  EXPECT_TRUE(agent.has_service("ns-0", "svc-0"));
  // Only what changed was touched: a relist is a difference.
  EXPECT_EQ(agent.store().take_dirty().services,
            (std::set<kube::Key>{
                {.ns = "ns-0", .name = "later"}, {.ns = "ns-0", .name = "svc-0"}, {.ns = "ns-1", .name = "svc-1"}}));
}

TEST(Client, ACutWatchGoesOnFromItsLastVersionWithoutARelist) {
  for (const Break what : {Break::CutMidFrame, Break::Reset, Break::EndWatches, Break::ThrottleWatches}) {
    SCOPED_TRACE(static_cast<int>(what));
    const auto server = small_cluster();
    ASSERT_TRUE(server->set_faults({.retry_after_seconds = 0}));
    Agent agent(*server, {});
    ASSERT_TRUE(agent.wait_until_watching());
    const auto version = agent.status(Kind::Service).resource_version;
    server->break_now(what);
    ASSERT_TRUE(follows_changes(*server, agent, "later"));
    EXPECT_EQ(agent.relists(), 0u) << agent.last_errors();
    const auto lines = request_lines(*server, "services");
    EXPECT_EQ(lines.back(), cat("watch rv=", version, " 200"));
    EXPECT_LE(server->stats().connections, 2u);
  }
}

TEST(Client, AGracefulGoAwayLeadsToANewConnectionThatGoesOnFromTheLastVersion) {
  const auto server = small_cluster();
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  const auto version = agent.status(Kind::Service).resource_version;
  (void)agent.store().take_dirty();
  server->break_now(Break::GoAway);
  server->erase(Resource::Services, {.ns = "ns-1", .name = "svc-1"});
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
  ASSERT_TRUE(agent.wait_until_watching());
  EXPECT_EQ(agent.store().take_dirty().services,
            (std::set<kube::Key>{{.ns = "ns-0", .name = "later"}, {.ns = "ns-1", .name = "svc-1"}}));
  EXPECT_EQ(request_lines(*server, "services").back(), cat("watch rv=", version, " 200"));
  EXPECT_EQ(agent.relists(), 0u) << agent.last_errors();
  EXPECT_EQ(server->stats().connections, 2u);
  EXPECT_EQ(server->stats().open_connections, 1u);
}

TEST(Client, AGoAwayLeavesRunningWatchesAloneAndOnlyTheNextRequestsGoElsewhere) {
  const auto server = small_cluster();
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  server->break_now(Break::GoAwayLater);
  ASSERT_TRUE(follows_changes(*server, agent, "on-the-old-connection"));
  EXPECT_EQ(server->stats().watches, 4u);
  const auto version = agent.status(Kind::Service).resource_version;
  server->break_now(Break::EndWatches);
  ASSERT_TRUE(follows_changes(*server, agent, "on-the-new-connection"));
  ASSERT_TRUE(agent.wait_until_watching());
  EXPECT_EQ(request_lines(*server, "services").back(), cat("watch rv=", version, " 200"));
  EXPECT_EQ(agent.relists(), 0u) << agent.last_errors();
  EXPECT_EQ(server->stats().connections, 2u);
}

TEST(Client, BookmarksMoveTheVersionOnSoThatNothingExpires) {
  const auto server = small_cluster({.history = 3});
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  // Changes of others push what the services' watch began with out of the window.
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(server->set_label(Resource::Nodes, {.ns = "", .name = "node-1"}, "count", cat(i).c_str()));
  }
  server->send_bookmarks();
  const std::string version = std::to_string(server->version());
  ASSERT_TRUE(agent.wait_for([&] { return agent.status(Kind::Service).resource_version == version; }));
  server->break_now(Break::EndWatches);
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
  EXPECT_EQ(request_lines(*server, "services").back(), cat("watch rv=", version, " 200"));
  EXPECT_EQ(agent.relists(), 0u);
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
}

TEST(Client, PeriodicBookmarksAreTakenToo) {
  const auto server = small_cluster({.bookmark_period = 5ms});
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  server->advance_version();
  const std::string version = std::to_string(server->version());
  ASSERT_TRUE(agent.wait_for([&] { return agent.status(Kind::EndpointSlice).resource_version == version; }));
}

TEST(Client, CompactionLeadsToARelistThatDeletesWhatIsGone) {
  for (const bool as_status : {false, true}) {
    for (const bool watch_list : {true, false}) {
      SCOPED_TRACE(cat("as status ", as_status, ", WatchList ", watch_list));
      const auto server = small_cluster({.watch_list = watch_list});
      ASSERT_TRUE(server->set_faults({.expired_as_status = as_status}));
      Agent agent(*server, {});
      ASSERT_TRUE(agent.wait_until_watching());
      (void)agent.store().take_dirty();
      ASSERT_TRUE(server->set_faults({.refuse = true, .expired_as_status = as_status}));
      server->erase(Resource::Services, {.ns = "ns-1", .name = "svc-1"});
      server->erase(Resource::EndpointSlices, {.ns = "ns-0", .name = "svc-0-0"});
      server->compact();
      ASSERT_TRUE(agent.wait_for([&] { return agent.errors() >= 4; }));
      EXPECT_TRUE(agent.has_service("ns-1", "svc-1")) << "the last good state stays while nobody answers";
      ASSERT_TRUE(server->set_faults({.expired_as_status = as_status}));
      ASSERT_TRUE(agent.wait_for(
          [&] { return !agent.has_service("ns-1", "svc-1") && agent.endpoints_of("ns-0", "svc-0") == 0; }));
      EXPECT_EQ(agent.store().take_dirty().services,
                (std::set<kube::Key>{{.ns = "ns-0", .name = "svc-0"}, {.ns = "ns-1", .name = "svc-1"}}));
      EXPECT_TRUE(agent.has_complained("410 Expired")) << agent.last_errors();
      EXPECT_TRUE(follows_changes(*server, agent, "later"));
    }
  }
}

TEST(Client, ASlowStreamIsNotTakenForADeadOne) {
  const auto server = small_cluster();
  ASSERT_TRUE(server->set_faults({.bytes_per_second = 2000}));
  // The slices take longer than any of these, a piece of them every 10 ms.
  constexpr auto kPatience = 600ms;
  Agent agent(*server, {.encoding = kJson, .http = {.read_idle = 300ms, .ping_timeout = 300ms}, .patience = kPatience});
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(agent.wait_until_synced());
  EXPECT_GT(std::chrono::steady_clock::now() - begin, kPatience);
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
  EXPECT_EQ(agent.http().dead_connections, 0u);
}

TEST(Client, AStalledStreamOnALivingConnectionIsGivenUpDuringTheFirstSync) {
  const auto server = small_cluster();
  ASSERT_TRUE(server->set_faults({.stall = true}));
  Agent agent(*server, {.http = {.read_idle = 20ms, .ping_timeout = 1s}, .patience = 60ms});
  ASSERT_TRUE(agent.wait_for([&] { return agent.errors() >= 4; }));
  EXPECT_TRUE(agent.has_complained("nothing received")) << agent.last_errors();
  EXPECT_EQ(agent.http().dead_connections, 0u);
  ASSERT_TRUE(server->set_faults({}));
  EXPECT_TRUE(agent.wait_until_synced());
}

TEST(Client, AStalledWatchGoesOnWhereItStopped) {
  const auto server = small_cluster();
  Agent agent(*server, {.http = {.read_idle = 20ms, .ping_timeout = 1s}});
  ASSERT_TRUE(agent.wait_until_watching());
  ASSERT_TRUE(server->set_faults({.stall = true}));
  ASSERT_TRUE(server->upsert(Resource::Services, make_service("ns-0", "held-back", "10.96.77.2")));
  const auto pings = agent.http().pings;
  ASSERT_TRUE(agent.wait_for([&] { return agent.http().pings > pings + 1; }));
  EXPECT_EQ(agent.http().dead_connections, 0u) << "the connection answers";
  ASSERT_TRUE(server->set_faults({}));
  ASSERT_TRUE(agent.wait_for([&] { return agent.has_service("ns-0", "held-back"); }));
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
}

TEST(Client, ADeadPeerIsNoticedByTheKeepAliveAndReplaced) {
  const auto server = small_cluster();
  Agent agent(*server, {.http = {.connect_timeout = 50ms, .read_idle = 60ms, .ping_timeout = 40ms}});
  ASSERT_TRUE(agent.wait_until_watching());
  ASSERT_TRUE(server->set_faults({.hang = true}));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(agent.wait_for([&] { return agent.http().dead_connections == 1; }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s)
      << "60 ms of silence and 40 ms for the answer, with room for a busy machine";
  EXPECT_EQ(agent.store().services().size(), 2u);
  server->break_now(Break::Reset);
  ASSERT_TRUE(server->set_faults({}));
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
  EXPECT_EQ(agent.relists(), 0u);
}

TEST(Client, ARefusingServerIsTriedAgainWithoutARelist) {
  const auto server = small_cluster();
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  ASSERT_TRUE(server->set_faults({.refuse = true}));
  ASSERT_TRUE(agent.wait_for([&] { return agent.errors() >= 12; }));
  EXPECT_EQ(agent.store().services().size(), 2u);
  ASSERT_TRUE(server->set_faults({}));
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
  EXPECT_EQ(agent.relists(), 0u);
}

TEST(Client, ARestartWithAHigherEpochIsARelist) {
  const auto server = small_cluster();
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  server->restart(1'000'000);
  server->erase(Resource::Services, {.ns = "ns-1", .name = "svc-1"});
  ASSERT_TRUE(agent.wait_for([&] { return !agent.has_service("ns-1", "svc-1"); }));
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
  EXPECT_EQ(agent.status(Kind::Service).relists, 1u);
}

TEST(Client, ARestartWithALowerEpochIsNoticedThoughTheWatchWouldBeSilent) {
  const auto server = small_cluster();
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  server->restart(10);
  server->erase(Resource::Services, {.ns = "ns-1", .name = "svc-1"});
  ASSERT_TRUE(agent.wait_for([&] { return !agent.has_service("ns-1", "svc-1"); }));
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
}

TEST(Client, AVersionThatGoesBackIsAnotherHistoryAndARelist) {
  const auto server = small_cluster();
  ASSERT_TRUE(server->set_faults({.lower_versions = true}));
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  server->restart(10);
  server->erase(Resource::Services, {.ns = "ns-1", .name = "svc-1"});
  ASSERT_TRUE(agent.wait_for([&] {
    server->send_bookmarks();
    return !agent.has_service("ns-1", "svc-1");
  }));
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
}

TEST(Client, AVersionThatIsTooLargeForARestartedServerIsDropped) {
  const auto server = small_cluster();
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  server->break_now(Break::GarbageEvents);  // a reason to start over, from the last version
  server->restart(10);
  ASSERT_TRUE(follows_changes(*server, agent, "later"));
  EXPECT_EQ(agent.store().services().size(), 3u);
}

TEST(Client, TooManyRequestsAreRepeatedAfterTheTimeTheServerAsksFor) {
  const auto server = small_cluster();
  ASSERT_TRUE(server->set_faults(
      {.error_count = 1, .error_code = 429, .retry_after_seconds = 1, .error_resource = "services"}));
  Agent agent(*server, {});
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(agent.wait_until_synced());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 950ms);
  EXPECT_EQ(request_lines(*server, "services"),
            (std::vector<std::string>{"watch rv= initial 429", "watch rv= initial 200"}));
}

}  // namespace
}  // namespace fairlead::tests::apiserver
