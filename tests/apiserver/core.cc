#include "tests/apiserver/core.h"

#include <sys/socket.h>
#include <time.h>

#include <cerrno>
#include <vector>

#include "base/strings.h"
#include "tests/apiserver/generate.h"

namespace fairlead::tests::apiserver {
namespace {

// A field with a wire type that does not exist, inside a frame of the right length.
Piece garbage_event(Encoding encoding) {
  if (encoding == Encoding::Json) return {.head = "{\"type\":\"ADDED\",\"object\":{\"metadata\":[]]}}\n"};
  return {.head = std::string("\0\0\0\x0a", 4) + std::string(10, '\xff')};
}

Piece oversized_event(Encoding encoding, std::uint64_t size) {
  if (encoding == Encoding::Protobuf) return {.head = std::string("\xff\xff\xff\xf0\x0a\x05", 6) + "ADDED"};
  return {.head = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"" + std::string(size, 'a')};
}

Piece unknown_event(const Api::Watch& watch, std::uint64_t version) {
  Piece piece = encode_bookmark(watch.encoding, watch.resource, version, false);
  const std::size_t at = piece.head.find("BOOKMARK");
  piece.head.replace(at, 8, "SURPRISE");
  return piece;
}

std::string first_half(const Piece& piece) {
  std::string text = piece.head + (piece.body ? *piece.body : std::string()) + piece.tail;
  text.resize(text.size() / 2);
  return text;
}

}  // namespace

Core::Core(base::Loop& loop, const Options& options, ListenAddress address)
    : loop_(loop),
      options_(options),
      address_(std::move(address)),
      cluster_(options.first_version, options.history),
      api_(loop, cluster_, options) {
  api_.admin = [this](const Request& request) { return handle_admin(*this, request); };
  bookmark_timer_ = loop_.every(options_.bookmark_period, [this] { api_.send_bookmarks(); });
}

Core::~Core() = default;

Result<std::unique_ptr<Core>> Core::create(base::Loop& loop, const Options& options, const Pki& pki) {
  std::unique_ptr<Core> core(new Core(loop, options, TRY(reserve(options.listen))));
  if (options.tls) core->tls_ = TRY(TlsContext::create(pki));
  TRY(core->start_listening());
  return core;
}

Status Core::start_listening() {
  if (listener_) return {};
  listener_ = TRY(listen_on(address_));
  listener_watch_ = loop_.watch(listener_.get(), base::Interest::Read, [this](base::Ready) { accept_all(); });
  return {};
}

void Core::accept_all() {
  for (int round = 0; round < 64; ++round) {
    base::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    const std::uint64_t id = ++accepted_;
    auto connection = std::make_unique<Connection>(loop_, Transport(std::move(fd), tls_ ? &*tls_ : nullptr), *this, id);
    apply_faults(*connection);
    connections_.emplace(id, std::move(connection));
  }
}

void Core::apply_faults(Connection& connection) {
  connection.set_rate(faults().bytes_per_second);
  connection.set_stalled(faults().stall);
  connection.set_hung(faults().hang);
}

Status Core::load(std::vector<Manifest> manifests) {
  for (Manifest& manifest : manifests) {
    const std::string* name = manifest.value["metadata"]["name"].as_string();
    const std::string label = base::cat(info(manifest.resource).kind, " ", name != nullptr ? *name : "(no name)");
    TRY_CONTEXT(cluster_.upsert(manifest.resource, std::move(manifest.value)), label);
  }
  return {};
}

Status Core::set_endpoints(const std::string& ns, const std::string& service,
                           const std::vector<EndpointSpec>& endpoints) {
  base::Value::Array items;
  for (const EndpointSpec& endpoint : endpoints) {
    items.push_back(make_endpoint(endpoint.address, endpoint.node, endpoint.zone));
  }
  const bool ipv6 = !endpoints.empty() && endpoints.front().address.find(':') != std::string::npos;
  const ObjectPtr existing =
      cluster_.find(Resource::EndpointSlices, kube::Key{.ns = ns, .name = base::cat(service, "-0")});
  base::Value slice = existing ? existing->value() : make_slice({.ns = ns, .service = service}, 0, {}, ipv6);
  member(slice, "endpoints") = base::Value(std::move(items));
  TRY(cluster_.upsert(Resource::EndpointSlices, std::move(slice)));
  return {};
}

Status Core::set_faults(const Faults& faults, base::Duration lasting) {
  api_.set_faults(faults);
  heal_timer_.reset();
  if (lasting > base::Duration::zero()) {
    heal_timer_ = loop_.after(lasting, [this] { (void)set_faults(Faults{}); });
  }
  if (faults.refuse) {
    listener_watch_.reset();
    listener_.reset();
    reset_all();
    return {};
  }
  for (auto& [id, connection] : connections_) apply_faults(*connection);
  return start_listening();
}

void Core::reset_all() {
  for (auto& [id, connection] : connections_) connection->reset();
}

void Core::break_now(Break what) {
  if (what == Break::Reset) return reset_all();
  if (what == Break::GarbageFrames) {
    for (auto& [id, connection] : connections_) connection->write_garbage();
    return;
  }
  if (what == Break::GoAway || what == Break::GoAwayLater) {
    for (auto& [id, connection] : connections_) connection->go_away(what == Break::GoAway);
    return;
  }
  api_.for_each_watch([&](const Api::Watch& watch) { break_watch(what, watch); });
}

void Core::break_watch(Break what, const Api::Watch& watch) {
  Connection& connection = *watch.connection;
  const std::int32_t stream = watch.stream;
  const auto error = [&](const StatusReply& reply) {
    connection.push(stream, encode_error_event(watch.encoding, reply));
    connection.finish(stream);
  };
  const Piece event = encode_bookmark(watch.encoding, watch.resource, cluster_.version(), false);
  switch (what) {
    case Break::CutMidFrame: return connection.cut_mid_frame(stream, first_half(event));
    case Break::CutMidEvent: connection.push(stream, {.head = first_half(event)}); return connection.finish(stream);
    case Break::GarbageEvents: return connection.push(stream, garbage_event(watch.encoding));
    case Break::OversizedEvent:
      return connection.push(stream, oversized_event(watch.encoding, faults().oversized_bytes));
    case Break::UnknownEvent: return connection.push(stream, unknown_event(watch, cluster_.version()));
    case Break::EndWatches: return connection.finish(stream);
    case Break::ExpireWatches: return error(expired("1", cluster_.version()));
    case Break::ThrottleWatches: return error(too_many_requests(faults().retry_after_seconds));
    case Break::FailWatches: return error({.code = 500, .reason = "InternalError", .message = "injected by the test"});
    case Break::GoAway:
    case Break::GoAwayLater:
    case Break::Reset:
    case Break::GarbageFrames: return;  // whole connections: break_now
  }
}

void Core::compact() {
  cluster_.compact();
  api_.forget_pages();
}

void Core::restart(std::uint64_t first_version) {
  cluster_.restart(first_version);
  api_.forget_pages();
  reset_all();
}

Stats Core::stats() const {
  Stats stats = api_.stats();
  stats.connections = accepted_;
  stats.open_connections = connections_.size();
  timespec cpu{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  stats.cpu = std::chrono::seconds(cpu.tv_sec) + std::chrono::nanoseconds(cpu.tv_nsec);
  return stats;
}

void Core::on_request(Connection& connection, std::int32_t stream, const Request& request) {
  api_.handle(connection, stream, request);
}

void Core::on_stream_closed(Connection& connection, std::int32_t stream) { api_.forget(connection, stream); }

void Core::on_closed(std::uint64_t connection_id) {
  api_.forget(connection_id);
  connections_.erase(connection_id);
}

}  // namespace fairlead::tests::apiserver
