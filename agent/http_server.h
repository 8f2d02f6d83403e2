// HttpServer: small read-only HTTP/1.1 answers (metrics, health, status) on a TCP address or a unix socket.
//
// Runs on the loop's thread, over libevent's evhttp, which stays inside http_server.cc. A handler must not block.
// With routes: GET and HEAD only; other methods get 405, unknown paths 404. Requests over 8 KiB are refused.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "net/ip.h"

namespace fairlead::agent {

struct HttpRequest {
  std::string path;                          // "/v1/services"
  std::map<std::string, std::string> query;  // decoded
  bool reads_only = true;                    // GET or HEAD
};

struct HttpResponse {
  int code = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body{};
  std::vector<std::pair<std::string, std::string>>
      headers{};  // beside Content-Type and X-Content-Type-Options: nosniff
  // When set, it takes the place of `body`: it appends the next piece of it, at least a byte, and says whether another
  // follows. It is called once the last piece is on its way, so that a long answer neither stops the loop nor lies in
  // memory as a whole.
  std::function<bool(std::string&)> more{};
};

using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;
using HttpRoutes = std::map<std::string, HttpHandler>;  // by exact path

// Which families a socket on [::] takes; any other address has one.
enum class OnAnyV6 : std::uint8_t { Both, V6Only };

class HttpServer {
 public:
  static Result<std::unique_ptr<HttpServer>> listen_tcp(base::Loop& loop, const net::Ip& address, std::uint16_t port,
                                                        HttpRoutes routes);
  // One answer to every path and method.
  static Result<std::unique_ptr<HttpServer>> listen_for_all(base::Loop& loop, const net::Ip& address,
                                                            std::uint16_t port, OnAnyV6 families, HttpHandler handler);
  // Mode 0600. A socket file that is already there is replaced, so the caller must hold the instance's lock.
  static Result<std::unique_ptr<HttpServer>> listen_unix(base::Loop& loop, const std::string& path, HttpRoutes routes);
  ~HttpServer();  // removes the unix socket
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  const std::string& address() const { return address_; }  // "127.0.0.1:10249", the port as chosen; or the path

 private:
  struct Native;
  HttpServer() = default;
  static Result<std::unique_ptr<HttpServer>> bind_tcp(base::Loop& loop, const net::Ip& address, std::uint16_t port,
                                                      OnAnyV6 families, std::size_t max_body_bytes, HttpHandler answer);
  Status serve(base::Loop& loop, int fd, std::size_t max_body_bytes, HttpHandler answer);

  std::unique_ptr<Native> native_;
  std::string address_;
  bool is_unix_ = false;
};

}  // namespace fairlead::agent
