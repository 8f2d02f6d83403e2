#include "kube/http.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "kube/keepalive.h"
#include "kube/token.h"

namespace fairlead::kube {
namespace {

using base::cat;

template <typename Unit>
long whole(base::Duration duration) {
  return std::max<long>(1, static_cast<long>(std::chrono::ceil<Unit>(duration).count()));
}

template <auto kFree>
struct Deleter {
  void operator()(auto* handle) const { kFree(handle); }
};
using Easy = std::unique_ptr<CURL, Deleter<&curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, Deleter<&curl_multi_cleanup>>;
using HeaderList = std::unique_ptr<curl_slist, Deleter<&curl_slist_free_all>>;

void append(HeaderList& list, const std::string& line) {
  if (curl_slist* longer = curl_slist_append(list.get(), line.c_str())) {
    (void)list.release();
    list.reset(longer);
  }
}

class Client;
class Stream;

// The kind of failure, and curl's detail where that does not name it ("error:0688...: EVP lib" of OpenSSL).
std::string reason_of(CURLcode code, const std::string& detail) {
  const std::string kind = curl_easy_strerror(code);
  if (detail.find(kind) != detail.npos) return detail;
  return cat(kind, detail.empty() ? "" : ": ", detail);
}

// A request that curl knows. Lives until its end has been told, or until it is dropped.
struct Transfer {
  Client* client = nullptr;
  Stream* stream = nullptr;  // nullptr: dropped, or the ping
  HttpCallbacks callbacks;
  std::string name;                 // "GET https://host:port/path" for errors
  std::optional<std::string> json;  // the body of a POST; else a GET
  std::string_view method() const { return json ? "POST" : "GET"; }
  Easy easy;
  HeaderList headers;
  HeaderList connect_to;
  char reason[CURL_ERROR_SIZE] = {};
  bool head_done = false;
  bool added = false;             // curl's multi handle holds it
  bool sent = false;              // it has been added once
  bool connected = false;         // it has had a connection to go out on
  std::optional<Status> outcome;  // set once it has ended
  bool dropped = false;
};

class Stream final : public HttpStream {
 public:
  explicit Stream(Transfer* transfer) : transfer_(transfer) {}
  ~Stream() override;
  void ended() { transfer_ = nullptr; }

 private:
  Transfer* transfer_;
};

class Client final : public HttpClient {
 public:
  Client(base::Loop& loop, const base::Clock& clock, ClientConfig config, ServerUrl url, HttpOptions options)
      : loop_(loop),
        clock_(clock),
        config_(std::move(config)),
        url_(std::move(url)),
        options_(std::move(options)),
        tokens_(config_, clock, options_.token_re_read) {}
  ~Client() override;
  Status open();

  std::unique_ptr<HttpStream> get(Request request, HttpCallbacks callbacks) override;
  std::unique_ptr<HttpStream> post(Request request, std::string json, HttpCallbacks callbacks) override;
  const Counters& counters() const override { return counters_; }
  void drop(Transfer* transfer);

 private:
  // What curl calls.
  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*);
  static int on_timer(CURLM*, long delay_ms, void* self);
  static curl_socket_t open_socket(void* self, curlsocktype, curl_sockaddr* address);
  static int on_connected(void* transfer, char*, char*, int, int);
  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* transfer);
  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* transfer);

  // One request.
  Status prepare(Transfer& transfer, const Request& request);
  Status set_identity(Transfer& transfer);
  Status set_target(Transfer& transfer, const Request& request);
  void start(std::unique_ptr<Transfer> transfer, const Request& request);
  std::unique_ptr<HttpStream> start_stream(std::unique_ptr<Transfer> transfer, const Request& request,
                                           HttpCallbacks callbacks);

  // The life of the connection.
  void act(curl_socket_t fd, int events);
  void settle();
  void settle_soon();
  void collect_ended();
  void add_waiting();
  void tell_ended();
  void watch_for_silence(base::Duration delay);
  void check_silence();
  void ping();
  void pinged(const Transfer& ping);
  void give_up_connection(const Error& error);
  void remove(Transfer& transfer);

  base::Loop& loop_;
  const base::Clock& clock_;
  ClientConfig config_;
  ServerUrl url_;
  HttpOptions options_;
  TokenSource tokens_;
  Counters counters_;

  Multi multi_;
  std::map<curl_socket_t, base::Loop::Handle> sockets_;
  base::Loop::Handle timer_ = base::Loop::none();
  base::Loop::Handle settle_ = base::Loop::none();
  base::Loop::Handle silence_ = base::Loop::none();
  bool watching_silence_ = false;
  bool in_curl_ = false;  // curl allows none of its multi calls from inside its callbacks
  std::uint64_t reads_ = 1;  // pieces that curl has handed over
  base::Instant last_read_{};
  base::Instant pinged_at_{};
  Transfer* ping_ = nullptr;
  std::vector<std::unique_ptr<Transfer>> transfers_;
};

