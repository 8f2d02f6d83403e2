// kube/'s client against the test API server: how it gets in, and how it keeps the store equal to the server's objects.

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "tests/apiserver/agent_fixture.h"
#include "tests/apiserver/connect_proxy.h"

namespace fairlead::tests::apiserver {
namespace {

using namespace std::chrono_literals;
using base::cat;
using kube::Kind;

constexpr const char* kProxyLabel = "service.kubernetes.io/service-proxy-name";
constexpr const char* kHeadless = "service.kubernetes.io/headless";

// Two services with three endpoints each, two nodes, a ServiceCIDR.
std::unique_ptr<TestApiServer> small_cluster(const Options& options = {}) {
  auto server = TestApiServer::start(options);
  EXPECT_TRUE(server) << server.error().message();
  EXPECT_TRUE((*server)->load(generate({.services = 2, .endpoints = 3, .nodes = 2})));
  return *std::move(server);
}

class BothEncodings : public testing::TestWithParam<kube::Encoding> {};
INSTANTIATE_TEST_SUITE_P(Client, BothEncodings, testing::Values(kube::Encoding::Json, kube::Encoding::Protobuf),
                         [](const auto& about) { return about.param == kube::Encoding::Json ? "Json" : "Protobuf"; });

TEST_P(BothEncodings, EverythingArrivesOverOneConnectionByWatchList) {
  const auto server = small_cluster();
  Agent agent(*server, {.encoding = GetParam()});
  ASSERT_TRUE(agent.wait_until_synced());
  EXPECT_EQ(agent.store().services().size(), 2u);
  EXPECT_EQ(agent.endpoints_of("ns-1", "svc-1"), 3u);
  ASSERT_NE(agent.store().node(), nullptr);
  EXPECT_EQ(agent.store().node()->meta.key.name, kNode);
  EXPECT_EQ(agent.store().service_cidrs().size(), 1u);
  EXPECT_EQ(server->stats().connections, 1u);
  EXPECT_EQ(server->stats().lists, 0u);
  EXPECT_EQ(request_lines(*server, "services"), std::vector<std::string>{"watch rv= initial 200"});
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
}

// What arrives in one read may belong to several streams; each must get its part at once, not when the socket turns
// readable again.
TEST_P(BothEncodings, NoStreamWaitsForWhatHasArrivedWithAnother) {
  auto server = TestApiServer::start({});
  ASSERT_TRUE(server) << server.error().message();
  ASSERT_TRUE((*server)->load(generate({.services = 30, .endpoints = 8, .nodes = 2})));
  for (int round = 0; round < 60; ++round) {
    Agent agent(**server, {.encoding = GetParam()});
    ASSERT_TRUE(agent.wait_until_synced()) << "round " << round;
    ASSERT_EQ(agent.store().slices().size(), 30u);
  }
}

TEST_P(BothEncodings, ChangesArriveAsTheyHappen) {
  const auto server = small_cluster();
  Agent agent(*server, {.encoding = GetParam()});
  ASSERT_TRUE(agent.wait_until_synced());
  (void)agent.store().take_dirty();
  ASSERT_TRUE(server->set_endpoints("ns-0", "svc-0", {{.address = "10.1.0.1"}}));
  ASSERT_TRUE(agent.wait_for([&] { return agent.endpoints_of("ns-0", "svc-0") == 1; }));
  EXPECT_EQ(agent.store().take_dirty().services, (std::set<kube::Key>{{.ns = "ns-0", .name = "svc-0"}}));
  server->erase(Resource::Services, {.ns = "ns-1", .name = "svc-1"});
  ASSERT_TRUE(agent.wait_for([&] { return !agent.has_service("ns-1", "svc-1"); }));
  ASSERT_TRUE(server->upsert(Resource::Services, make_service("ns-1", "new", "10.96.9.9")));
  ASSERT_TRUE(agent.wait_for([&] { return agent.has_service("ns-1", "new"); }));
}

TEST_P(BothEncodings, ALiveLabelChangeAddsOrRemoves) {
  const auto server = small_cluster();
  Agent agent(*server, {.encoding = GetParam()});
  ASSERT_TRUE(agent.wait_until_synced());
  const kube::Key service{.ns = "ns-0", .name = "svc-0"};
  const kube::Key slice{.ns = "ns-0", .name = "svc-0-0"};
  ASSERT_TRUE(server->set_label(Resource::Services, service, kProxyLabel, "other"));
  ASSERT_TRUE(agent.wait_for([&] { return !agent.has_service("ns-0", "svc-0"); }));
  ASSERT_TRUE(server->set_label(Resource::Services, service, kProxyLabel, nullptr));
  ASSERT_TRUE(agent.wait_for([&] { return agent.has_service("ns-0", "svc-0"); }));
  ASSERT_TRUE(server->set_label(Resource::EndpointSlices, slice, kHeadless, ""));
  ASSERT_TRUE(agent.wait_for([&] { return agent.endpoints_of("ns-0", "svc-0") == 0; }));
  ASSERT_TRUE(server->set_label(Resource::EndpointSlices, slice, kHeadless, nullptr));
  ASSERT_TRUE(agent.wait_for([&] { return agent.endpoints_of("ns-0", "svc-0") == 3; }));
  EXPECT_EQ(agent.relists(), 0u);
}

TEST_P(BothEncodings, AServerWithoutWatchListIsListedAndWatched) {
  const auto server = small_cluster({.watch_list = false});
  Agent agent(*server, {.encoding = GetParam()});
  ASSERT_TRUE(agent.wait_until_watching());
  EXPECT_EQ(agent.store().services().size(), 2u);
  const auto version = server->version();
  EXPECT_EQ(request_lines(*server, "services"),
            (std::vector<std::string>{"watch rv= initial 422", "list rv=0 200", cat("watch rv=", version, " 200")}));
  ASSERT_TRUE(server->set_endpoints("ns-0", "svc-0", {}));
  ASSERT_TRUE(agent.wait_for([&] { return agent.endpoints_of("ns-0", "svc-0") == 0; }));
}

TEST(Client, FallsBackToJsonWhenTheServerHasNoProtobuf) {
  const auto server = small_cluster({.protobuf = false});
  Agent agent(*server, {.encoding = kube::Encoding::Protobuf});
  ASSERT_TRUE(agent.wait_until_synced());
  EXPECT_EQ(agent.endpoints_of("ns-1", "svc-1"), 3u);
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
}

TEST(Client, SendsKubeProxysSelectorsOnEveryRequest) {
  const auto server = small_cluster({.watch_list = false});
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_watching());
  for (const RequestRecord& record : server->requests()) {
    const auto param = [&](const char* name) {
      return record.query.contains(name) ? record.query.at(name) : std::string();
    };
    SCOPED_TRACE(record.path);
    EXPECT_EQ(record.headers.at("accept"), "application/vnd.kubernetes.protobuf, */*");
    if (record.path == "/api/v1/services") {
      EXPECT_EQ(param("labelSelector"), cat("!", kProxyLabel));
      EXPECT_EQ(param("fieldSelector"), "spec.clusterIP!=None");
    } else if (record.path.ends_with("/endpointslices")) {
      EXPECT_EQ(param("labelSelector"), cat("!", kHeadless));
    } else if (record.path == "/api/v1/nodes") {
      EXPECT_EQ(param("fieldSelector"), cat("metadata.name=", kNode));
    }
    EXPECT_EQ(param("allowWatchBookmarks"), param("watch"));
  }
}

TEST(Client, APagedListIsReadToItsEnd) {
  const auto server = small_cluster({.watch_list = false});
  ASSERT_TRUE(server->load(generate({.services = 5, .endpoints = 1, .nodes = 2})));
  AgentOptions options;
  options.reflector.page_size = 2;
  Agent agent(*server, options);
  ASSERT_TRUE(agent.wait_until_watching());
  server->break_now(Break::ExpireWatches);  // the newest state is wanted, and that comes from etcd in pages
  ASSERT_TRUE(agent.wait_for([&] { return agent.status(Kind::Service).relists == 1; }));
  const auto lines = request_lines(*server, "services");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "list rv= limit=2 continued 200"), 2)
      << testing::PrintToString(lines);
  EXPECT_EQ(agent.store().services().size(), 5u);
}

