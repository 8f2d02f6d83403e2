#include "tests/apiserver/socket.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Result<SocketAddress> to_socket_address(const std::string& host, std::uint16_t port) {
  SocketAddress out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
  } else if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
  } else {
    return Error(cat("\"", host, "\" is no IP address"));
  }
  return out;
}

Result<base::Fd> bound_socket(const std::string& host, std::uint16_t port) {
  const SocketAddress address = TRY(to_socket_address(host, port));
  base::Fd fd(::socket(address.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno("socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (::bind(fd.get(), address.get(), address.size) != 0) {
    return Error::from_errno(cat("cannot bind ", host, " port ", port), errno);
  }
  return fd;
}

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
Bio reader(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
}

bool use_server_pair(SSL_CTX* context, const KeyPair& pair) {
  const Bio certificate_bio = reader(pair.certificate_pem);
  const Bio key_bio = reader(pair.key_pem);
  X509* certificate = PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr);
  const bool ok = certificate != nullptr && key != nullptr && SSL_CTX_use_certificate(context, certificate) == 1 &&
                  SSL_CTX_use_PrivateKey(context, key) == 1;
  X509_free(certificate);
  EVP_PKEY_free(key);
  return ok;
}

bool trust(SSL_CTX* context, const std::string& ca_pem) {
  const Bio bio = reader(ca_pem);
  X509* ca = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr);
  const bool ok = ca != nullptr && X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca) == 1;
  X509_free(ca);
  return ok;
}

int choose_h2(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in, unsigned length,
              void*) {
  static constexpr unsigned char kH2[] = "\x02h2";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, kH2, 3, in, length) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<ListenAddress> reserve(std::string_view address_and_port) {
  const std::size_t colon = address_and_port.rfind(':');
  const auto port = colon == address_and_port.npos
                        ? std::nullopt
                        : base::parse_number<std::uint16_t>(address_and_port.substr(colon + 1));
  if (!port) return Error(cat("\"", address_and_port, "\": ADDRESS:PORT expected"));
  std::string_view host = address_and_port.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  ListenAddress out{.host = std::string(host), .port = *port, .anchor = {}};
  out.anchor = TRY(bound_socket(out.host, *port));
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(out.anchor.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return Error::from_errno("getsockname", errno);
  }
  out.port = ntohs(bound.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(&bound)->sin_port
                                              : reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port);
  return out;
}

Result<base::Fd> listen_on(const ListenAddress& address) {
  base::Fd fd = TRY(bound_socket(address.host, address.port));
  if (::listen(fd.get(), 128) != 0) return Error::from_errno("listen", errno);
  return fd;
}

Result<TlsContext> TlsContext::create(const Pki& pki) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  if (!context) return Error("cannot create a TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  SSL_CTX_set_alpn_select_cb(context.get(), &choose_h2, nullptr);
  if (!use_server_pair(context.get(), pki.server) || !trust(context.get(), pki.ca_pem)) {
    return Error("cannot load the server certificate");
  }
  return TlsContext(std::move(context));
}

Transport::Transport(base::Fd fd, const TlsContext* tls) : fd_(std::move(fd)) {
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (tls == nullptr) return;
  ssl_ = std::shared_ptr<SSL>(SSL_new(tls->get()), &SSL_free);
  SSL_set_fd(ssl_.get(), fd_.get());
  SSL_set_accept_state(ssl_.get());
}

Transport::Outcome Transport::tls_outcome(int result) {
  if (result > 0) return {State::Ok, static_cast<std::size_t>(result)};
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {State::WouldBlock, 0};
  ERR_clear_error();
  return {State::Closed, 0};
}

Transport::Outcome Transport::read(std::span<char> buffer) {
  if (ssl_) {
    ERR_clear_error();
    return tls_outcome(SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size())));
  }
  const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  if (n > 0) return {State::Ok, static_cast<std::size_t>(n)};
  return {n < 0 && (errno == EAGAIN || errno == EINTR) ? State::WouldBlock : State::Closed, 0};
}

Transport::Outcome Transport::write(std::string_view bytes) {
  if (ssl_) {
    ERR_clear_error();
    return tls_outcome(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())));
  }
  const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n >= 0) return {State::Ok, static_cast<std::size_t>(n)};
  return {errno == EAGAIN || errno == EINTR ? State::WouldBlock : State::Closed, 0};
}

bool Transport::speaks_h2() const {
  if (!ssl_) return true;
  const unsigned char* protocol = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_.get(), &protocol, &length);
  return std::string_view(reinterpret_cast<const char*>(protocol), length) == "h2";
}

std::string Transport::client_name() const {
  if (!ssl_ || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return {};
  X509* certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr) return {};
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
  return name;
}

void Transport::reset() {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  ssl_.reset();
  fd_.reset();
}

}  // namespace fairlead::tests::apiserver
