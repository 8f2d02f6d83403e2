// Stage: a cluster of two nodes with an agent each, which follow a test API server in a namespace of its own; one
// service, "web", that no event touches; and loads on it that must not notice what goes on.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tests/apiserver/server.h"
#include "tests/chaos/history.h"
#include "tests/datapath/agent_process.h"
#include "tests/datapath/testbed.h"

namespace fairlead::tests::chaos {

inline constexpr unsigned kNodes = 2;

// The nodes and addresses of the testbed, for histories.
Universe universe();

class Stage {
 public:
  // The API server has "web" and `objects`, and both agents have all of it in their kernels.
  static Result<std::unique_ptr<Stage>> create(const std::string& dataplane, std::vector<apiserver::Manifest> objects);

  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  testbed::Testbed& bed() { return *bed_; }
  apiserver::TestApiServer& server() { return *server_; }
  testbed::AgentProcess& agent(unsigned node) { return *agents_[node - 1]; }
  const std::string& dataplane() const { return dataplane_; }

  Status write(const Event& event);  // to the API server
  // Everything up to History::marker(count) is in the kernel of that node.
  Status wait_for_marker(unsigned node, unsigned count, testbed::milliseconds limit);

 private:
  explicit Stage(std::string dataplane) : dataplane_(std::move(dataplane)) {}
  Status build(std::vector<apiserver::Manifest> objects);
  Status start_server();

  std::string dataplane_;
  std::unique_ptr<testbed::Testbed> bed_;
  std::unique_ptr<apiserver::TestApiServer> server_;
  std::string kubeconfig_;
  std::vector<std::unique_ptr<testbed::AgentProcess>> agents_;
};

struct Loading {
  std::string name;  // "new TCP connections to the ClusterIP"
  std::unique_ptr<testbed::Load> load;
  testbed::LoadReport last{};
};
inline constexpr unsigned kLoadTimeoutMs = 3000;
// How long the nodes' connection tracking remembers what nobody answered. By default it is minutes, in which a client
// of few ports comes again from one that a damage spoiled.
inline constexpr unsigned kForgetSeconds = 2;
// On service "web": ClusterIP and NodePort, TCP in new and in standing connections, UDP, both families.
Result<std::vector<Loading>> start_loads(Stage& stage);

}  // namespace fairlead::tests::chaos