TEST(Client, AClusterWithoutServiceCidrsIsServedAllTheSame) {
  const auto server = small_cluster();
  ASSERT_TRUE(
      server->set_faults({.error_count = Faults::kAlways, .error_code = 404, .error_resource = "servicecidrs"}));
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_until_synced());
  EXPECT_EQ(agent.status(Kind::ServiceCidr).state, kube::ReflectorState::Unserved);
  EXPECT_TRUE(agent.store().service_cidrs().empty());
}

TEST(Identity, ATokenOrAClientCertificateOpensTheDoor) {
  const auto server = small_cluster({.tokens = {"sesame"}, .client_certificates = true});
  Agent with_token(*server, {.identity = {.token = "sesame"}});
  EXPECT_TRUE(with_token.wait_until_synced());
  EXPECT_EQ(with_token.errors(), 0u) << with_token.last_errors();
  Agent with_certificate(*server, {.identity = {.client_certificate = true}});
  EXPECT_TRUE(with_certificate.wait_until_synced());
  EXPECT_EQ(server->requests().back().client_name, "system:node:test");
  Agent with_nothing(*server, {});
  EXPECT_TRUE(with_nothing.wait_for([&] { return with_nothing.errors() >= 4; }));
  EXPECT_TRUE(with_nothing.has_complained("401 Unauthorized")) << with_nothing.last_errors();
  EXPECT_FALSE(with_nothing.store().synced());
}