Stream::~Stream() {
  if (transfer_ != nullptr) transfer_->client->drop(transfer_);
}

int Client::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  auto* client = static_cast<Client*>(self);
  client->sockets_.erase(fd);
  if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) return 0;
  const base::Interest interest = what == CURL_POLL_IN    ? base::Interest::Read
                                  : what == CURL_POLL_OUT ? base::Interest::Write
                                                          : base::Interest::ReadWrite;
  client->sockets_.emplace(fd, client->loop_.watch(fd, interest, [client, fd](base::Ready ready) {
    client->act(fd, (ready.readable ? CURL_CSELECT_IN : 0) | (ready.writable ? CURL_CSELECT_OUT : 0));
  }));
  return 0;
}

int Client::on_timer(CURLM*, long delay_ms, void* self) {
  auto* client = static_cast<Client*>(self);
  client->timer_.reset();
  if (delay_ms < 0) return 0;
  client->timer_ =
      client->loop_.after(std::chrono::milliseconds(delay_ms), [client] { client->act(CURL_SOCKET_TIMEOUT, 0); });
  return 0;
}

// curl 7.88 opens sockets that a subprocess would inherit.
curl_socket_t Client::open_socket(void* self, curlsocktype, curl_sockaddr* address) {
  auto* client = static_cast<Client*>(self);
  ++client->counters_.connections;
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  set_keep_alive(fd, client->options_.read_idle, client->options_.ping_timeout);
  return fd;
}

int Client::on_connected(void* user, char*, char*, int, int) {
  auto* transfer = static_cast<Transfer*>(user);
  transfer->connected = true;
  transfer->client->settle_soon();  // whoever waits for this connection
  return CURL_PREREQFUNC_OK;
}

std::size_t Client::on_header(char* data, std::size_t, std::size_t size, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  transfer->client->last_read_ = transfer->client->clock_.now();
  ++transfer->client->reads_;
  const std::string_view line = base::trim(std::string_view(data, size));
  if (!line.empty() || transfer->head_done || transfer->dropped) return size;  // trailers come after head_done
  long status = 0;
  curl_easy_getinfo(transfer->easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status < 200) return size;  // 1xx: the real head follows
  transfer->head_done = true;
  HttpHead head;
  head.status = static_cast<int>(status);
  char* content_type = nullptr;
  curl_easy_getinfo(transfer->easy.get(), CURLINFO_CONTENT_TYPE, &content_type);
  if (content_type != nullptr) head.content_type = content_type;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(transfer->easy.get(), CURLINFO_RETRY_AFTER, &retry_after);
  if (retry_after > 0) head.retry_after = std::chrono::seconds(retry_after);
  ++transfer->client->counters_.answers[{std::string(transfer->method()), cat(status)}];
  if (transfer->callbacks.on_head) transfer->callbacks.on_head(head);
  return size;
}

std::size_t Client::on_body(char* data, std::size_t, std::size_t size, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  Client* client = transfer->client;
  client->last_read_ = client->clock_.now();
  ++client->reads_;
  client->counters_.bytes += size;
  if (transfer->dropped) return 0;  // another count than was given ends the transfer
  if (transfer->callbacks.on_body) transfer->callbacks.on_body(std::string_view(data, size));
  return transfer->dropped ? 0 : size;
}

Status Client::open() {
  multi_.reset(curl_multi_init());
  if (!multi_) return Error("cannot create a curl handle");
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &Client::on_socket);
  curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &Client::on_timer);
  curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  return {};
}

Client::~Client() {
  for (const auto& transfer : transfers_) {
    remove(*transfer);
    if (transfer->stream != nullptr) transfer->stream->ended();
  }
  transfers_.clear();
  multi_.reset();
}

