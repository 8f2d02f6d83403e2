// CurlClient: a plain HTTP client for the server's own tests, independent of kube/. Blocking, one connection.
// curl itself stays inside curl_client_test.cc.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/apiserver/server.h"

namespace fairlead::tests::apiserver {

struct Reply {
  int status = 0;
  int http_version = 0;                        // 2
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
  bool ended = false;  // in good order; false: cut off, or given up by `until`
  std::string error;   // curl's words when it failed
};

class CurlClient {
 public:
  struct Identity {
    std::string token = {};
    bool client_certificate = false;
    std::string ca_pem = {};  // instead of the server's own
    std::string host = {};    // instead of 127.0.0.1
  };
  explicit CurlClient(const TestApiServer& server) : CurlClient(server, Identity()) {}
  CurlClient(const TestApiServer& server, Identity identity);
  ~CurlClient();

  Reply get(const std::string& path, const std::string& accept = "application/json");
  Reply send(const std::string& method, const std::string& path, const std::string& body);
  // Reads until `until`, given all of the body so far, is true; at most five seconds, and then it is false for good.
  Reply stream(const std::string& path, const std::function<bool(const std::string&)>& until,
               const std::string& accept = "application/json");
  // How long a request may take; for servers that do not answer.
  void set_patience(std::chrono::milliseconds patience) { patience_ = patience; }

 private:
  Reply perform(const std::string& method, const std::string& path, const std::string& accept, const std::string* body,
                const std::function<bool(const std::string&)>* until);
  const TestApiServer& server_;
  Identity identity_;
  std::chrono::milliseconds patience_{5000};
  std::shared_ptr<void> handle_;
};

// The events of a JSON watch so far, as "ADDED default/web", "BOOKMARK 1007", "ERROR 410 Expired".
std::vector<std::string> watch_events(const std::string& body);

}  // namespace fairlead::tests::apiserver
