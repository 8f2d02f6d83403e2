// What the test API server answers, seen by an HTTP client that knows nothing of it.

#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/apiserver/curl_client.h"

namespace fairlead::tests::apiserver {
namespace {

using namespace std::chrono_literals;
using base::cat;
using base::Value;

constexpr const char* kServices = "/api/v1/services";
constexpr const char* kProxyLabel = "service.kubernetes.io/service-proxy-name";
constexpr const char* kWatchServices = "/api/v1/services?watch=1&timeoutSeconds=60&allowWatchBookmarks=true";
constexpr const char* kWatchList =
    "/api/v1/services?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";

std::unique_ptr<TestApiServer> start(const Options& options = {}) {
  auto server = TestApiServer::start(options);
  EXPECT_TRUE(server) << server.error().message();
  return *std::move(server);
}

std::unique_ptr<TestApiServer> with_services(int count, const Options& options = {}) {
  auto server = start(options);
  for (int i = 0; i < count; ++i) {
    EXPECT_TRUE(server->upsert(Resource::Services, make_service("a", cat("s", i), cat("10.96.0.", i + 1))));
  }
  return server;
}

Value json(const Reply& reply) {
  auto value = base::parse_json(reply.body);
  EXPECT_TRUE(value) << reply.body;
  return value ? *value : Value();
}

std::vector<std::string> item_names(const Value& list) {
  std::vector<std::string> names;
  for (const Value& item : *list["items"].as_array()) names.push_back(*item["metadata"]["name"].as_string());
  return names;
}

// A watch that has seen the event.
auto until_event(const std::string& wanted) {
  return [wanted](const std::string& body) {
    const auto events = watch_events(body);
    return std::find(events.begin(), events.end(), wanted) != events.end();
  };
}

TEST(TestApiServer, SpeaksHttp2OverTlsToWhoTrustsItsAuthority) {
  const auto server = start();
  const Reply reply = CurlClient(*server).get("/livez");
  EXPECT_EQ(reply.status, 200) << reply.error;
  EXPECT_EQ(reply.http_version, 2);
  EXPECT_EQ(reply.body, "ok");
  EXPECT_EQ(CurlClient(*server, {.host = "localhost"}).get("/healthz").status, 200);
  EXPECT_EQ(*json(CurlClient(*server).get("/version"))["major"].as_string(), "1");

  const auto other = make_pki();
  ASSERT_TRUE(other);
  EXPECT_NE(CurlClient(*server, {.ca_pem = other->ca_pem}).get("/livez").error, "");
}

TEST(TestApiServer, SpeaksPlainHttp2WhenTold) {
  const auto server = start({.tls = false});
  const Reply reply = CurlClient(*server).get("/livez");
  EXPECT_EQ(reply.status, 200) << reply.error;
  EXPECT_EQ(reply.http_version, 2);
}

TEST(TestApiServer, LetsInATokenOrAClientCertificateOrNobody) {
  const auto server = start({.tokens = {"sesame"}, .client_certificates = true});
  const Reply anonymous = CurlClient(*server).get(kServices);
  EXPECT_EQ(anonymous.status, 401);
  EXPECT_EQ(*json(anonymous)["kind"].as_string(), "Status");
  EXPECT_EQ(*json(anonymous)["reason"].as_string(), "Unauthorized");
  EXPECT_EQ(CurlClient(*server, {.token = "sesam"}).get(kServices).status, 401);
  EXPECT_EQ(CurlClient(*server, {.token = "sesame"}).get(kServices).status, 200);
  EXPECT_EQ(CurlClient(*server, {.client_certificate = true}).get(kServices).status, 200);
  EXPECT_EQ(server->requests().back().client_name, "system:node:test");

  server->set_tokens({"other"});
  EXPECT_EQ(CurlClient(*server, {.token = "sesame"}).get(kServices).status, 401);
  ASSERT_TRUE(server->set_faults({.forbid = true}));
  const Reply forbidden = CurlClient(*server, {.token = "other"}).get(kServices);
  EXPECT_EQ(forbidden.status, 403);
  EXPECT_EQ(*json(forbidden)["reason"].as_string(), "Forbidden");
}

TEST(TestApiServer, AnswersInTheFirstEncodingOfAcceptThatItSpeaks) {
  const auto server = with_services(1);
  CurlClient client(*server);
  const Reply protobuf = client.get(kServices, "application/vnd.kubernetes.protobuf, */*");
  EXPECT_EQ(protobuf.headers.at("content-type"), "application/vnd.kubernetes.protobuf");
  EXPECT_TRUE(protobuf.body.starts_with(std::string("k8s\0", 4)));
  EXPECT_EQ(client.get(kServices).headers.at("content-type"), "application/json");
  EXPECT_EQ(client.get(kServices, "text/html").status, 406);

  const auto json_only = start({.protobuf = false});
  const Reply fallback = CurlClient(*json_only).get(kServices, "application/vnd.kubernetes.protobuf, */*");
  EXPECT_EQ(fallback.headers.at("content-type"), "application/json");
}

TEST(TestApiServer, ListsWhatTheSelectorsAdmitAtTheCurrentVersion) {
  const auto server = with_services(3);
  ASSERT_TRUE(server->set_label(Resource::Services, {.ns = "a", .name = "s1"}, kProxyLabel, "x"));
  CurlClient client(*server);
  const Value list = json(client.get(cat(kServices, "?labelSelector=%21", kProxyLabel, "&resourceVersion=0")));
  EXPECT_EQ(item_names(list), (std::vector<std::string>{"s0", "s2"}));
  EXPECT_EQ(*list["kind"].as_string(), "ServiceList");
  EXPECT_EQ(*list["metadata"]["resourceVersion"].as_string(), std::to_string(server->version()));
  EXPECT_EQ(item_names(json(client.get("/api/v1/namespaces/b/services"))), std::vector<std::string>{});
  EXPECT_EQ(client.get(cat(kServices, "?fieldSelector=spec.foo%3D1")).status, 400);
  EXPECT_EQ(client.get("/api/v1/pods").status, 404);
}

TEST(TestApiServer, PagesComeFromOneVersionAndExpireWithTheHistory) {
  const auto server = with_services(5);
  CurlClient client(*server);
  const Value first = json(client.get(cat(kServices, "?limit=2")));
  EXPECT_EQ(item_names(first), (std::vector<std::string>{"s0", "s1"}));
  EXPECT_EQ(*first["metadata"]["remainingItemCount"].as_int(), 3);
  server->erase(Resource::Services, {.ns = "a", .name = "s3"});
  const std::string token = *first["metadata"]["continue"].as_string();
  const Value second = json(client.get(cat(kServices, "?limit=2&continue=", token)));
  EXPECT_EQ(item_names(second), (std::vector<std::string>{"s2", "s3"}));
  EXPECT_EQ(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
  server->compact();
  const Reply gone = client.get(cat(kServices, "?limit=2&continue=", *second["metadata"]["continue"].as_string()));
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(*json(gone)["reason"].as_string(), "Expired");
  EXPECT_EQ(item_names(json(client.get(cat(kServices, "?limit=2&resourceVersion=0")))).size(), 4u);
}

TEST(TestApiServer, AVersionOfTheFutureIsATimeoutWithItsCause) {
  const auto server = start();
  const Reply reply =
      CurlClient(*server).get(cat(kServices, "?resourceVersion=999999&resourceVersionMatch=NotOlderThan"));
  EXPECT_EQ(reply.status, 504);
  const Value status = json(reply);
  EXPECT_EQ(*status["reason"].as_string(), "Timeout");
  EXPECT_EQ(*(*status["details"]["causes"].as_array())[0]["reason"].as_string(), "ResourceVersionTooLarge");
}

TEST(TestApiServer, AWatchGoesOnFromAVersionWithWhatHappenedSince) {
  const auto server = with_services(1);
  const auto start_version = server->version();
  ASSERT_TRUE(server->upsert(Resource::Services, make_service("a", "s1", "10.96.1.1")));
  ASSERT_TRUE(server->upsert(Resource::Services, make_service("a", "s1", "10.96.1.2")));
  server->erase(Resource::Services, {.ns = "a", .name = "s0"});
  const Reply reply =
      CurlClient(*server).stream(cat(kWatchServices, "&resourceVersion=", start_version), until_event("DELETED a/s0"));
  EXPECT_EQ(watch_events(reply.body), (std::vector<std::string>{"ADDED a/s1", "MODIFIED a/s1", "DELETED a/s0"}));
  EXPECT_NE(reply.body.find(cat("\"resourceVersion\":\"", server->version(), "\"")), std::string::npos)
      << "a DELETED object carries the version of its deletion";
}

TEST(TestApiServer, AWatchListEndsItsInitialEventsWithAnAnnotatedBookmark) {
  const auto server = with_services(2);
  bool changed = false;
  const Reply reply = CurlClient(*server).stream(kWatchList, [&](const std::string& body) {
    if (body.find("initial-events-end") != std::string::npos && !changed) {
      changed = true;
      server->erase(Resource::Services, {.ns = "a", .name = "s0"});
    }
    return until_event("DELETED a/s0")(body);
  });
  EXPECT_EQ(watch_events(reply.body),
            (std::vector<std::string>{"ADDED a/s0", "ADDED a/s1", "BOOKMARK 1002", "DELETED a/s0"}));
}

TEST(TestApiServer, ALiveLabelChangeIsAddedOrDeletedOnAFilteredWatch) {
  const auto server = with_services(1);
  const kube::Key key{.ns = "a", .name = "s0"};
  std::size_t step = 0;
  const Reply reply =
      CurlClient(*server).stream(cat(kWatchList, "&labelSelector=%21", kProxyLabel), [&](const std::string& body) {
        const std::size_t events = watch_events(body).size();
        if (events == 2 && step == 0) step += server->set_label(Resource::Services, key, kProxyLabel, "x").has_value();
        if (events == 3 && step == 1)
          step += server->set_label(Resource::Services, key, kProxyLabel, nullptr).has_value();
        return events == 4;
      });
  EXPECT_EQ(watch_events(reply.body),
            (std::vector<std::string>{"ADDED a/s0", "BOOKMARK 1001", "DELETED a/s0", "ADDED a/s0"}));
}

TEST(TestApiServer, OldServersForbidInitialEvents) {
  const auto server = start({.watch_list = false});
  const Reply reply = CurlClient(*server).get(kWatchList);
  EXPECT_EQ(reply.status, 422);
  EXPECT_NE(json(reply)["message"].as_string()->find("sendInitialEvents is forbidden"), std::string::npos);
}

TEST(TestApiServer, AWatchFromBeforeTheHistoryExpires) {
  const auto server = with_services(1);
  const std::string path = cat(kWatchServices, "&resourceVersion=", server->version());
  server->compact();
  CurlClient client(*server);
  const Reply in_stream = client.get(path);
  EXPECT_EQ(in_stream.status, 200);
  EXPECT_EQ(watch_events(in_stream.body), std::vector<std::string>{"ERROR 410 Expired"});
  ASSERT_TRUE(server->set_faults({.expired_as_status = true}));
  EXPECT_EQ(client.get(path).status, 410);
}

TEST(TestApiServer, AWatchEndsInGoodOrderAtItsTimeout) {
  const auto server = with_services(1, {.longest_watch = 20ms});
  const Reply reply = CurlClient(*server).get(kWatchServices);
  EXPECT_TRUE(reply.ended) << reply.error;
  EXPECT_EQ(watch_events(reply.body), std::vector<std::string>{"ADDED a/s0"});
}

TEST(TestApiServer, BookmarksComePeriodicallyToWhoAsksForThem) {
  const auto server = with_services(1, {.bookmark_period = 5ms});
  const auto version = server->version();
  EXPECT_EQ(CurlClient(*server).stream(kWatchServices, until_event(cat("BOOKMARK ", version))).error, "");
  const auto without = with_services(1, {.bookmark_period = 5ms, .longest_watch = 50ms});
  const Reply reply = CurlClient(*without).get("/api/v1/services?watch=1");
  EXPECT_EQ(watch_events(reply.body), std::vector<std::string>{"ADDED a/s0"});
}

TEST(TestApiServer, TooManyRequestsComeAsOftenAsAskedFor) {
  const auto server = start();
  ASSERT_TRUE(server->set_faults({.error_count = 2, .retry_after_seconds = 7, .error_resource = "services"}));
  CurlClient client(*server);
  EXPECT_EQ(client.get("/api/v1/nodes").status, 200);
  const Reply reply = client.get(kServices);
  EXPECT_EQ(reply.status, 429);
  EXPECT_EQ(reply.headers.at("retry-after"), "7");
  EXPECT_EQ(client.get(kServices).status, 429);
  EXPECT_EQ(client.get(kServices).status, 200);
}

TEST(TestApiServer, ObjectsAreWrittenOnTheirNormalPaths) {
  const auto server = start();
  CurlClient client(*server);
  const std::string path = "/api/v1/namespaces/a/services/web";
  const std::string body = R"({"kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":"10.96.0.9"}})";
  EXPECT_EQ(client.send("PUT", path, body).status, 201);
  EXPECT_EQ(client.send("PUT", path, body).status, 200);
  EXPECT_EQ(client.send("POST", "/api/v1/namespaces/a/services", body).status, 409);
  const Reply patched = client.send("PATCH", path, R"({"metadata":{"labels":{"x":"y"}},"spec":{"type":null}})");
  EXPECT_EQ(patched.status, 200);
  EXPECT_EQ(*json(patched)["metadata"]["labels"]["x"].as_string(), "y");
  EXPECT_EQ(client.send("PUT", path, R"({"metadata":{"resourceVersion":"1"}})").status, 409);
  EXPECT_EQ(client.send("PUT", path, R"({"spec":{"ports":7}})").status, 422);
  EXPECT_EQ(client.send("PUT", path, "{").status, 400);
  EXPECT_EQ(*json(client.get(path))["spec"]["clusterIP"].as_string(), "10.96.0.9");
  EXPECT_EQ(client.send("DELETE", path, "").status, 200);
  EXPECT_EQ(client.get(path).status, 404);
  EXPECT_EQ(client.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", R"({"reason":"Starting"})").status,
            201);
  EXPECT_EQ(server->stats().events_posted, 1u);
  EXPECT_EQ(server->events(), std::vector<std::string>{R"({"reason":"Starting"})"});
}

}  // namespace
}  // namespace fairlead::tests::apiserver
