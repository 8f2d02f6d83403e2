#include "agent/http_server.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

constexpr int kBacklog = 64;
constexpr ev_ssize_t kMaxHeaderBytes = 8192;
constexpr std::size_t kMaxBodyBytes = 8192;  // of a request that nobody reads
constexpr int kIdleSeconds = 30;

std::string_view reason_of(int code) {
  switch (code) {
    case 200: return "OK";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 503: return "Service Unavailable";
    default: return "Error";
  }
}

std::map<std::string, std::string> query_of(const char* text) {
  std::map<std::string, std::string> query;
  evkeyvalq pairs{};
  if (text == nullptr || evhttp_parse_query_str(text, &pairs) != 0) return query;
  for (const evkeyval* pair = pairs.tqh_first; pair != nullptr; pair = pair->next.tqe_next) {
    query.insert_or_assign(pair->key, pair->value);
  }
  evhttp_clear_headers(&pairs);
  return query;
}

HttpRequest request_of(const evhttp_request* request) {
  const evhttp_uri* uri = evhttp_request_get_evhttp_uri(request);
  const char* path = uri == nullptr ? nullptr : evhttp_uri_get_path(uri);
  const auto method = evhttp_request_get_command(request);
  return {.path = path == nullptr ? "" : path,
          .query = query_of(uri == nullptr ? nullptr : evhttp_uri_get_query(uri)),
          .reads_only = method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD};
}

HttpHandler by_route(HttpRoutes routes) {
  return [routes = std::move(routes)](const HttpRequest& request) -> HttpResponse {
    const auto route = routes.find(request.path);
    if (route == routes.end()) return {.code = 404, .body = "404 not found\n"};
    if (request.reads_only) return route->second(request);
    return {.code = 405, .body = "405 method not allowed: use GET\n", .headers = {{"Allow", "GET, HEAD"}}};
  };
}

void append(evbuffer* buffer, const std::string& text) { evbuffer_add(buffer, text.data(), text.size()); }

// An answer in pieces. Lives until the last piece is out or the client has gone; evhttp knows it by pointer.
struct Stream {
  evhttp_request* request;
  std::function<bool(std::string&)> more;
};

// The connection goes down. When it was the client's doing, evhttp has let go of the unfinished request, and only
// ending it frees it (libevent 2.1 http.c evhttp_connection_incoming_fail); in evhttp_free() it still frees it itself.
void drop_stream(evhttp_connection*, void* raw) {
  const std::unique_ptr<Stream> stream(static_cast<Stream*>(raw));
  if (evhttp_request_get_connection(stream->request) == nullptr) evhttp_send_reply_end(stream->request);
}

void send_piece(evhttp_connection* connection, void* raw) {
  auto* stream = static_cast<Stream*>(raw);
  if (!stream->more) {
    evhttp_connection_set_closecb(connection, nullptr, nullptr);
    evhttp_send_reply_end(stream->request);
    delete stream;
    return;
  }
  std::string piece;
  if (!stream->more(piece)) stream->more = nullptr;
  evbuffer* buffer = evbuffer_new();
  if (buffer == nullptr) return;  // the idle timeout ends it
  append(buffer, piece);
  evhttp_send_reply_chunk_with_cb(stream->request, buffer, &send_piece, stream);
  evbuffer_free(buffer);
}

void reply(evhttp_request* request, void* handler) {
  HttpResponse response = (*static_cast<const HttpHandler*>(handler))(request_of(request));
  const bool wants_body = evhttp_request_get_command(request) != EVHTTP_REQ_HEAD;
  const std::string reason(reason_of(response.code));
  evkeyvalq* headers = evhttp_request_get_output_headers(request);
  evhttp_add_header(headers, "Content-Type", response.content_type.c_str());
  evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) evhttp_add_header(headers, name.c_str(), value.c_str());
  if (response.more && wants_body) {
    evhttp_connection* connection = evhttp_request_get_connection(request);
    auto* stream = new Stream{request, std::move(response.more)};
    evhttp_connection_set_closecb(connection, &drop_stream, stream);
    evhttp_send_reply_start(request, response.code, reason.c_str());
    send_piece(connection, stream);
    return;
  }
  if (!response.more) evhttp_add_header(headers, "Content-Length", base::cat(response.body.size()).c_str());
  evbuffer* body = evbuffer_new();
  if (body != nullptr && wants_body) append(body, response.body);
  evhttp_send_reply(request, response.code, reason.c_str(), body);
  if (body != nullptr) evbuffer_free(body);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address socket_address(const net::Ip& ip, std::uint16_t port) {
  Address result;
  if (ip.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = ip.v4_be();
    std::memcpy(&result.storage, &v4, sizeof v4);
    result.size = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, ip.bytes().data(), ip.bytes().size());
    std::memcpy(&result.storage, &v6, sizeof v6);
    result.size = sizeof v6;
  }
  return result;
}

