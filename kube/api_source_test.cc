#include "kube/api_source.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "kube/store.h"

namespace fairlead::kube {
namespace {

using base::cat;
using namespace std::chrono_literals;

TEST(RequestPath, CarriesKubeProxysSelectorsOnEveryRequest) {
  const ListRequest list{.resource_version = "0", .limit = 0, .continue_token = {}};
  EXPECT_EQ(request_path(resource_of(Kind::Service, "n1"), list),
            "/api/v1/services?labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"
            "&fieldSelector=spec.clusterIP%21%3DNone&resourceVersion=0");
  EXPECT_EQ(request_path(resource_of(Kind::EndpointSlice, "n1"), list),
            "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=%21service.kubernetes.io%2Fheadless"
            "&resourceVersion=0");
  EXPECT_EQ(request_path(resource_of(Kind::Node, "n1"), list),
            "/api/v1/nodes?fieldSelector=metadata.name%3Dn1&resourceVersion=0");
  EXPECT_EQ(request_path(resource_of(Kind::ServiceCidr, "n1"),
                         ListRequest{.resource_version = "", .limit = 500, .continue_token = "a/b+c="}),
            "/apis/networking.k8s.io/v1/servicecidrs?limit=500&continue=a%2Fb%2Bc%3D");
}

TEST(RequestPath, OfAWatchAsksForBookmarksAndIfWantedForWhatThereIs) {
  const Resource cidrs = resource_of(Kind::ServiceCidr, "");
  EXPECT_EQ(request_path(cidrs, WatchRequest{.resource_version = "7", .initial_events = false, .timeout = 300s}),
            "/apis/networking.k8s.io/v1/servicecidrs?watch=true&allowWatchBookmarks=true&resourceVersion=7"
            "&timeoutSeconds=300");
  EXPECT_EQ(request_path(cidrs, WatchRequest{.resource_version = "", .initial_events = true, .timeout = 300s}),
            "/apis/networking.k8s.io/v1/servicecidrs?watch=true&allowWatchBookmarks=true&sendInitialEvents=true"
            "&resourceVersionMatch=NotOlderThan&timeoutSeconds=300");
}

// Remembers what was asked, and says what a test puts into its mouth.
class FakeHttp final : public HttpClient {
 public:
  struct Asked {
    std::string path;
    std::string accept;
    HttpCallbacks callbacks;
    bool open = true;
  };
  class Handle final : public HttpStream {
   public:
    explicit Handle(std::shared_ptr<Asked> asked) : asked_(std::move(asked)) {}
    ~Handle() override { asked_->open = false; }

   private:
    std::shared_ptr<Asked> asked_;
  };

  std::unique_ptr<HttpStream> get(Request request, HttpCallbacks callbacks) override {
    asked.push_back(std::make_shared<Asked>(
        Asked{.path = request.path, .accept = request.accept, .callbacks = std::move(callbacks), .open = true}));
    return std::make_unique<Handle>(asked.back());
  }
  std::unique_ptr<HttpStream> post(Request, std::string, HttpCallbacks) override { return nullptr; }
  const Counters& counters() const override { return counters_; }

  // The newest request for `resource`, e.g. "/services?".
  std::shared_ptr<Asked> newest(std::string_view resource) {
    for (auto it = asked.rbegin(); it != asked.rend(); ++it) {
      if ((*it)->path.find(resource) != std::string::npos) return *it;
    }
    ADD_FAILURE() << "nobody asked for " << resource;
    return std::make_shared<Asked>();
  }
  static void answer(const std::shared_ptr<Asked>& asked, int status, const std::string& content_type,
                     const std::string& body) {
    asked->callbacks.on_head({.status = status, .content_type = content_type, .retry_after = {}});
    if (!body.empty()) asked->callbacks.on_body(body);
  }

  std::vector<std::shared_ptr<Asked>> asked;

