// Connection: one HTTP/2 connection of the server, over nghttp2; and the ways it can misbehave.
//
// Server thread only. Handler calls come from inside reading or flushing; a Connection is never destroyed there: it
// posts on_closed(id), and its owner drops it then.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "tests/apiserver/request.h"
#include "tests/apiserver/socket.h"

struct nghttp2_session;

namespace fairlead::tests::apiserver {

class Connection {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void on_request(Connection& connection, std::int32_t stream, const Request& request) = 0;
    virtual void on_stream_closed(Connection& connection, std::int32_t stream) = 0;
    virtual void on_closed(std::uint64_t connection_id) = 0;
  };

  Connection(base::Loop& loop, Transport transport, Handler& handler, std::uint64_t id);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  std::uint64_t id() const { return id_; }
  bool closed() const { return closed_; }

  void respond(std::int32_t stream, Response response);
  // For a response that was kept open. A stream that is gone is no error: the client may have left.
  void push(std::int32_t stream, Piece piece);
  void finish(std::int32_t stream);

  // Misbehaviour.
  void set_rate(std::uint64_t bytes_per_second);  // of each stream that is not exempt; 0: no limit
  void set_stalled(bool stalled);                 // no DATA at all; PING is still answered
  void set_hung(bool hung);                       // neither reads nor writes
  // A DATA frame that breaks off after `part`: FIN without TLS close_notify.
  void cut_mid_frame(std::int32_t stream, std::string_view part);
  void write_garbage();  // bytes that are no HTTP/2
  void reset();          // RST

  // GOAWAY: no new stream is taken, and the connection closes once the last one has ended, perhaps now.
  void go_away(bool end_streams);

  void close();  // FIN; on_closed follows

 private:
  struct Stream;
  struct Callbacks;

  void update_interest();
  void on_ready(base::Ready ready);
  void read_all();
  void flush();
  void write_raw(std::string_view bytes);
  void resume_all();
  std::ptrdiff_t fill(Stream& stream, std::uint8_t* buffer, std::size_t limit, std::uint32_t* flags);

  base::Loop& loop_;
  Transport transport_;
  Handler& handler_;
  std::uint64_t id_;
  std::shared_ptr<nghttp2_session> session_;
  std::map<std::int32_t, std::unique_ptr<Stream>> streams_;
  std::vector<std::function<void()>> after_;
  std::string out_;
  std::size_t out_offset_ = 0;
  base::Loop::Handle watch_ = base::Loop::none();
  base::Loop::Handle refill_ = base::Loop::none();
  bool watching_write_ = false;
  bool in_callback_ = false;
  bool closed_ = false;
  bool hung_ = false;
  bool stalled_ = false;
  bool handshaken_ = false;
  std::uint64_t rate_ = 0;
};

}  // namespace fairlead::tests::apiserver
