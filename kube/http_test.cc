#include "kube/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"
#include "kube/kubeconfig.h"
#include "tests/apiserver/server.h"

namespace fairlead::kube {
namespace {

using base::cat;
using namespace std::chrono_literals;

// A server on the client's own loop that says exactly what a test tells it to, over plain TCP.
class RawServer {
 public:
  explicit RawServer(base::Loop& loop) : loop_(loop), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener_.get(), raw, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    EXPECT_EQ(::getsockname(listener_.get(), raw, &size), 0);
    port_ = ntohs(address.sin_port);
    watch_ = loop_.watch(listener_.get(), base::Interest::Read, [this](base::Ready) { accept_one(); });
  }
  std::string url() const { return cat("http://127.0.0.1:", port_); }
  std::size_t connections() const { return received_.size(); }
  std::string& received(std::size_t connection) { return received_[connection]; }
  void send(std::size_t connection, std::string_view text) {
    const auto sent = ::send(peers_[connection].get(), text.data(), text.size(), MSG_NOSIGNAL);
    EXPECT_EQ(sent, static_cast<ssize_t>(text.size()));
  }
  void close(std::size_t connection) {
    peer_watches_.erase(connection);
    peers_[connection].reset();
  }
  void stop_listening() {
    watch_.reset();
    listener_.reset();
  }
  std::function<void(std::size_t connection)> on_data;

