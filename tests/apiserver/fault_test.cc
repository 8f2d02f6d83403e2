// The server misbehaves as told, seen by an HTTP client that knows nothing of it; and the /test/ paths.

#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/apiserver/curl_client.h"

namespace fairlead::tests::apiserver {
namespace {

using namespace std::chrono_literals;
using base::cat;

constexpr const char* kServices = "/api/v1/services";
constexpr const char* kWatch = "/api/v1/services?watch=1&resourceVersion=0&timeoutSeconds=60&allowWatchBookmarks=true";

std::unique_ptr<TestApiServer> start() {
  auto server = TestApiServer::start({});
  EXPECT_TRUE(server) << server.error().message();
  EXPECT_TRUE((*server)->upsert(Resource::Services, make_service("a", "web", "10.96.0.1")));
  return *std::move(server);
}

// Breaks a watch once it has seen its first event, and reads on to its end.
Reply broken_watch(TestApiServer& server, Break what, const std::string& accept = "application/json") {
  bool broken = false;
  return CurlClient(server).stream(
      kWatch,
      [&](const std::string&) {
        if (!broken) server.break_now(what);
        broken = true;
        return false;
      },
      accept);
}

TEST(Faults, ARefusingServerListensAgainOnTheSamePort) {
  const auto server = start();
  ASSERT_TRUE(server->set_faults({.refuse = true}));
  EXPECT_EQ(CurlClient(*server).get("/livez").error, "Couldn't connect to server");
  ASSERT_TRUE(server->set_faults({}));
  EXPECT_EQ(CurlClient(*server).get("/livez").status, 200);
}

TEST(Faults, AHangingServerAcceptsAndSaysNothing) {
  const auto server = start();
  CurlClient client(*server);
  ASSERT_EQ(client.get("/livez").status, 200);
  ASSERT_TRUE(server->set_faults({.hang = true}));
  client.set_patience(50ms);
  EXPECT_EQ(client.get("/livez").status, 0);
  ASSERT_TRUE(server->set_faults({}));
  client.set_patience(5000ms);
  EXPECT_EQ(client.get("/livez").status, 200);
}

TEST(Faults, AStalledStreamGoesOnWhereItStopped) {
  const auto server = start();
  ASSERT_TRUE(server->set_faults({.stall = true}));
  CurlClient client(*server);
  client.set_patience(50ms);
  const Reply stalled = client.get(kServices);
  EXPECT_EQ(stalled.status, 200);
  EXPECT_EQ(stalled.body, "");
  EXPECT_EQ(client.get("/livez").body, "ok") << "the connection itself lives";
  ASSERT_TRUE(server->set_faults({}));
  client.set_patience(5000ms);
  EXPECT_TRUE(client.get(kServices).ended);
}

TEST(Faults, ASlowStreamTakesItsTime) {
  const auto server = start();
  const std::size_t size = CurlClient(*server).get(kServices).body.size();
  ASSERT_TRUE(server->set_faults({.bytes_per_second = 5000}));
  const auto begin = std::chrono::steady_clock::now();
  const Reply reply = CurlClient(*server).get(kServices);
  EXPECT_EQ(reply.body.size(), size);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(size * 1000 / 5000 / 2));
}

TEST(Faults, AWatchIsCutInMidFrameOrInMidEvent) {
  const auto server = start();
  const Reply frame = broken_watch(*server, Break::CutMidFrame);
  EXPECT_FALSE(frame.ended);
  EXPECT_NE(frame.error, "");
  const Reply event = broken_watch(*server, Break::CutMidEvent);
  EXPECT_TRUE(event.ended);
  EXPECT_EQ(watch_events(event.body), std::vector<std::string>{"ADDED a/web"});
  EXPECT_FALSE(event.body.ends_with("\n"));
}

TEST(Faults, GarbageOfEveryKindIsSent) {
  const auto server = start();
  // curl 7.88 takes an HTTP/2 protocol error for the end of the body; what matters is that it gives up at once.
  EXPECT_NE(broken_watch(*server, Break::GarbageFrames).error, "Timeout was reached");
  EXPECT_NE(broken_watch(*server, Break::Reset).error, "");
  for (const Break what : {Break::GarbageEvents, Break::OversizedEvent, Break::UnknownEvent}) {
    for (const char* accept : {"application/json", "application/vnd.kubernetes.protobuf"}) {
      bool broken = false;
      std::size_t before = 0;
      const Reply reply = CurlClient(*server).stream(
          kWatch,
          [&](const std::string& body) {
            if (!broken) {
              server->break_now(what);
              broken = true;
              before = body.size();
            }
            return body.size() > before;
          },
          accept);
      EXPECT_EQ(reply.error, "");
    }
  }
}

TEST(Faults, OpenWatchesEndWithTheErrorThatIsAskedFor) {
  const auto server = start();
  const auto last = [&](Break what) {
    const Reply reply = broken_watch(*server, what);
    EXPECT_TRUE(reply.ended) << reply.error;
    return watch_events(reply.body).back();
  };
  EXPECT_EQ(last(Break::EndWatches), "ADDED a/web");
  EXPECT_EQ(last(Break::ExpireWatches), "ERROR 410 Expired");
  EXPECT_EQ(last(Break::ThrottleWatches), "ERROR 429 TooManyRequests");
  EXPECT_EQ(last(Break::FailWatches), "ERROR 500 InternalError");
}

TEST(Faults, ARestartCutsConnectionsAndStartsVersionsAnew) {
  const auto server = start();
  bool restarted = false;
  const Reply reply = CurlClient(*server).stream(kWatch, [&](const std::string&) {
    if (!restarted) server->restart(10);
    restarted = true;
    return false;
  });
  EXPECT_NE(reply.error, "");
  EXPECT_EQ(server->version(), 11u);
  EXPECT_EQ(CurlClient(*server).get("/api/v1/namespaces/a/services/web").status, 200);
}

TEST(Admin, FaultsAreSetAndHealByThemselves) {
  const auto server = start();
  CurlClient client(*server);
  ASSERT_EQ(client.send("POST", "/test/faults", R"({"errorCount":-1,"errorCode":503,"forSeconds":0.05})").status, 200);
  EXPECT_EQ(client.get(kServices).status, 503);
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  while (client.get(kServices).status != 200) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  const Reply wrong = client.send("POST", "/test/faults", R"({"stal":true})");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.body, "{\"error\":\"stal: no such fault\"}\n");
}