// Options that only differ in their value's type.
template <typename Value>
void set(const Transfer& transfer, CURLoption option, Value value) {
  curl_easy_setopt(transfer.easy.get(), option, value);
}

Status set_pem(const Transfer& transfer, CURLoption option, const Pem& pem, std::string_view what) {
  if (pem.empty()) return {};
  const std::string text = TRY_CONTEXT(read_pem(pem), what);
  curl_blob blob{};
  blob.data = const_cast<char*>(text.data());  // curl copies it
  blob.len = text.size();
  blob.flags = CURL_BLOB_COPY;
  if (curl_easy_setopt(transfer.easy.get(), option, &blob) != CURLE_OK) return Error(cat(what, ": curl takes no blob"));
  return {};
}

Status Client::set_identity(Transfer& transfer) {
  TRY(set_pem(transfer, CURLOPT_CAINFO_BLOB, config_.ca, "certificate authority"));
  // Debian's curl has a CA directory built in, which would be trusted besides the cluster's own authority.
  if (!config_.ca.empty()) set(transfer, CURLOPT_CAPATH, static_cast<char*>(nullptr));
  TRY(set_pem(transfer, CURLOPT_SSLCERT_BLOB, config_.client_certificate, "client certificate"));
  TRY(set_pem(transfer, CURLOPT_SSLKEY_BLOB, config_.client_key, "client key"));
  set(transfer, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (config_.insecure_skip_tls_verify) {
    set(transfer, CURLOPT_SSL_VERIFYPEER, 0L);
    set(transfer, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  const std::string token = TRY(tokens_.token());
  const bool clean = std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!clean) return Error("bearer token: holds white space or control characters");
  if (!token.empty()) append(transfer.headers, cat("Authorization: Bearer ", token));
  return {};
}

Status Client::set_target(Transfer& transfer, const Request& request) {
  const std::string target = cat(url_.tls ? "https://" : "http://", url_.authority());
  transfer.name =
      cat(transfer.method(), " ", target, url_.path, std::string_view(request.path).substr(0, request.path.find('?')));
  if (!config_.proxy_url.empty()) transfer.name += cat(" through ", without_credentials(config_.proxy_url));
  std::string url = cat(target, url_.path, request.path);
  if (!config_.tls_server_name.empty() && url_.tls) {
    // curl takes the name for SNI and verification from the URL; CONNECT_TO leads it to the real address, and the Host
    // header stays the server's, as client-go sends it.
    ServerUrl named = url_;
    named.host = config_.tls_server_name;
    url = cat("https://", named.authority(), url_.path, request.path);
    append(transfer.connect_to, cat(named.authority(), ":", url_.authority()));
    append(transfer.headers, cat("Host: ", url_.authority()));
    set(transfer, CURLOPT_CONNECT_TO, transfer.connect_to.get());
  }
  if (curl_easy_setopt(transfer.easy.get(), CURLOPT_URL, url.c_str()) != CURLE_OK) {
    return Error(cat("\"", url, "\" is not a URL"));
  }
  if (!config_.proxy_url.empty()) {
    set(transfer, CURLOPT_PROXY, config_.proxy_url.c_str());
    set(transfer, CURLOPT_NOPROXY, "");
  } else if (url_.is_loopback()) {
    set(transfer, CURLOPT_PROXY, "");  // as Go's ProxyFromEnvironment: never for the host itself
  }
  return {};
}

Status Client::prepare(Transfer& transfer, const Request& request) {
  transfer.client = this;
  transfer.easy.reset(curl_easy_init());
  if (!transfer.easy) return Error("cannot create a curl handle");
  TRY(set_target(transfer, request));
  TRY(set_identity(transfer));
  append(transfer.headers, cat("Accept: ", request.accept));
  if (transfer.json) {
    append(transfer.headers, "Content-Type: application/json");
    set(transfer, CURLOPT_POSTFIELDSIZE, static_cast<long>(transfer.json->size()));
    set(transfer, CURLOPT_POSTFIELDS, transfer.json->c_str());
  }
  set(transfer, CURLOPT_HTTPHEADER, transfer.headers.get());
  set(transfer, CURLOPT_USERAGENT, options_.user_agent.c_str());
  set(transfer, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
  // Over TLS by ALPN. (Prior knowledge over plain TCP is no use: curl 7.88 greets anew for every stream.)
  set(transfer, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(transfer, CURLOPT_PIPEWAIT, 1L);  // rather a stream of the connection being made than a second connection
  set(transfer, CURLOPT_NOSIGNAL, 1L);
  set(transfer, CURLOPT_QUICK_EXIT, 1L);  // do not wait for a name lookup when shutting down
  set(transfer, CURLOPT_CONNECTTIMEOUT_MS, whole<std::chrono::milliseconds>(options_.connect_timeout));
  set(transfer, CURLOPT_ERRORBUFFER, transfer.reason);
  set(transfer, CURLOPT_OPENSOCKETFUNCTION, &Client::open_socket);
  set(transfer, CURLOPT_OPENSOCKETDATA, this);
  set(transfer, CURLOPT_PREREQFUNCTION, &Client::on_connected);
  set(transfer, CURLOPT_PREREQDATA, &transfer);
  set(transfer, CURLOPT_HEADERFUNCTION, &Client::on_header);
  set(transfer, CURLOPT_HEADERDATA, &transfer);
  set(transfer, CURLOPT_WRITEFUNCTION, &Client::on_body);
  set(transfer, CURLOPT_WRITEDATA, &transfer);
  set(transfer, CURLOPT_PRIVATE, &transfer);
  return {};
}

void Client::start(std::unique_ptr<Transfer> transfer, const Request& request) {
  Status prepared = prepare(*transfer, request);
  if (!prepared)
    transfer->outcome = std::move(prepared).error().with_context(cat(transfer->method(), " ", config_.server));
  ++counters_.requests;
  transfers_.push_back(std::move(transfer));
  settle_soon();  // adds it to the multi handle, or tells the error
  if (!watching_silence_) {
    last_read_ = clock_.now();
    watch_for_silence(options_.read_idle);
  }
}

std::unique_ptr<HttpStream> Client::get(Request request, HttpCallbacks callbacks) {
  return start_stream(std::make_unique<Transfer>(), request, std::move(callbacks));
}

std::unique_ptr<HttpStream> Client::post(Request request, std::string json, HttpCallbacks callbacks) {
  auto transfer = std::make_unique<Transfer>();
  transfer->json = std::move(json);
  return start_stream(std::move(transfer), request, std::move(callbacks));
}

std::unique_ptr<HttpStream> Client::start_stream(std::unique_ptr<Transfer> transfer, const Request& request,
                                                 HttpCallbacks callbacks) {
  transfer->callbacks = std::move(callbacks);
  auto stream = std::make_unique<Stream>(transfer.get());
  transfer->stream = stream.get();
  start(std::move(transfer), request);
  return stream;
}

// Only marks it: the caller may stand inside one of its callbacks.
void Client::drop(Transfer* transfer) {
  transfer->dropped = true;
  transfer->stream = nullptr;
  settle_soon();
}

void Client::act(curl_socket_t fd, int events) {
  in_curl_ = true;
  int running = 0;
  curl_multi_socket_action(multi_.get(), fd, events, &running);
  // What one read brought for other streams may lie in curl 7.88 until something else wakes them (an expiring timer:
  // 10 s). So every stream is looked at, until none has got anything more.
  for (std::uint64_t before = 0; before != reads_;) {
    before = reads_;
    curl_multi_perform(multi_.get(), &running);
  }
  in_curl_ = false;
  settle();
}

void Client::settle_soon() {
  settle_ = loop_.after(base::Duration(0), [this] { settle(); });
}

void Client::remove(Transfer& transfer) {
  if (transfer.added) curl_multi_remove_handle(multi_.get(), transfer.easy.get());
  transfer.added = false;
}

void Client::collect_ended() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    const CURLcode code = message->data.result;
    remove(*transfer);
    if (code == CURLE_OK) {
      transfer->outcome = Status();
    } else {
      transfer->outcome = Error(cat(transfer->name, ": ", reason_of(code, transfer->reason)));
      if (!transfer->head_done) ++counters_.answers[{std::string(transfer->method()), "<error>"}];
    }
  }
}

// Calls outwards; whatever that starts or drops is only marked, so nothing moves under this loop but the vector's end.
void Client::tell_ended() {
  for (std::size_t i = 0; i < transfers_.size(); ++i) {
    Transfer& transfer = *transfers_[i];
    if (!transfer.outcome || transfer.dropped) continue;
    transfer.dropped = true;
    if (&transfer == ping_) {
      pinged(transfer);
      continue;
    }
    if (transfer.stream != nullptr) transfer.stream->ended();
    transfer.stream = nullptr;
    if (transfer.callbacks.on_end) transfer.callbacks.on_end(std::move(*transfer.outcome));
  }
}

void Client::settle() {
  if (in_curl_) return settle_soon();
  settle_.reset();
  collect_ended();
  tell_ended();
  for (const auto& transfer : transfers_) {
    if (transfer->dropped) remove(*transfer);
  }
  std::erase_if(transfers_, [](const auto& transfer) { return transfer->dropped; });
  add_waiting();
}

// One at a time may make a connection; the others become streams of it. (curl 7.88's CURLOPT_PIPEWAIT alone does not
// wait while a connection that takes no more streams, after a GOAWAY, is still known.)
void Client::add_waiting() {
  bool connecting = std::any_of(transfers_.begin(), transfers_.end(), [this](const auto& t) {
    return t->added && !t->connected && !t->outcome && t.get() != ping_;
  });
  for (const auto& transfer : transfers_) {
    if (transfer->added || transfer->outcome || (connecting && transfer.get() != ping_)) continue;
    connecting = connecting || transfer.get() != ping_;
    transfer->added = curl_multi_add_handle(multi_.get(), transfer->easy.get()) == CURLM_OK;
    transfer->sent = transfer->added;
    if (!transfer->added) transfer->outcome = Error(cat(transfer->name, ": curl cannot start it"));
    if (transfer->outcome) settle_soon();
  }
}

void Client::watch_for_silence(base::Duration delay) {
  watching_silence_ = true;
  silence_ = loop_.after(delay, [this] { check_silence(); });
}

void Client::check_silence() {
  watching_silence_ = false;
  if (transfers_.empty()) return;
  const base::Duration silent = clock_.now() - last_read_;
  if (silent < options_.read_idle) return watch_for_silence(options_.read_idle - silent);
  ping();
}

void Client::ping() {
  auto transfer = std::make_unique<Transfer>();
  ping_ = transfer.get();
  pinged_at_ = clock_.now();
  ++counters_.pings;
  watching_silence_ = true;  // pinged() goes on from here
  start(std::move(transfer), {.path = options_.ping_path, .accept = "*/*"});
  set(*ping_, CURLOPT_TIMEOUT_MS, whole<std::chrono::milliseconds>(options_.ping_timeout));
}

void Client::pinged(const Transfer& ping) {
  ping_ = nullptr;
  // Any answer will do, also 401 or 404; so does anything that came on another stream meanwhile. A ping that could not
  // be sent (a file is unreadable just now) proves nothing.
  if (ping.outcome->has_value() || ping.head_done || last_read_ > pinged_at_ || !ping.sent) {
    return watch_for_silence(options_.read_idle);
  }
  give_up_connection(Error(cat("the connection is dead: nothing received for ",
                               whole<std::chrono::milliseconds>(clock_.now() - last_read_), " ms (",
                               ping.outcome->error().message(), ")")));
}

// Everything that is on the connection fails, and curl forgets the connection with the multi handle.
void Client::give_up_connection(const Error& error) {
  ++counters_.dead_connections;
  watching_silence_ = false;
  for (const auto& transfer : transfers_) {
    if (!transfer->added) continue;
    remove(*transfer);
    if (!transfer->outcome) transfer->outcome = error.with_context(transfer->name);
  }
  sockets_.clear();
  timer_.reset();
  multi_.reset();
  if (const Status opened = open(); !opened) {
    for (const auto& transfer : transfers_) transfer->outcome = opened.error();
  }
  settle_soon();
}

}  // namespace

Result<std::unique_ptr<HttpClient>> HttpClient::create(base::Loop& loop, const base::Clock& clock, ClientConfig config,
                                                       HttpOptions options) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);  // once per process, by curl's contract
  if (global != CURLE_OK) return Error("cannot initialise libcurl");
  ServerUrl url = TRY_CONTEXT(parse_server_url(config.server), "server");
  auto client = std::make_unique<Client>(loop, clock, std::move(config), std::move(url), std::move(options));
  TRY(client->open());
  return std::unique_ptr<HttpClient>(std::move(client));
}

}  // namespace fairlead::kube
