#include "agent/events.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;
using base::Value;

// Remembers what was posted; the test answers.
class FakeHttp final : public kube::HttpClient {
 public:
  struct Posted {
    std::string path;
    std::string json;
    kube::HttpCallbacks callbacks;
  };
  std::unique_ptr<kube::HttpStream> get(Request, kube::HttpCallbacks) override { return nullptr; }
  std::unique_ptr<kube::HttpStream> post(Request request, std::string json, kube::HttpCallbacks callbacks) override {
    posted.push_back({request.path, std::move(json), std::move(callbacks)});
    return std::make_unique<kube::HttpStream>();
  }
  const Counters& counters() const override { return counters_; }
  void answer(int status) {
    const kube::HttpCallbacks callbacks = posted.back().callbacks;
    if (status == 0) return callbacks.on_end(Error("connection refused"));
    callbacks.on_head({.status = status, .content_type = "application/json", .retry_after = {}});
    callbacks.on_end({});
  }
  std::vector<Posted> posted;

 private:
  Counters counters_;
};

class EventsTest : public testing::Test {
 protected:
  std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());
  base::FakeClock clock;
  FakeHttp http;
  Events events{*loop, clock, &http, "node1", {.between = 0ms, .again = 0ms}};

  bool wait_for_post(std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    while (http.posted.size() < count && std::chrono::steady_clock::now() < deadline) loop->run_once(10ms);
    return http.posted.size() == count;
  }
};

TEST(EventJson, IsWhatKubeProxyWritesAboutANode) {
  EXPECT_EQ(event_path(starting("node1")), "/apis/events.k8s.io/v1/namespaces/default/events");
  EXPECT_EQ(event_json(starting("node1"), "node1", base::WallTime(24h + 1500ms)),
            R"({"apiVersion":"events.k8s.io/v1","kind":"Event",)"
            R"("metadata":{"name":"node1.4e94eab72f00","namespace":"default"},)"
            R"("eventTime":"1970-01-02T00:00:01.500000Z","reportingController":"kube-proxy",)"
            R"("reportingInstance":"kube-proxy-node1","action":"StartKubeProxy","reason":"Starting",)"
            R"("regarding":{"kind":"Node","apiVersion":"v1","name":"node1","uid":"node1"},)"
            R"("note":"","type":"Normal"})");
}

TEST(EventJson, OfAServiceLivesInTheServicesNamespace) {
  const Event event = service_health_failed("node1", {"shop", "web"}, "uid-7", 30100, "Address already in use");
  EXPECT_EQ(event_path(event), "/apis/events.k8s.io/v1/namespaces/shop/events");
  const auto json = base::parse_json(event_json(event, "node1", {}));
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["type"], Value("Warning"));
  EXPECT_EQ((*json)["reason"], Value("FailedToStartServiceHealthcheck"));
  EXPECT_EQ((*json)["action"], Value("Listen"));
  EXPECT_EQ((*json)["regarding"]["namespace"], Value("shop"));
  EXPECT_EQ((*json)["regarding"]["uid"], Value("uid-7"));
  EXPECT_EQ((*json)["note"],
            Value("node node1 failed to start healthcheck \"shop/web\" on port 30100: Address already in use"));
}

TEST(EventJson, ANoteIsCutWhereTheApiServerWouldRefuseIt) {
  const auto json = base::parse_json(event_json(metrics_server_failed("n", std::string(5000, 'x')), "n", {}));
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["note"].as_string()->size(), 1024U);
  EXPECT_EQ((*json)["reason"], Value("FailedToStartMetricServer"));
}

TEST_F(EventsTest, OneIsOnItsWayAtATime) {
  events.emit(starting("node1"));
  events.emit(health_server_failed("node1", "taken"));
  ASSERT_TRUE(wait_for_post(1));
  http.answer(201);
  ASSERT_TRUE(wait_for_post(2));
  EXPECT_NE(http.posted[1].json.find("FailedToStartProxierHealthcheck"), std::string::npos);
}

TEST_F(EventsTest, ARefusalIsNotTriedAgain) {
  events.emit(starting("node1"));
  events.emit(metrics_server_failed("node1", "taken"));
  ASSERT_TRUE(wait_for_post(1));
  http.answer(403);
  ASSERT_TRUE(wait_for_post(2));
  EXPECT_NE(http.posted[1].json.find("FailedToStartMetricServer"), std::string::npos);
}

TEST_F(EventsTest, SilenceAndA5xxAreTriedAgainForAWhile) {
  events.emit(starting("node1"));
  for (unsigned attempt = 1; attempt <= Events::kAttempts; ++attempt) {
    ASSERT_TRUE(wait_for_post(attempt)) << attempt;
    http.answer(attempt % 2 == 0 ? 0 : 503);
  }
  events.emit(metrics_server_failed("node1", "taken"));
  ASSERT_TRUE(wait_for_post(Events::kAttempts + 1));
  EXPECT_NE(http.posted.back().json.find("FailedToStartMetricServer"), std::string::npos);
}

TEST_F(EventsTest, TheSameThatStillWaitsIsDroppedAndSoIsWhatIsTooMuch) {
  for (int i = 0; i < 3; ++i) events.emit(starting("node1"));
  for (int i = 0; i < 200; ++i) events.emit(metrics_server_failed("node1", base::cat(i)));
  for (std::size_t count = 1; count <= Events::kMostWaiting; ++count) {
    ASSERT_TRUE(wait_for_post(count)) << count;
    http.answer(201);
  }
  loop->run_once(200ms);
  EXPECT_EQ(http.posted.size(), Events::kMostWaiting);
}

TEST_F(EventsTest, WithoutAnApiServerNothingIsWritten) {
  Events none(*loop, clock, nullptr, "node1", {});
  none.emit(starting("node1"));
  loop->run_once(20ms);
  EXPECT_TRUE(http.posted.empty());
}

}  // namespace
}  // namespace fairlead::agent
