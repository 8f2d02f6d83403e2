#include "agent/http_server.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using namespace std::chrono_literals;

HttpRoutes routes() {
  return {
      {"/hello", [](const HttpRequest&) { return HttpResponse{.body = "hello\n"}; }},
      {"/sick",
       [](const HttpRequest&) { return HttpResponse{.code = 503, .content_type = "application/json", .body = "{}"}; }},
      {"/long",
       [](const HttpRequest&) {
         return HttpResponse{.body = {}, .more = [left = 3](std::string& out) mutable {
                               out += std::string(100000, '#');
                               return --left > 0;
                             }};
       }},
      {"/endless",
       [](const HttpRequest&) {
         return HttpResponse{.body = {}, .more = [](std::string& out) {
                               out += std::string(100000, '#');
                               return true;
                             }};
       }},
      {"/echo", [](const HttpRequest& request) {
         const auto name = request.query.find("name");
         return HttpResponse{.body = name == request.query.end() ? "-" : name->second};
       }}};
}

class HttpServerTest : public testing::Test {
 protected:
  std::unique_ptr<base::Loop> loop = std::move(*base::Loop::create());

  // Sends `request` and returns all that comes back until the server closes.
  std::string exchange(base::Fd client, const std::string& request) {
    EXPECT_EQ(::write(client.get(), request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string answer;
    bool open = true;
    const auto watch = loop->watch(client.get(), base::Interest::Read, [&](base::Ready) {
      char buffer[4096];
      const ssize_t n = ::read(client.get(), buffer, sizeof buffer);
      open = n > 0;
      if (open) answer.append(buffer, static_cast<std::size_t>(n));
    });
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (open && std::chrono::steady_clock::now() < deadline) loop->run_once(50ms);
    return answer;
  }
  base::Fd connect_to(const HttpServer& server) {
    const std::string& address = server.address();
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(*base::parse_number<std::uint16_t>(std::string_view(address).substr(address.rfind(':') + 1)));
    base::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return client;
  }
  std::string tcp(const HttpServer& server, const std::string& method, const std::string& path) {
    return exchange(connect_to(server),
                    base::cat(method, " ", path, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  }
  std::unique_ptr<HttpServer> listen() {
    auto server = HttpServer::listen_tcp(*loop, net::Ip::v4(127, 0, 0, 1), 0, routes());
    EXPECT_TRUE(server);
    return std::move(*server);
  }
};

TEST_F(HttpServerTest, AnswersAKnownPathOnAPortOfItsOwnChoice) {
  const auto server = listen();
  EXPECT_TRUE(server->address().starts_with("127.0.0.1:"));
  EXPECT_NE(server->address(), "127.0.0.1:0");
  const std::string answer = tcp(*server, "GET", "/hello");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("X-Content-Type-Options: nosniff\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("Content-Type: text/plain"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nhello\n")) << answer;
}

TEST_F(HttpServerTest, CarriesCodeTypeAndQuery) {
  const auto server = listen();
  const std::string sick = tcp(*server, "GET", "/sick");
  EXPECT_TRUE(sick.starts_with("HTTP/1.1 503 Service Unavailable\r\n")) << sick;
  EXPECT_NE(sick.find("Content-Type: application/json\r\n"), std::string::npos) << sick;
  EXPECT_TRUE(tcp(*server, "GET", "/echo?name=a%20b&x=1").ends_with("\r\n\r\na b"));
}

TEST_F(HttpServerTest, ALongAnswerComesInPieces) {
  const auto server = listen();
  const std::string answer = tcp(*server, "GET", "/long");
  EXPECT_NE(answer.find("Transfer-Encoding: chunked\r\n"), std::string::npos) << answer.substr(0, 300);
  EXPECT_EQ(std::count(answer.begin(), answer.end(), '#'), 300000);
  EXPECT_TRUE(answer.ends_with("\r\n0\r\n\r\n"));
  EXPECT_TRUE(tcp(*server, "HEAD", "/long").ends_with("\r\n\r\n"));
}

TEST_F(HttpServerTest, AClientThatLeavesInTheMiddleOfALongAnswerHarmsNobody) {
  const auto server = listen();
  for (int i = 0; i < 3; ++i) {
    base::Fd client = connect_to(*server);
    const std::string request = "GET /long HTTP/1.1\r\nHost: x\r\n\r\n";
    ASSERT_EQ(::write(client.get(), request.data(), request.size()), static_cast<ssize_t>(request.size()));
    loop->run_once(10ms);
    client.reset();
    loop->run_once(10ms);
  }
  EXPECT_TRUE(tcp(*server, "GET", "/hello").ends_with("hello\n"));
}

TEST_F(HttpServerTest, TheServerMayGoInTheMiddleOfALongAnswer) {
  auto server = listen();
  const base::Fd client = connect_to(*server);
  const std::string request = "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_EQ(::write(client.get(), request.data(), request.size()), static_cast<ssize_t>(request.size()));
  char first = 0;
  for (int i = 0; i < 1000 && ::recv(client.get(), &first, 1, MSG_DONTWAIT) != 1; ++i) loop->run_once(10ms);
  std::string more(4096, ' ');
  ASSERT_GT(::recv(client.get(), more.data(), more.size(), MSG_DONTWAIT), 0);
  EXPECT_NE(more.find("200 OK"), std::string::npos);
  server.reset();
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  const auto server = listen();
  const std::string answer = tcp(*server, "HEAD", "/hello");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("Content-Length: 6\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

TEST_F(HttpServerTest, UnknownPathsAre404AndOtherMethods405) {
  const auto server = listen();
  EXPECT_TRUE(tcp(*server, "GET", "/nothing").starts_with("HTTP/1.1 404 "));
  const std::string refused = tcp(*server, "DELETE", "/hello");
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 405 ")) << refused;
  EXPECT_NE(refused.find("Allow: GET, HEAD\r\n"), std::string::npos) << refused;
}

TEST_F(HttpServerTest, AnOversizedRequestIsRefused) {
  const auto server = listen();
  const std::string answer = tcp(*server, "GET", "/" + std::string(20000, 'x'));
  EXPECT_FALSE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_TRUE(tcp(*server, "GET", "/hello").starts_with("HTTP/1.1 200")) << "and the next one is served";
}

TEST_F(HttpServerTest, ATakenPortIsAnErrorThatNamesIt) {
  const auto server = listen();
  const std::string& address = server->address();
  const auto port = *base::parse_number<std::uint16_t>(std::string_view(address).substr(address.rfind(':') + 1));
  const auto second = HttpServer::listen_tcp(*loop, net::Ip::v4(127, 0, 0, 1), port, routes());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message(), "cannot listen on " + address + ": bind: Address already in use");
}

class UnixServerTest : public HttpServerTest {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-http-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root = name;
    path = root + "/agent.sock";
  }
  void TearDown() override { std::filesystem::remove_all(root); }
  std::string get(const std::string& target) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, path.data(), path.size());
    base::Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return exchange(std::move(client), base::cat("GET ", target, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  }
  std::string root, path;
};

TEST_F(UnixServerTest, ServesOwnerOnlyAndLeavesNoSocketBehind) {
  {
    const auto server = HttpServer::listen_unix(*loop, path, routes());
    ASSERT_TRUE(server) << server.error().message();
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0600U);
    EXPECT_TRUE(get("/hello").ends_with("\r\n\r\nhello\n"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(UnixServerTest, ReplacesTheSocketOfADeadAgent) {
  {
    const base::Fd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, path.data(), path.size());
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(path));
  const auto server = HttpServer::listen_unix(*loop, path, routes());
  ASSERT_TRUE(server) << server.error().message();
  EXPECT_TRUE(get("/hello").ends_with("hello\n"));
}

TEST_F(UnixServerTest, NeverReplacesAFile) {
  ASSERT_TRUE(base::write_file_atomically(path, "precious"));
  const auto server = HttpServer::listen_unix(*loop, path, routes());
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().message(), "cannot listen on " + path + ": " + path + " exists and is not a socket");
}

}  // namespace
}  // namespace fairlead::agent