TEST(Admin, AStalledServerStillListensToItsAdministrator) {
  const auto server = start();
  CurlClient client(*server);
  ASSERT_EQ(client.send("POST", "/test/faults", R"({"stall":true})").status, 200);
  ASSERT_EQ(client.send("POST", "/test/faults", R"({})").status, 200);
  EXPECT_TRUE(client.get(kServices).ended);
}

TEST(Admin, EndpointsAndManifestsAreSetInBulk) {
  const auto server = start();
  CurlClient client(*server);
  EXPECT_EQ(
      client
          .send("POST", "/test/endpoints",
                R"({"namespace":"a","service":"web","endpoints":["10.1.0.1",{"address":"10.1.0.2","node":"n1"}]})")
          .status,
      200);
  const std::string slice = client.get("/apis/discovery.k8s.io/v1/namespaces/a/endpointslices/web-0").body;
  EXPECT_NE(
      slice.find(
          R"("addresses":["10.1.0.2"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"n1")"),
      std::string::npos)
      << slice;
  EXPECT_EQ(
      client.send("POST", "/test/manifests", "kind: Node\nmetadata: {name: n1}\n---\nkind: Pod\nmetadata: {name: p}\n")
          .status,
      200);
  EXPECT_EQ(client.get("/api/v1/nodes/n1").status, 200);
  EXPECT_EQ(client.send("POST", "/test/manifests", "kind: [").status, 400);
}

TEST(Admin, EveryBreakHasItsNameAndTheStatisticsCount) {
  const auto server = start();
  CurlClient client(*server);
  for (const char* what : {"compact", "advance", "bookmarks"}) {
    EXPECT_EQ(client.send("POST", cat("/test/", what), "").status, 200);
  }
  EXPECT_EQ(client.send("POST", "/test/break", R"({"what":"expire-watches"})").status, 200);
  EXPECT_EQ(client.send("POST", "/test/break", R"({"what":"anything"})").status, 400);
  EXPECT_EQ(client.send("POST", "/test/nothing", "").status, 400);
  EXPECT_EQ(client.send("POST", "/test/tokens", R"({"tokens":["t"]})").status, 200);
  EXPECT_EQ(client.get(kServices).status, 401);
  const auto stats = base::parse_json(client.get("/test/stats").body);
  ASSERT_TRUE(stats);
  EXPECT_EQ(*(*stats)["resourceVersion"].as_string(), std::to_string(server->version()));
}

}  // namespace
}  // namespace fairlead::tests::apiserver
