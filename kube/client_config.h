// ClientConfig: where the API server is and who we are to it. Filled by kubeconfig.h (a file, or the pod's own
// identity).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fairlead::kube {

// PEM text, in memory or in a file. A file is read again for every request, so a rotated one is picked up.
struct Pem {
  std::string data;  // used when not empty
  std::string file;
  bool empty() const { return data.empty() && file.empty(); }
  bool operator==(const Pem&) const = default;
};

Result<std::string> read_pem(const Pem& pem);

struct ClientConfig {
  std::string server;  // "https://host:port", perhaps with a path in front of the API's
  Pem ca;              // empty: the system's authorities
  Pem client_certificate;
  Pem client_key;
  std::string token;
  std::string token_file;       // its content goes before `token`; read again on rotation
  std::string tls_server_name;  // the name to ask for and to verify, when not the URL's host
  bool insecure_skip_tls_verify = false;
  std::string proxy_url;  // empty: https_proxy and no_proxy of the environment
  bool operator==(const ClientConfig&) const = default;
};

// A server URL taken apart. The error names the text and what is allowed.
struct ServerUrl {
  bool tls = true;
  std::string host;  // without the brackets of an IPv6 address
  std::uint16_t port = 443;
  std::string path;               // "" or "/prefix", without a slash at the end
  std::string authority() const;  // "host:port", "[host]:port"
  bool is_loopback() const;
  bool operator==(const ServerUrl&) const = default;
};
Result<ServerUrl> parse_server_url(std::string_view text);

// A proxy's URL as it may be shown: without "user:password@".
std::string without_credentials(std::string_view url);

}  // namespace fairlead::kube
