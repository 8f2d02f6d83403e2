#include "tests/apiserver/connection.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace fairlead::tests::apiserver {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kOutputChunk = std::size_t{256} << 10;
constexpr base::Duration kRefillPeriod = 10ms;
// As a real server drops a watcher that does not keep up.
constexpr std::size_t kQueueLimit = std::size_t{1} << 20;

}  // namespace

struct Connection::Stream {
  Request request;
  std::deque<Piece> queue;
  std::size_t offset = 0;    // into the front piece
  std::uint64_t budget = 0;  // bytes it may send before the next refill, when the rate is limited
  bool responded = false;
  bool ended = false;
  bool deferred = false;
  bool exempt = false;
};

struct Connection::Callbacks {
  static Connection& self(void* user) { return *static_cast<Connection*>(user); }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      self(user).streams_[frame->hd.stream_id] = std::make_unique<Stream>();
    }
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    const auto it = self(user).streams_.find(frame->hd.stream_id);
    if (it == self(user).streams_.end()) return 0;
    const std::string key(reinterpret_cast<const char*>(name), name_size);
    std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":method") {
      it->second->request.method = std::move(text);
    } else if (key == ":path") {
      parse_target(text, it->second->request);
    } else {
      it->second->request.headers[key] = std::move(text);
    }
    return 0;
  }

  static int on_data_chunk(nghttp2_session*, std::uint8_t, std::int32_t stream_id, const std::uint8_t* data,
                           std::size_t size, void* user) {
    const auto it = self(user).streams_.find(stream_id);
    if (it != self(user).streams_.end()) it->second->request.body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }

  static int on_frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                      (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA);
    const auto it = self(user).streams_.find(frame->hd.stream_id);
    if (!ends || it == self(user).streams_.end()) return 0;
    Request& request = it->second->request;
    request.client_name = self(user).transport_.client_name();
    self(user).handler_.on_request(self(user), frame->hd.stream_id, request);
    return 0;
  }

  static int on_stream_close(nghttp2_session*, std::int32_t stream_id, std::uint32_t, void* user) {
    if (self(user).streams_.erase(stream_id) > 0) self(user).handler_.on_stream_closed(self(user), stream_id);
    return 0;
  }

  static ssize_t read_data(nghttp2_session*, std::int32_t stream_id, std::uint8_t* buffer, std::size_t limit,
                           std::uint32_t* flags, nghttp2_data_source*, void* user) {
    const auto it = self(user).streams_.find(stream_id);
    if (it == self(user).streams_.end()) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return self(user).fill(*it->second, buffer, limit, flags);
  }
};

Connection::Connection(base::Loop& loop, Transport transport, Handler& handler, std::uint64_t id)
    : loop_(loop), transport_(std::move(transport)), handler_(handler), id_(id) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, &Callbacks::on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::on_data_chunk);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Callbacks::on_frame_recv);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::on_stream_close);
  nghttp2_session* session = nullptr;
  nghttp2_session_server_new(&session, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  session_ = std::shared_ptr<nghttp2_session>(session, &nghttp2_session_del);
  const std::array settings{nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 250}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  update_interest();
}

Connection::~Connection() = default;

void Connection::update_interest() {
  if (closed_ || hung_) {
    watch_.reset();
    return;
  }
  const bool want_write = out_.size() > out_offset_;
  if (watch_ && want_write == watching_write_) return;
  watching_write_ = want_write;
  watch_ = loop_.watch(transport_.fd(), want_write ? base::Interest::ReadWrite : base::Interest::Read,
                       [this](base::Ready ready) { on_ready(ready); });
}

void Connection::on_ready(base::Ready ready) {
  if (ready.readable) read_all();
  flush();
  for (const auto& work : std::exchange(after_, {})) work();
}

void Connection::read_all() {
  std::array<char, 16384> buffer;
  for (int round = 0; round < 16 && !closed_; ++round) {  // then let the others have their turn
    const Transport::Outcome got = transport_.read(buffer);
    if (got.state == Transport::State::WouldBlock) return;
    if (got.state == Transport::State::Closed || (!handshaken_ && !transport_.speaks_h2())) return close();
    handshaken_ = true;
    in_callback_ = true;
    const ssize_t used =
        nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const std::uint8_t*>(buffer.data()), got.bytes);
    in_callback_ = false;
    if (used < 0) return close();
  }
}

void Connection::flush() {
  if (in_callback_ || closed_ || hung_) return;
  for (;;) {
    while (out_.size() < kOutputChunk) {
      const std::uint8_t* data = nullptr;
      in_callback_ = true;
      const ssize_t size = nghttp2_session_mem_send(session_.get(), &data);
      in_callback_ = false;
      if (size <= 0) break;
      out_.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(size));
    }
    if (out_.size() == out_offset_) break;
    const Transport::Outcome sent = transport_.write(std::string_view(out_).substr(out_offset_));
    if (sent.state == Transport::State::Closed) return close();
    if (sent.state == Transport::State::WouldBlock) break;
    out_offset_ += sent.bytes;
    if (out_offset_ == out_.size()) {
      out_.clear();
      out_offset_ = 0;
    }
  }
  if (out_.empty() && nghttp2_session_want_read(session_.get()) == 0 &&
      nghttp2_session_want_write(session_.get()) == 0) {
    return close();
  }
  update_interest();
}