 private:
  Counters counters_;
};

constexpr const char* kJson = "application/json";

std::string added(std::string_view name, std::string_view version, std::string_view more = {}) {
  return cat(R"({"type":"ADDED","object":{"metadata":{"namespace":"d","name":")", name, R"(","resourceVersion":")",
             version, "\"", more, "},\"spec\":{\"clusterIP\":\"10.0.0.1\"}}}\n");
}
std::string end_of_initial_events(std::string_view version) {
  return cat(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":")", version,
             R"(","annotations":{"k8s.io/initial-events-end":"true"}}}})");
}

class ApiSourceTest : public testing::Test {
 protected:
  ApiSourceTest() {
    ApiSourceOptions options;
    options.node_name = "n1";
    options.reflector.backoff.first = 1ms;
    options.patience = 50ms;
    options.random = [] { return 0.0; };
    options.on_error = [this](const ReflectorStatus& status) { errors.push_back(status.last_error); };
    options.after_batch = [this] { ++batches; };
    source.emplace(*loop, clock, http, store, options);
    source->start();
  }
  template <typename Condition>
  [[nodiscard]] bool wait_until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop->run_once(50ms);
    }
    return true;
  }
  ReflectorStatus status(Kind kind) const { return source->status()[static_cast<std::size_t>(kind)]; }

  std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());
  base::SystemClock clock;
  FakeHttp http;
  Store store;
  std::vector<std::string> errors;
  int batches = 0;
  std::optional<ApiSource> source;
};

TEST_F(ApiSourceTest, AsksForTheFourResourcesAtOnceAndInProtobuf) {
  ASSERT_EQ(http.asked.size(), 4u);
  for (const auto& asked : http.asked) {
    EXPECT_EQ(asked->accept, "application/vnd.kubernetes.protobuf, */*");
    EXPECT_NE(asked->path.find("sendInitialEvents=true"), std::string::npos);
  }
}

TEST_F(ApiSourceTest, InitialEventsAndChangesReachTheStore) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, kJson, added("a", "1") + added("b", "2"));
  EXPECT_FALSE(store.synced(Kind::Service));
  services->callbacks.on_body(end_of_initial_events("5"));
  EXPECT_TRUE(store.synced(Kind::Service));
  EXPECT_EQ(store.services().size(), 2u);
  services->callbacks.on_body(added("c", "6"));
  EXPECT_EQ(store.services().size(), 3u);
  EXPECT_EQ(status(Kind::Service).resource_version, "6");
  EXPECT_EQ(batches, 3);
}

TEST_F(ApiSourceTest, AnUnfilteredServerDoesNotFoolIt) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, kJson,
                   added("mine", "1") +
                       added("foreign", "2", R"(,"labels":{"service.kubernetes.io/service-proxy-name":""})") +
                       end_of_initial_events("5"));
  const auto nodes = http.newest("/nodes?");
  FakeHttp::answer(
      nodes, 200, kJson,
      R"({"type":"ADDED","object":{"metadata":{"name":"n2","resourceVersion":"1"}}})" + end_of_initial_events("5"));
  EXPECT_EQ(store.services().size(), 1u);
  EXPECT_EQ(store.node(), nullptr);
}

TEST_F(ApiSourceTest, AServerWithoutWatchListIsListed) {
  const auto first = http.newest("/services?");
  FakeHttp::answer(first, 422, kJson, R"({"kind":"Status","reason":"Invalid","message":"forbidden field"})");
  first->callbacks.on_end({});
  const auto list = http.newest("/services?");
  EXPECT_FALSE(first->open);
  EXPECT_NE(list->path.find("resourceVersion=0"), std::string::npos);
  EXPECT_EQ(list->path.find("watch=true"), std::string::npos);
  FakeHttp::answer(list, 200, kJson, R"({"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a"}},)");
  EXPECT_FALSE(store.synced(Kind::Service));
  list->callbacks.on_body(R"({"metadata":{"name":"b"}}]})");
  list->callbacks.on_end({});
  EXPECT_EQ(store.services().size(), 2u);
  EXPECT_NE(http.newest("/services?")->path.find("resourceVersion=9"), std::string::npos);
  EXPECT_EQ(errors, std::vector<std::string>{});
}

