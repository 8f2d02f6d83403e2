// TestApiServer: a small real Kubernetes API server for tests, the demo and benchmarks: TLS, HTTP/2, list, watch and
// WatchList in JSON and protobuf, and every way such a server can misbehave.
//
// Runs on its own thread with its own Loop; every method may be called from any other thread, waits for the server
// thread and returns when the effect is there. The destructor stops it and closes its connections.
//
//   auto server = TestApiServer::start({});           // 127.0.0.1, a free port, TLS
//   server->load(parse_manifests(yaml));
//   write_file_atomically(path, server->kubeconfig());
//   server->set_endpoints("default", "web", {{"10.0.0.1"}, {"10.0.0.2"}});
//   server->set_faults({.stall = true});
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/apiserver/core.h"
#include "tests/apiserver/generate.h"
#include "tests/apiserver/manifest.h"

namespace fairlead::tests::apiserver {

struct KubeconfigOptions {
  std::string token = {};       // users[].user.token
  std::string token_file = {};  // users[].user.tokenFile
  bool client_certificate = false;
  std::string server_name = {};  // tls-server-name
  std::string host = {};         // instead of the listen address, for example "localhost"
  std::string ca_pem = {};       // instead of the server's own CA
  std::string proxy_url = {};
};

class TestApiServer {
 public:
  static Result<std::unique_ptr<TestApiServer>> start(const Options& options);
  ~TestApiServer();
  TestApiServer(const TestApiServer&) = delete;
  TestApiServer& operator=(const TestApiServer&) = delete;

  std::uint16_t port() const { return port_; }
  std::string url() const;  // "https://127.0.0.1:34567"
  const Pki& pki() const { return pki_; }
  // The first token of Options (or the client certificate, if those are asked for) unless `options` says otherwise.
  std::string kubeconfig() const;
  std::string kubeconfig(const KubeconfigOptions& options) const;

  // Objects. The resourceVersion after the change is returned.
  Result<std::uint64_t> load(std::vector<Manifest> manifests);
  Result<std::uint64_t> load_yaml(std::string_view text);
  Result<std::uint64_t> upsert(Resource resource, base::Value value);
  std::uint64_t erase(Resource resource, kube::Key key);
  // Makes these the endpoints of `service`: its slice <service>-0 is replaced, keeping its ports if it exists.
  Result<std::uint64_t> set_endpoints(const std::string& ns, const std::string& service,
                                      const std::vector<EndpointSpec>& endpoints);
  // Adds, changes (or with nullptr removes) one label of an object that exists.
  Result<std::uint64_t> set_label(Resource resource, const kube::Key& key, const std::string& label, const char* value);
  std::uint64_t version();

  // Misbehaviour (options.h).
  Status set_faults(const Faults& faults);
  void break_now(Break what);
  void compact();
  void restart(std::uint64_t first_version);
  void set_tokens(std::vector<std::string> tokens);
  void advance_version();  // as if something else in the cluster had changed
  void send_bookmarks();   // now, besides the periodic ones

  Stats stats();
  std::vector<RequestRecord> requests();
  std::vector<std::string> events();

 private:
  TestApiServer(Options options, Pki pki) : options_(std::move(options)), pki_(std::move(pki)) {}
  void call(const std::function<void(Core&)>& work);
  Result<std::uint64_t> change(const std::function<Status(Core&)>& work);

  Options options_;
  Pki pki_;
  std::unique_ptr<base::Loop> loop_;
  std::unique_ptr<Core> core_;  // used on thread_ only
  std::thread thread_;
  std::uint16_t port_ = 0;
};

}  // namespace fairlead::tests::apiserver
