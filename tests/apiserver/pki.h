// Pki: a throw-away certificate authority with one server and one client certificate, made in memory at start
// (EC P-256; about 2 ms). Anything is text in PEM; nothing touches the disk.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::tests::apiserver {

struct KeyPair {
  std::string certificate_pem;
  std::string key_pem;
};

struct Pki {
  std::string ca_pem;
  KeyPair server;  // localhost, 127.0.0.1, ::1 and `extra_names`
  KeyPair client;  // CN=system:node:test, O=system:nodes
};

// `extra_names`: more DNS names or IP addresses for the server certificate.
Result<Pki> make_pki(const std::vector<std::string>& extra_names = {});

std::string base64(std::string_view bytes);

}  // namespace fairlead::tests::apiserver
