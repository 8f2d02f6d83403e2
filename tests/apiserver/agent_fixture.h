// What the integration tests put before the test API server: kube's client as the agent uses it, on the test's thread,
// with every time span in milliseconds.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "kube/api_source.h"
#include "kube/kubeconfig.h"
#include "kube/store.h"
#include "tests/apiserver/server.h"

namespace fairlead::tests::apiserver {

inline constexpr const char* kNode = "node-0";

struct AgentOptions {
  kube::Encoding encoding = kube::Encoding::Protobuf;
  KubeconfigOptions identity = {};
  std::string kubeconfig = {};                    // instead of the one made from `identity`
  std::optional<kube::ClientConfig> config = {};  // instead of any kubeconfig
  kube::ReflectorOptions reflector = {};
  kube::HttpOptions http = {};
  base::Duration patience = std::chrono::seconds(60);
  std::size_t largest_item = std::size_t{16} << 20;
};

class Agent {
 public:
  Agent(TestApiServer& server, const AgentOptions& options);

  // Runs the loop until `condition` holds; false after five seconds.
  bool wait_for(const std::function<bool()>& condition);
  bool wait_until_synced();
  // All four reflectors are in a watch that has its initial events behind it, and the server knows.
  bool wait_until_watching();
  // The newest state of the server's services has arrived.
  bool has_service(const std::string& ns, const std::string& name) const;
  std::size_t endpoints_of(const std::string& ns, const std::string& service) const;

  kube::ReflectorStatus status(kube::Kind kind) const { return source_->status()[static_cast<std::size_t>(kind)]; }
  std::uint64_t errors() const;
  std::uint64_t relists() const;
  std::string last_errors() const;                   // for failure messages
  bool has_complained(std::string_view text) const;  // some error so far says so
  kube::Store& store() { return store_; }
  const kube::HttpClient::Counters& http() const { return http_->counters(); }

 private:
  TestApiServer& server_;
  base::SystemClock clock_;
  std::unique_ptr<base::Loop> loop_;
  std::vector<std::string> complaints_;
  kube::Store store_;
  std::unique_ptr<kube::HttpClient> http_;
  std::unique_ptr<kube::ApiSource> source_;
};

// Queries of the requests for `plural` so far, "list rv=0" or "watch rv=1001 initial".
std::vector<std::string> request_lines(TestApiServer& server, const std::string& plural);

}  // namespace fairlead::tests::apiserver
