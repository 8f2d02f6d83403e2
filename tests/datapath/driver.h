// Driver: how a testbed's nodes get the services of a scenario. agent_driver() is the real thing: an agent per node
// that reads one directory of manifests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tests/datapath/agent_process.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {

class Driver {
 public:
  virtual ~Driver() = default;
  // The complete set of Services and EndpointSlices. Returns when every node has brought it to its kernel.
  virtual Status apply(std::vector<base::Value> objects) = 0;
  // The complete set of Nodes and ServiceCIDRs, likewise; at first cluster_manifests() of the usual cluster.
  virtual Status set_cluster(std::vector<base::Value> objects) = 0;
  // For a failed test: logs and state.
  virtual std::string diagnosis() = 0;
  // Ends it and takes everything back out of the nodes. An Error when that went wrong. Once.
  virtual Status stop() = 0;
};

class AgentDriver final : public Driver {
 public:
  // Starts an agent on every node, with these flags besides, and waits until each has synced.
  static Result<std::unique_ptr<AgentDriver>> create(Testbed& testbed, const std::string& dataplane,
                                                     const std::vector<std::string>& flags = {});
  // Without stop(), agents are killed by the destructor of their processes and nothing is cleaned up.

  Status apply(std::vector<base::Value> objects) override;
  Status set_cluster(std::vector<base::Value> objects) override;
  Status write(std::vector<base::Value> objects);  // as apply(), not waiting
  std::string diagnosis() override;
  Status stop() override;  // SIGTERM, then `cleanup` on each node
  AgentProcess& agent(unsigned node) { return *agents_[node - 1]; }
  std::size_t agents() const { return agents_.size(); }

 private:
  AgentDriver(Testbed& testbed, std::string directory) : testbed_(testbed), directory_(std::move(directory)) {}

  // Replaces a file of manifests, unless it says that already, and waits until every agent has it in its kernel.
  Status change(const std::string& file, std::string& known, std::string document);

  Testbed& testbed_;
  std::string directory_;  // of manifests
  std::string document_;   // services, as last written
  std::string cluster_;    // nodes and ServiceCIDRs, as last written
  std::vector<std::unique_ptr<AgentProcess>> agents_;
};

}  // namespace fairlead::testbed