 private:
  void accept_one() {
    const std::size_t index = peers_.size();
    peers_.emplace_back(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    received_.emplace_back();
    peer_watches_.emplace(index, loop_.watch(peers_[index].get(), base::Interest::Read, [this, index](base::Ready) {
      char buffer[65536];
      const ssize_t n = ::recv(peers_[index].get(), buffer, sizeof buffer, 0);
      if (n <= 0) return (void)peer_watches_.erase(index);
      received_[index].append(buffer, static_cast<std::size_t>(n));
      if (on_data) on_data(index);
    }));
  }

  base::Loop& loop_;
  base::Fd listener_;
  std::uint16_t port_ = 0;
  base::Loop::Handle watch_ = base::Loop::none();
  std::vector<base::Fd> peers_;
  std::vector<std::string> received_;
  std::map<std::size_t, base::Loop::Handle> peer_watches_;
};

// What one request saw.
struct Seen {
  std::optional<HttpHead> head;
  std::string body;
  std::optional<std::string> end;  // "" in good order, else the error
  std::unique_ptr<HttpStream> stream;
};

class HttpTest : public testing::Test {
 protected:
  std::unique_ptr<HttpClient> client(ClientConfig config, HttpOptions options = {}) {
    auto made = HttpClient::create(*loop, clock, std::move(config), std::move(options));
    EXPECT_TRUE(made) << made.error().message();
    return std::move(*made);
  }
  static ClientConfig config_for(const RawServer& server) {
    ClientConfig config;
    config.server = server.url();
    return config;
  }
  static std::unique_ptr<Seen> get(HttpClient& http, const std::string& path) {
    auto seen = std::make_unique<Seen>();
    Seen* raw = seen.get();
    seen->stream = http.get({.path = path, .accept = "application/json"},
                            {.on_head = [raw](const HttpHead& head) { raw->head = head; },
                             .on_body = [raw](std::string_view bytes) { raw->body += bytes; },
                             .on_end = [raw](Status status) { raw->end = status ? "" : status.error().message(); }});
    return seen;
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

  std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());
  base::SystemClock clock;
  RawServer server{*loop};
};

constexpr std::string_view kHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

TEST_F(HttpTest, ABodyIsHandedOnWhileItArrives) {
  const auto http = client(config_for(server));
  const auto seen = get(*http, "/a");
  ASSERT_TRUE(wait_until([&] { return server.connections() == 1 && !server.received(0).empty(); }));
  server.send(0, cat(kHead, "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"));
  ASSERT_TRUE(wait_until([&] { return seen->body == "one"; }));
  EXPECT_EQ(seen->head, (HttpHead{.status = 200, .content_type = "application/json", .retry_after = {}}));
  EXPECT_EQ(seen->end, std::nullopt);
  server.send(0, "3\r\ntwo\r\n0\r\n\r\n");
  ASSERT_TRUE(wait_until([&] { return seen->end.has_value(); }));
  EXPECT_EQ(seen->body, "onetwo");
  EXPECT_EQ(*seen->end, "");
}

TEST_F(HttpTest, TheRequestCarriesPathPrefixTokenAndAccept) {
  ClientConfig config = config_for(server);
  config.server += "/k8s/c-1";
  config.token = "secret";
  const auto http = client(config, {.user_agent = "fairlead/1"});
  const auto seen = get(*http, "/api/v1/services?watch=true");
  ASSERT_TRUE(wait_until([&] { return server.connections() == 1 && !server.received(0).empty(); }));
  const std::string& request = server.received(0);
  for (const std::string_view line :
       {"GET /k8s/c-1/api/v1/services?watch=true HTTP/1.1\r\n", "\r\nAuthorization: Bearer secret\r\n",
        "\r\nAccept: application/json\r\n", "\r\nUser-Agent: fairlead/1\r\n"}) {
    EXPECT_NE(request.find(line), request.npos) << line << " in " << request;
  }
}

TEST_F(HttpTest, APostCarriesItsBodyAndIsCounted) {
  const auto http = client(config_for(server));
  std::optional<Status> end;
  const auto stream =
      http->post({.path = "/apis/events.k8s.io/v1/namespaces/default/events", .accept = "*/*"}, R"({"kind":"Event"})",
                 {.on_head = {}, .on_body = {}, .on_end = [&](Status status) { end = status; }});
  ASSERT_TRUE(wait_until([&] { return server.connections() == 1 && server.received(0).ends_with("}"); }));
  const std::string& request = server.received(0);
  for (const std::string_view line :
       {"POST /apis/events.k8s.io/v1/namespaces/default/events HTTP/1.1\r\n", "\r\nContent-Type: application/json\r\n",
        "\r\nContent-Length: 16\r\n", "\r\n\r\n{\"kind\":\"Event\"}"}) {
    EXPECT_NE(request.find(line), request.npos) << line << " in " << request;
  }
  server.send(0, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(wait_until([&] { return end.has_value(); }));
  EXPECT_TRUE(*end);
  EXPECT_EQ(http->counters().answers,
            (std::map<std::pair<std::string, std::string>, std::uint64_t>{{{"POST", "201"}, 1}}));
}

TEST_F(HttpTest, ARefusalCarriesItsRetryAfter) {
  const auto http = client(config_for(server));
  const auto seen = get(*http, "/a");
  ASSERT_TRUE(wait_until([&] { return server.connections() == 1 && !server.received(0).empty(); }));
  server.send(0, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow");
  ASSERT_TRUE(wait_until([&] { return seen->end.has_value(); }));
  EXPECT_EQ(seen->head, (HttpHead{.status = 429, .content_type = "", .retry_after = 7s}));
  EXPECT_EQ(seen->body, "slow");
}

TEST_F(HttpTest, ARotatedTokenIsInTheNextRequest) {
  char folder[] = "/tmp/fairlead-http-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  ClientConfig config = config_for(server);
  config.token_file = cat(std::string_view(folder), "/token");
  ASSERT_TRUE(base::write_file_atomically(config.token_file, "first"));
  const auto http = client(config, {.token_re_read = 0ns});
  server.on_data = [this](std::size_t i) { server.send(i, cat(kHead, "Content-Length: 0\r\n\r\n")); };
  for (const std::string_view token : {"first", "second"}) {
    ASSERT_TRUE(base::write_file_atomically(config.token_file, token));
    const auto seen = get(*http, "/a");
    ASSERT_TRUE(wait_until([&] { return seen->end.has_value(); }));
    EXPECT_NE(server.received(0).find(cat("Authorization: Bearer ", token)), std::string::npos);
  }
  EXPECT_EQ(server.connections(), 1u);
  std::filesystem::remove_all(folder);
}

TEST_F(HttpTest, WhatCannotBeReadIsToldAtTheEndAndNotInside) {
  ClientConfig config = config_for(server);
  config.ca.file = "/no/such/ca.crt";
  const auto http = client(config);
  const auto seen = get(*http, "/a");
  EXPECT_EQ(seen->end, std::nullopt);
  ASSERT_TRUE(wait_until([&] { return seen->end.has_value(); }));
  EXPECT_EQ(*seen->end,
            cat("GET ", config.server, ": certificate authority: /no/such/ca.crt: No such file or directory"));
}

TEST_F(HttpTest, ARefusedConnectionIsAnErrorThatNamesTheRequest) {
  const ClientConfig config = config_for(server);
  server.stop_listening();
  const auto http = client(config);
  const auto seen = get(*http, "/api/v1/services?watch=true");
  ASSERT_TRUE(wait_until([&] { return seen->end.has_value(); }));
  EXPECT_EQ(seen->end->find(cat("GET ", config.server, "/api/v1/services: ")), 0u) << *seen->end;
}

TEST_F(HttpTest, ACutBodyIsAnError) {
  const auto http = client(config_for(server));
  const auto seen = get(*http, "/a");
  ASSERT_TRUE(wait_until([&] { return server.connections() == 1 && !server.received(0).empty(); }));
  server.send(0, cat(kHead, "Content-Length: 10\r\n\r\nhalf"));
  ASSERT_TRUE(wait_until([&] { return seen->body == "half"; }));
  server.close(0);
  ASSERT_TRUE(wait_until([&] { return seen->end.has_value(); }));
  EXPECT_NE(*seen->end, "");
}

TEST_F(HttpTest, AStreamDroppedInsideItsOwnCallbackIsNeverHeardOfAgain) {
  const auto http = client(config_for(server));
  std::unique_ptr<HttpStream> stream;
  int calls = 0;
  stream = http->get({.path = "/a", .accept = "*/*"}, {.on_head = {},
                                                       .on_body =
                                                           [&](std::string_view) {
                                                             ++calls;
                                                             stream.reset();
                                                           },
                                                       .on_end = [&](Status) { ++calls; }});
  ASSERT_TRUE(wait_until([&] { return server.connections() == 1 && !server.received(0).empty(); }));
  server.send(0, cat(kHead, "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n"));
  ASSERT_TRUE(wait_until([&] { return calls == 1; }));
  const auto next = get(*http, "/b");  // another request, so that there is something to wait for
  ASSERT_TRUE(wait_until([&] { return server.connections() == 2 && !server.received(1).empty(); }));
  EXPECT_EQ(calls, 1);
}

// ---- HTTP/2 over TLS ----

class Http2Test : public HttpTest {
 protected:
  using Api = tests::apiserver::TestApiServer;
  static std::unique_ptr<Api> start(tests::apiserver::Options options = {}) {
    auto started = Api::start(options);
    EXPECT_TRUE(started) << started.error().message();
    return std::move(*started);
  }
  static ClientConfig config_for(const Api& api, const tests::apiserver::KubeconfigOptions& options = {}) {
    auto config = parse_kubeconfig(api.kubeconfig(options), "test");
    EXPECT_TRUE(config) << config.error().message();
    return *config;
  }
  static HttpOptions impatient() {
    HttpOptions options;
    options.read_idle = 100ms;
    options.ping_timeout = 400ms;
    return options;
  }
  // For a peer that does answer: long enough for a busy machine.
  static HttpOptions curious() {
    HttpOptions options = impatient();
    options.ping_timeout = 8s;
    return options;
  }
  // Streams that stay open, and are quiet once they have begun.
  static constexpr const char* kWatch = "/api/v1/services?watch=true&timeoutSeconds=300";
  std::string error_with(ClientConfig config) {
    const auto http = client(std::move(config));
    const auto seen = get(*http, "/livez");
    EXPECT_TRUE(wait_until([&] { return seen->end.has_value(); }));
    return *seen->end;
  }
};

TEST_F(Http2Test, StreamsShareOneConnection) {
  const auto api = start();
  const auto http = client(config_for(*api));
  const auto first = get(*http, kWatch);
  const auto second = get(*http, kWatch);
  const auto third = get(*http, "/livez");
  ASSERT_TRUE(wait_until([&] { return first->head && second->head && third->end; }));
  EXPECT_EQ(third->body, "ok");
  EXPECT_EQ(*third->end, "");
  EXPECT_EQ(api->stats().connections, 1u);
  EXPECT_EQ(http->counters().connections, 1u);
}

TEST_F(Http2Test, ARequestDroppedWhileItConnectsHoldsNobodyUp) {
  const auto api = start();
  ASSERT_TRUE(api->set_faults({.hang = true}));
  const auto http = client(config_for(*api));
  auto first = get(*http, "/livez");
  const auto second = get(*http, "/livez");
  ASSERT_TRUE(wait_until([&] { return http->counters().connections == 1; }));
  first.reset();
  ASSERT_TRUE(wait_until([&] { return http->counters().connections == 2; }));
  ASSERT_TRUE(api->set_faults({}));
  ASSERT_TRUE(wait_until([&] { return second->end.has_value(); }));
  EXPECT_EQ(second->body, "ok");
}

TEST_F(Http2Test, AFailureToConnectIsToldToEveryoneInTurn) {
  const auto api = start();
  ASSERT_TRUE(api->set_faults({.refuse = true}));
  const auto http = client(config_for(*api));
  const auto first = get(*http, "/livez");
  const auto second = get(*http, "/livez");
  ASSERT_TRUE(wait_until([&] { return first->end && second->end; }));
  EXPECT_NE(*first->end, "");
  EXPECT_NE(*second->end, "");
}

TEST_F(Http2Test, APeerThatAnswersThePingIsAliveHoweverQuietItsStreamsAre) {
  const auto api = start();
  const auto http = client(config_for(*api), curious());
  const auto quiet = get(*http, kWatch);
  ASSERT_TRUE(wait_until([&] { return http->counters().pings >= 4; }));
  EXPECT_EQ(quiet->end, std::nullopt);
  EXPECT_EQ(http->counters().dead_connections, 0u);
  EXPECT_EQ(api->stats().connections, 1u);
}

TEST_F(Http2Test, AnyAnswerToThePingIsASignOfLife) {
  const auto api = start({.tokens = {"other"}});
  ClientConfig config = config_for(*api);
  config.token.clear();
  HttpOptions options = curious();
  options.ping_path = "/no/such/path";
  const auto http = client(config, options);
  const auto quiet = get(*http, kWatch);
  ASSERT_TRUE(wait_until([&] { return quiet->end.has_value(); }));
  EXPECT_EQ(quiet->head->status, 401);
  config.token = "other";
  const auto authorized = client(config, options);
  const auto watch = get(*authorized, kWatch);
  ASSERT_TRUE(wait_until([&] { return authorized->counters().pings >= 2; }));
  EXPECT_EQ(authorized->counters().dead_connections, 0u);
}

TEST_F(Http2Test, APeerThatAnswersNothingFailsEveryStreamAndIsNotUsedAgain) {
  const auto api = start();
  const auto http = client(config_for(*api), impatient());
  const auto first = get(*http, kWatch);
  const auto second = get(*http, kWatch);
  ASSERT_TRUE(wait_until([&] { return first->head && second->head; }));
  ASSERT_TRUE(api->set_faults({.hang = true}));
  ASSERT_TRUE(wait_until([&] { return first->end && second->end; }));
  EXPECT_EQ(
      first->end->find(cat("GET ", api->url(), "/api/v1/services: the connection is dead: nothing received for ")), 0u)
      << *first->end;
  EXPECT_EQ(http->counters().dead_connections, 1u);

  ASSERT_TRUE(api->set_faults({}));
  const auto third = get(*http, "/livez");
  ASSERT_TRUE(wait_until([&] { return third->end.has_value(); }));
  EXPECT_EQ(third->body, "ok");
  EXPECT_EQ(api->stats().connections, 2u);
}

TEST_F(Http2Test, DataOnAnyStreamIsASignOfLife) {
  const auto api = start({.bookmark_period = 10ms});
  HttpOptions options;
  options.read_idle = 1s;
  const auto http = client(config_for(*api), options);
  const auto busy = get(*http, cat(kWatch, "&allowWatchBookmarks=true"));
  const auto quiet = get(*http, kWatch);
  const auto later = clock.now() + 1500ms;
  ASSERT_TRUE(wait_until([&] { return clock.now() > later; }));
  EXPECT_EQ(http->counters().pings, 0u);
  EXPECT_EQ(quiet->end, std::nullopt);
}

TEST_F(Http2Test, APeerThatDiesWithoutAnyRequestUnderWayIsNoticedByTheNextOne) {
  const auto api = start();
  const auto http = client(config_for(*api), impatient());
  const auto first = get(*http, "/livez");
  ASSERT_TRUE(wait_until([&] { return first->end.has_value(); }));
  ASSERT_TRUE(api->set_faults({.hang = true}));
  const auto second = get(*http, "/livez");
  ASSERT_TRUE(wait_until([&] { return second->end.has_value(); }));
  EXPECT_NE(second->end->find("the connection is dead"), std::string::npos) << *second->end;
}

TEST_F(Http2Test, AResetConnectionFailsItsStreamsAndTheNextRequestGetsANewOne) {
  const auto api = start();
  const auto http = client(config_for(*api));
  const auto first = get(*http, kWatch);
  ASSERT_TRUE(wait_until([&] { return first->head.has_value(); }));
  api->break_now(tests::apiserver::Break::Reset);
  ASSERT_TRUE(wait_until([&] { return first->end.has_value(); }));
  EXPECT_NE(*first->end, "");
  const auto second = get(*http, "/livez");
  ASSERT_TRUE(wait_until([&] { return second->end.has_value(); }));
  EXPECT_EQ(second->body, "ok");
}

TEST_F(Http2Test, TheServerMustBeSignedByTheGivenAuthorityAndBearTheRightName) {
  const auto api = start({.extra_names = {"kubernetes.test"}});
  const auto other = tests::apiserver::make_pki();
  ASSERT_TRUE(other);
  EXPECT_EQ(error_with(config_for(*api)), "");
  EXPECT_EQ(error_with(config_for(*api, {.server_name = "kubernetes.test"})), "");
  const std::string foreign = error_with(config_for(*api, {.ca_pem = other->ca_pem}));
  EXPECT_NE(foreign.find("SSL"), foreign.npos) << foreign;
  const std::string wrong_name = error_with(config_for(*api, {.server_name = "other.test"}));
  EXPECT_NE(wrong_name.find("other.test"), wrong_name.npos) << wrong_name;
  ClientConfig insecure = config_for(*api, {.server_name = "other.test"});
  insecure.ca = {};
  insecure.insecure_skip_tls_verify = true;
  EXPECT_EQ(error_with(insecure), "");
}

TEST_F(Http2Test, TheServerIsAskedForUnderItsOwnNameWhateverTheCertificateSays) {
  const auto api = start({.extra_names = {"kubernetes.test"}});
  EXPECT_EQ(error_with(config_for(*api, {.server_name = "kubernetes.test"})), "");
  EXPECT_EQ(api->requests().back().headers[":authority"], cat("127.0.0.1:", api->port()));
}

TEST_F(Http2Test, AClientCertificateLetsUsIn) {
  const auto api = start({.client_certificates = true});
  const auto http = client(config_for(*api, {.client_certificate = true}));
  const auto seen = get(*http, "/api/v1/services");
  ASSERT_TRUE(wait_until([&] { return seen->end.has_value(); }));
  EXPECT_EQ(seen->head->status, 200);
}

}  // namespace
}  // namespace fairlead::kube
