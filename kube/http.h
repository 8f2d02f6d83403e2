// HttpClient: streaming GETs, and small POSTs, to one API server over one HTTP/2 connection (libcurl's multi interface
// on base::Loop).
//
// Loop thread only. Every byte is handed on as it arrives; nothing is collected, and while a callback works nothing
// more is read: the HTTP/2 and TCP windows hold the server back. A dead peer is noticed: when nothing has come for
// read_idle while a response is awaited, a small GET goes over the same connection, and if nothing at all comes back
// within ping_timeout every stream fails and the connection is never used again. TCP keep-alive and TCP_USER_TIMEOUT do
// the same for a host that is gone, and alone watch over streams left on a connection after its GOAWAY. Over HTTP/1.1,
// which cannot multiplex, each stream has a connection of its own and only TCP's own means apply. curl stays inside
// http.cc.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/loop.h"
#include "base/result.h"
#include "kube/client_config.h"

namespace fairlead::kube {

struct HttpOptions {
  base::Duration connect_timeout = std::chrono::seconds(10);  // TCP and TLS
  base::Duration read_idle = std::chrono::seconds(30);        // client-go's HTTP2_READ_IDLE_TIMEOUT_SECONDS
  base::Duration ping_timeout = std::chrono::seconds(15);     // client-go's HTTP2_PING_TIMEOUT_SECONDS
  base::Duration token_re_read = std::chrono::seconds(60);
  std::string ping_path = "/livez";
  std::string user_agent = "fairlead";
};

struct HttpHead {
  int status = 0;
  std::string content_type;
  std::optional<std::chrono::seconds> retry_after;
  bool operator==(const HttpHead&) const = default;
};

struct HttpCallbacks {
  std::function<void(const HttpHead&)> on_head;
  std::function<void(std::string_view)> on_body;  // to refuse it, drop the stream
  // Once, unless the stream was dropped before; never from inside get(). Success means that the body is complete.
  std::function<void(Status)> on_end;
};

// One request on its way. Dropping it cancels, also from inside its own callbacks; must not outlive its client.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
};

class HttpClient {
 public:
  struct Request {
    std::string path;  // with the query, without the server URL's own path
    std::string accept;
  };

  static Result<std::unique_ptr<HttpClient>> create(base::Loop& loop, const base::Clock& clock, ClientConfig config,
                                                    HttpOptions options = {});
  virtual ~HttpClient() = default;

  [[nodiscard]] virtual std::unique_ptr<HttpStream> get(Request request, HttpCallbacks callbacks) = 0;
  // `json` is the body.
  [[nodiscard]] virtual std::unique_ptr<HttpStream> post(Request request, std::string json,
                                                         HttpCallbacks callbacks) = 0;

  // For status and tests.
  struct Counters {
    std::uint64_t requests = 0;
    std::uint64_t connections = 0;  // opened
    std::uint64_t pings = 0;
    std::uint64_t dead_connections = 0;  // given up because a ping was not answered
    std::uint64_t bytes = 0;             // of bodies
    // Method and status, "<error>" without any ({"GET", "200"} -> 7); client-go's rest_client_requests_total.
    std::map<std::pair<std::string, std::string>, std::uint64_t> answers{};
    bool operator==(const Counters&) const = default;
  };
  virtual const Counters& counters() const = 0;
};

}  // namespace fairlead::kube