TEST_F(ApiSourceTest, GarbageDropsTheStreamAndBeginsAnew) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, kJson, added("a", "1") + end_of_initial_events("5"));
  services->callbacks.on_body("\x01\x02 garbage");
  EXPECT_FALSE(services->open);
  EXPECT_EQ(errors, (std::vector<std::string>{"Service, watching: Service watch, event 3: does not begin with \"{\""}));
  EXPECT_EQ(store.services().size(), 1u);
  ASSERT_TRUE(wait_until([&] { return http.asked.size() == 5; }));
  EXPECT_NE(http.newest("/services?")->path.find("sendInitialEvents=true"), std::string::npos);
}

TEST_F(ApiSourceTest, AnUnknownContentTypeIsGarbage) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, "text/html", "");
  EXPECT_FALSE(services->open);
  EXPECT_EQ(errors.size(), 1u);
  EXPECT_NE(errors[0].find("Service, initial events: content type \"text/html\""), std::string::npos) << errors[0];
}

TEST_F(ApiSourceTest, AStreamCutInsideAnEventGoesOnFromTheEventBefore) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, kJson, end_of_initial_events("5") + added("a", "6") + R"({"type":"ADD)");
  services->callbacks.on_end({});
  ASSERT_TRUE(wait_until([&] { return http.asked.size() == 5; }));
  const std::string& path = http.newest("/services?")->path;
  EXPECT_NE(path.find("resourceVersion=6"), std::string::npos) << path;
  EXPECT_EQ(path.find("sendInitialEvents"), std::string::npos) << path;
}

TEST_F(ApiSourceTest, ExpiredInTheStreamIsReadAnewAtOnce) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(
      services, 200, kJson,
      end_of_initial_events("5") + R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})");
  EXPECT_FALSE(services->open);
  EXPECT_EQ(http.asked.size(), 5u);
  EXPECT_EQ(http.newest("/services?")->path.find("resourceVersion="), std::string::npos);
}

TEST_F(ApiSourceTest, AServiceCidrThatIsNotServedIsNoError) {
  const auto cidrs = http.newest("/servicecidrs?");
  FakeHttp::answer(cidrs, 404, kJson, R"({"kind":"Status","reason":"NotFound"})");
  cidrs->callbacks.on_end({});
  EXPECT_TRUE(store.synced(Kind::ServiceCidr));
  EXPECT_EQ(status(Kind::ServiceCidr).state, ReflectorState::Unserved);
  EXPECT_EQ(errors, std::vector<std::string>{});
}

TEST_F(ApiSourceTest, InitialEventsThatNeverEndAreGivenUpForAList) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, kJson, added("a", "1"));
  ASSERT_TRUE(wait_until([&] { return !services->open; }));
  ASSERT_TRUE(wait_until([&] { return http.newest("/services?") != services; }));
  EXPECT_EQ(http.newest("/services?")->path.find("watch=true"), std::string::npos);
}

TEST_F(ApiSourceTest, AQuietWatchIsLeftAlone) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, kJson, end_of_initial_events("5"));
  const auto slices = http.newest("/endpointslices?");
  ASSERT_TRUE(wait_until([&] { return !slices->open; }));  // that one was never answered
  EXPECT_TRUE(services->open);
}

TEST_F(ApiSourceTest, ADisconnectedSourceKeepsTheLastStateAndSaysSo) {
  const auto services = http.newest("/services?");
  FakeHttp::answer(services, 200, kJson, added("a", "1") + end_of_initial_events("5"));
  services->callbacks.on_end(Error("GET https://h: connection reset"));
  EXPECT_EQ(store.services().size(), 1u);
  EXPECT_EQ(status(Kind::Service).state, ReflectorState::Waiting);
  EXPECT_EQ(status(Kind::Service).last_error, "Service, watching: GET https://h: connection reset");
}

}  // namespace
}  // namespace fairlead::kube