TEST(Identity, ARotatedTokenFileIsReadAgain) {
  const auto server = small_cluster({.tokens = {"first"}});
  const auto path = std::filesystem::temp_directory_path() / cat("fairlead-token-", ::getpid());
  ASSERT_TRUE(base::write_file_atomically(path, "first\n"));
  Agent agent(*server, {.identity = {.token_file = path}, .http = {.token_re_read = 0ms}});
  EXPECT_TRUE(agent.wait_until_synced());
  server->set_tokens({"second"});
  ASSERT_TRUE(base::write_file_atomically(path, "second\n"));
  server->break_now(Break::EndWatches);
  EXPECT_TRUE(agent.wait_for([&] { return server->stats().watches == 8 && server->stats().open_watches == 4; }));
  EXPECT_EQ(server->requests().back().headers.at("authorization"), "Bearer second");
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
  std::filesystem::remove(path);
}

// A service account's folder as kubelet makes it: token -> ..data/token, ..data -> a folder that a rotation replaces.
class ServiceAccountFolder {
 public:
  ServiceAccountFolder(const std::string& ca_pem, const std::string& token) : ca_pem_(ca_pem) {
    char name[] = "/tmp/fairlead-pod-XXXXXX";
    path_ = ::mkdtemp(name);
    rotate(token);
    for (const char* file : {"token", "ca.crt"}) {
      std::filesystem::create_symlink(std::filesystem::path("..data") / file, path_ / file);
    }
  }
  ~ServiceAccountFolder() { std::filesystem::remove_all(path_); }
  ServiceAccountFolder(const ServiceAccountFolder&) = delete;
  ServiceAccountFolder& operator=(const ServiceAccountFolder&) = delete;

  void rotate(const std::string& token) {
    const auto next = path_ / cat("..", ++generation_);
    std::filesystem::create_directory(next);
    EXPECT_TRUE(base::write_file_atomically(next / "ca.crt", ca_pem_));
    EXPECT_TRUE(base::write_file_atomically(next / "token", token));
    // Tokens are rotated hours apart.
    const auto written = std::filesystem::file_time_type::clock::now() + std::chrono::hours(generation_ - 2);
    std::filesystem::last_write_time(next / "token", written);
    std::filesystem::create_directory_symlink(next.filename(), path_ / "..data_tmp");
    std::filesystem::rename(path_ / "..data_tmp", path_ / "..data");
    if (generation_ > 1) std::filesystem::remove_all(path_ / cat("..", generation_ - 1));
  }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::string ca_pem_;
  int generation_ = 0;
};

