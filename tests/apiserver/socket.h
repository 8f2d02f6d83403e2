// Sockets and TLS as non-blocking byte streams: what a Connection reads and writes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "tests/apiserver/pki.h"

struct ssl_ctx_st;
struct ssl_st;

namespace fairlead::tests::apiserver {

// The port stays ours while nobody listens on it: `anchor` is bound to it too, so a refusing server answers RST and can
// listen again later.
struct ListenAddress {
  std::string host;  // "127.0.0.1", "::"
  std::uint16_t port = 0;
  base::Fd anchor;
};
Result<ListenAddress> reserve(std::string_view address_and_port);  // "127.0.0.1:0", "[::]:6443"
Result<base::Fd> listen_on(const ListenAddress& address);

class TlsContext {
 public:
  // ALPN h2; asks for a client certificate and lets any or none pass: the request decides (401), as upstream does.
  static Result<TlsContext> create(const Pki& pki);
  ssl_ctx_st* get() const { return context_.get(); }

 private:
  explicit TlsContext(std::shared_ptr<ssl_ctx_st> context) : context_(std::move(context)) {}
  std::shared_ptr<ssl_ctx_st> context_;
};

class Transport {
 public:
  // Plain when `tls` is null.
  Transport(base::Fd fd, const TlsContext* tls);

  enum class State { Ok, WouldBlock, Closed };
  struct Outcome {
    State state = State::Ok;
    std::size_t bytes = 0;
  };
  Outcome read(std::span<char> buffer);
  Outcome write(std::string_view bytes);

  int fd() const { return fd_.get(); }
  bool speaks_h2() const;           // once the handshake is over
  std::string client_name() const;  // CN of the client certificate if it verified against our CA

  void reset();  // RST instead of FIN

 private:
  Outcome tls_outcome(int result);
  base::Fd fd_;
  std::shared_ptr<ssl_st> ssl_;
};

}  // namespace fairlead::tests::apiserver