Result<base::Fd> bound_socket(int family, const sockaddr* address, socklen_t size, OnAnyV6 families = OnAnyV6::Both) {
  base::Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("socket", errno);
  const int on = 1;
  if (family == AF_UNIX) {
    // The inode takes its mode from the socket's (linux v6.1 net/unix/af_unix.c unix_bind_bsd), so there is no moment
    // at which others may connect, and the process-wide umask stays alone.
    if (::fchmod(fd.get(), 0600) != 0) return Error::from_errno("fchmod", errno);
  } else if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
    return Error::from_errno("SO_REUSEADDR", errno);
  }
  // Whatever net.ipv6.bindv6only says.
  const int only = families == OnAnyV6::V6Only ? 1 : 0;
  if (family == AF_INET6 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) != 0) {
    return Error::from_errno("IPV6_V6ONLY", errno);
  }
  if (::bind(fd.get(), address, size) != 0) return Error::from_errno("bind", errno);
  if (::listen(fd.get(), kBacklog) != 0) return Error::from_errno("listen", errno);
  return fd;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  // sin_port and sin6_port lie at the same offset (RFC 3493 s3.3, linux/in6.h).
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

Status remove_stale_socket(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return Error(path + " exists and is not a socket");
  if (::unlink(path.c_str()) != 0) return Error::from_errno("unlink " + path, errno);
  return {};
}

}  // namespace

struct HttpServer::Native {
  evhttp* http = nullptr;
  HttpHandler answer;
  ~Native() {
    if (http != nullptr) evhttp_free(http);
  }
};

HttpServer::~HttpServer() {
  native_.reset();
  if (is_unix_) ::unlink(address_.c_str());
}

Status HttpServer::serve(base::Loop& loop, int fd, std::size_t max_body_bytes, HttpHandler answer) {
  base::Fd owned(fd);
  native_ = std::make_unique<Native>();
  native_->answer = std::move(answer);
  native_->http = evhttp_new(loop.native());
  if (native_->http == nullptr) return Error("cannot create an HTTP server");
  evhttp_set_max_headers_size(native_->http, kMaxHeaderBytes);
  evhttp_set_max_body_size(native_->http, static_cast<ev_ssize_t>(max_body_bytes));
  evhttp_set_timeout(native_->http, kIdleSeconds);
  evhttp_set_allowed_methods(native_->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                                EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
  evhttp_set_gencb(native_->http, &reply, &native_->answer);
  if (evhttp_accept_socket_with_handle(native_->http, owned.get()) == nullptr) {
    return Error("cannot accept connections");
  }
  (void)owned.release();  // evhttp_free() closes it
  return {};
}

Result<std::unique_ptr<HttpServer>> HttpServer::bind_tcp(base::Loop& loop, const net::Ip& address, std::uint16_t port,
                                                         OnAnyV6 families, std::size_t max_body_bytes,
                                                         HttpHandler answer) {
  const std::string context = "cannot listen on " + net::host_port(address, port);
  const Address to = socket_address(address, port);
  base::Fd fd = TRY_CONTEXT(
      bound_socket(to.storage.ss_family, reinterpret_cast<const sockaddr*>(&to.storage), to.size, families), context);
  std::unique_ptr<HttpServer> server(new HttpServer());
  server->address_ = net::host_port(address, port_of(fd.get()));
  TRY_CONTEXT(server->serve(loop, fd.release(), max_body_bytes, std::move(answer)), context);
  return server;
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen_tcp(base::Loop& loop, const net::Ip& address, std::uint16_t port,
                                                           HttpRoutes routes) {
  return bind_tcp(loop, address, port, OnAnyV6::Both, 0, by_route(std::move(routes)));
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen_for_all(base::Loop& loop, const net::Ip& address,
                                                               std::uint16_t port, OnAnyV6 families,
                                                               HttpHandler handler) {
  return bind_tcp(loop, address, port, families, kMaxBodyBytes, std::move(handler));
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen_unix(base::Loop& loop, const std::string& path,
                                                            HttpRoutes routes) {
  const std::string context = "cannot listen on " + path;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof to.sun_path) {
    return Error(base::cat(context, ": a socket path has 1 to ", sizeof to.sun_path - 1, " bytes"));
  }
  std::memcpy(to.sun_path, path.data(), path.size());
  TRY_CONTEXT(remove_stale_socket(path), context);
  base::Fd fd = TRY_CONTEXT(bound_socket(AF_UNIX, reinterpret_cast<const sockaddr*>(&to), sizeof to), context);
  std::unique_ptr<HttpServer> server(new HttpServer());
  server->address_ = path;
  server->is_unix_ = true;
  TRY_CONTEXT(server->serve(loop, fd.release(), 0, by_route(std::move(routes))), context);
  return server;
}

}  // namespace fairlead::agent