TEST(Identity, APodIsLetInByItsServiceAccountAndFollowsItsRotation) {
  const auto server = small_cluster({.tokens = {"first"}});
  ServiceAccountFolder folder(server->pki().ca_pem, "first\n");
  const auto config = kube::in_cluster_config(
      {.directory = folder.path(), .variable = [&](const char* name) -> std::optional<std::string> {
         if (name == std::string_view("KUBERNETES_SERVICE_HOST")) return "127.0.0.1";
         if (name == std::string_view("KUBERNETES_SERVICE_PORT")) return std::to_string(server->port());
         return std::nullopt;
       }});
  ASSERT_TRUE(config) << config.error().message();
  Agent agent(*server, {.config = *config});
  ASSERT_TRUE(agent.wait_until_watching());
  EXPECT_EQ(server->requests().back().headers.at("authorization"), "Bearer first");
  server->set_tokens({"second"});
  folder.rotate("second\n");
  server->break_now(Break::EndWatches);
  ASSERT_TRUE(agent.wait_for([&] { return server->stats().watches == 8 && server->stats().open_watches == 4; }));
  EXPECT_EQ(server->requests().back().headers.at("authorization"), "Bearer second");
  ASSERT_TRUE(server->set_endpoints("ns-0", "svc-0", {{.address = "10.1.0.1"}}));
  EXPECT_TRUE(agent.wait_for([&] { return agent.endpoints_of("ns-0", "svc-0") == 1; }));
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
}

TEST(Proxy, EverythingArrivesThroughOneTunnelToTheServer) {
  const auto server = small_cluster({.tokens = {"sesame"}});
  const auto proxy = ConnectProxy::start();
  ASSERT_TRUE(proxy) << proxy.error().message();
  Agent agent(*server, {.identity = {.token = "sesame", .proxy_url = (*proxy)->url()}});
  ASSERT_TRUE(agent.wait_until_watching());
  EXPECT_EQ(agent.store().services().size(), 2u);
  EXPECT_EQ(agent.endpoints_of("ns-1", "svc-1"), 3u);
  ASSERT_TRUE(server->set_endpoints("ns-0", "svc-0", {{.address = "10.1.0.1"}}));
  ASSERT_TRUE(agent.wait_for([&] { return agent.endpoints_of("ns-0", "svc-0") == 1; }));
  EXPECT_EQ((*proxy)->requests(), std::vector<std::string>{cat("CONNECT 127.0.0.1:", server->port(), " HTTP/1.1")});
  EXPECT_EQ(server->stats().connections, 1u);
  EXPECT_EQ(agent.errors(), 0u) << agent.last_errors();
}

TEST(Proxy, OneThatRefusesIsNamedInTheErrorWithoutItsPassword) {
  const auto server = small_cluster();
  const auto proxy = ConnectProxy::start("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever");
  ASSERT_TRUE(proxy) << proxy.error().message();
  const std::string address = (*proxy)->url().substr(std::string_view("http://").size());
  Agent agent(*server, {.identity = {.proxy_url = cat("http://me:secret@", address)}});
  ASSERT_TRUE(agent.wait_for([&] { return agent.errors() >= 4; }));
  EXPECT_EQ(agent.status(Kind::Service).last_error,
            cat("Service, initial events: GET ", server->url(), "/api/v1/services through ", (*proxy)->url(),
                ": Failure when receiving data from the peer: CONNECT tunnel failed, response 403"));
  EXPECT_FALSE(agent.has_complained("secret"));
  EXPECT_EQ(server->stats().connections, 0u);
}

TEST(Identity, TheServerIsVerifiedAgainstTheAuthorityAndTheNameAskedFor) {
  const auto server = small_cluster({.extra_names = {"apiserver.test"}});
  Agent by_name(*server, {.identity = {.server_name = "apiserver.test"}});
  EXPECT_TRUE(by_name.wait_until_synced());
  Agent by_other_name(*server, {.identity = {.server_name = "other.test"}});
  EXPECT_TRUE(by_other_name.wait_for([&] { return by_other_name.errors() > 0; }));
  const auto other = make_pki();
  ASSERT_TRUE(other);
  Agent by_other_authority(*server, {.identity = {.ca_pem = other->ca_pem}});
  EXPECT_TRUE(by_other_authority.wait_for([&] { return by_other_authority.errors() > 0; }));
  EXPECT_FALSE(by_other_name.store().synced() || by_other_authority.store().synced());
}

TEST(Client, ForbiddenIsAnErrorThatPassesWhenTheRightsCome) {
  const auto server = small_cluster();
  ASSERT_TRUE(server->set_faults({.forbid = true}));
  Agent agent(*server, {});
  ASSERT_TRUE(agent.wait_for([&] { return agent.errors() >= 4; }));
  EXPECT_TRUE(agent.has_complained("403 Forbidden")) << agent.last_errors();
  ASSERT_TRUE(server->set_faults({}));
  EXPECT_TRUE(agent.wait_until_synced());
}

}  // namespace
}  // namespace fairlead::tests::apiserver