std::ptrdiff_t Connection::fill(Stream& stream, std::uint8_t* buffer, std::size_t limit, std::uint32_t* flags) {
  if (!stream.exempt) {
    if (stalled_) limit = 0;
    if (rate_ > 0) limit = static_cast<std::size_t>(std::min<std::uint64_t>(limit, stream.budget));
  }
  std::size_t filled = 0;
  const auto copy = [&](std::string_view part, std::size_t& skip) {
    const std::size_t from = std::min(skip, part.size());
    skip -= from;
    const std::size_t size = std::min(part.size() - from, limit - filled);
    std::memcpy(buffer + filled, part.data() + from, size);
    filled += size;
  };
  while (filled < limit && !stream.queue.empty()) {
    const Piece& piece = stream.queue.front();
    const std::size_t before = filled;
    std::size_t skip = stream.offset;
    copy(piece.head, skip);
    if (piece.body) copy(*piece.body, skip);
    copy(piece.tail, skip);
    stream.offset += filled - before;
    if (stream.offset == piece.size()) {
      stream.queue.pop_front();
      stream.offset = 0;
    }
  }
  if (!stream.exempt && rate_ > 0) stream.budget -= filled;
  if (stream.queue.empty() && stream.ended) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  } else if (filled == 0) {
    stream.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<std::ptrdiff_t>(filled);
}

void Connection::respond(std::int32_t stream_id, Response response) {
  const auto it = streams_.find(stream_id);
  if (it == streams_.end() || it->second->responded || closed_) return;
  Stream& stream = *it->second;
  stream.responded = true;
  stream.queue = std::move(response.pieces);
  stream.ended = !response.keep_open;
  stream.exempt = response.exempt;
  if (response.after) after_.push_back(std::move(response.after));
  response.headers.emplace_back(":status", std::to_string(response.status));
  std::rotate(response.headers.rbegin(), response.headers.rbegin() + 1, response.headers.rend());
  std::vector<nghttp2_nv> headers;
  for (auto& [name, value] : response.headers) {
    headers.push_back({reinterpret_cast<std::uint8_t*>(name.data()), reinterpret_cast<std::uint8_t*>(value.data()),
                       name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  nghttp2_data_provider provider{};
  provider.read_callback = &Callbacks::read_data;
  nghttp2_submit_response(session_.get(), stream_id, headers.data(), headers.size(), &provider);
  flush();
}

void Connection::push(std::int32_t stream_id, Piece piece) {
  const auto it = streams_.find(stream_id);
  if (it == streams_.end() || it->second->ended || closed_) return;
  it->second->queue.push_back(std::move(piece));
  if (it->second->queue.size() > kQueueLimit) it->second->ended = true;
  if (std::exchange(it->second->deferred, false)) nghttp2_session_resume_data(session_.get(), stream_id);
  flush();
}

void Connection::finish(std::int32_t stream_id) {
  const auto it = streams_.find(stream_id);
  if (it == streams_.end() || closed_) return;
  it->second->ended = true;
  if (std::exchange(it->second->deferred, false)) nghttp2_session_resume_data(session_.get(), stream_id);
  flush();
}

void Connection::resume_all() {
  for (auto& [id, stream] : streams_) {
    if (std::exchange(stream->deferred, false)) nghttp2_session_resume_data(session_.get(), id);
  }
  flush();
}

void Connection::set_rate(std::uint64_t bytes_per_second) {
  rate_ = bytes_per_second;
  refill_.reset();
  if (rate_ > 0) {
    // At least a byte per period; no saving up beyond a tenth of a second.
    refill_ = loop_.every(kRefillPeriod, [this] {
      for (auto& [id, stream] : streams_) {
        stream->budget = std::min(stream->budget + std::max<std::uint64_t>(1, rate_ / 100),  //
                                  std::max<std::uint64_t>(1, rate_ / 10));
      }
      resume_all();
    });
  }
  resume_all();
}

void Connection::set_stalled(bool stalled) {
  stalled_ = stalled;
  if (!stalled) resume_all();
}

void Connection::set_hung(bool hung) {
  hung_ = hung;
  update_interest();
  if (!hung) flush();
}

// Best effort: the socket buffer of a connection that is about to break has room for a few hundred bytes.
void Connection::write_raw(std::string_view bytes) {
  if (out_.size() > out_offset_) transport_.write(std::string_view(out_).substr(out_offset_));
  transport_.write(bytes);
}

void Connection::cut_mid_frame(std::int32_t stream_id, std::string_view part) {
  if (closed_) return;
  flush();
  // A DATA frame (RFC 9113 section 6.1) that announces 1,000 bytes more than it carries.
  const std::size_t announced = part.size() + 1000;
  std::string frame;
  for (int shift = 16; shift >= 0; shift -= 8) frame.push_back(static_cast<char>((announced >> shift) & 0xff));
  frame.append(2, '\0');  // type DATA, no flags
  for (int shift = 24; shift >= 0; shift -= 8) frame.push_back(static_cast<char>((stream_id >> shift) & 0xff));
  frame.append(part);
  write_raw(frame);
  close();
}

void Connection::write_garbage() {
  if (closed_) return;
  flush();
  std::string noise;
  for (unsigned i = 0; i < 256; ++i) noise.push_back(static_cast<char>((i * 167 + 13) & 0xff));
  write_raw(noise);
}

void Connection::reset() {
  if (closed_) return;
  watch_.reset();
  transport_.reset();
  close();
}

void Connection::go_away(bool end_streams) {
  if (closed_) return;
  const std::int32_t last = nghttp2_session_get_last_proc_stream_id(session_.get());
  nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0);
  for (auto& [id, stream] : streams_) stream->ended = stream->ended || end_streams;
  resume_all();
}

void Connection::close() {
  if (std::exchange(closed_, true)) return;
  watch_.reset();
  refill_.reset();
  loop_.post([&handler = handler_, id = id_] { handler.on_closed(id); });
}

}  // namespace fairlead::tests::apiserver
