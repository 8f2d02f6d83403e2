// AgentProcess: one fairlead-agent on a node of the testbed, its life and what it says of itself.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/subprocess.h"
#include "tests/datapath/process.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {

// The part of GET /v1/status that tests wait for.
struct AgentStatus {
  bool synced = false;
  std::string dataplane;
  std::uint64_t generation = 0;  // batches of changes seen
  std::uint64_t applied = 0;     // the newest of them in the kernel
  std::uint64_t kernel_writes = 0;
  std::uint64_t first_sync_writes = 0;
  std::uint64_t services = 0;
  std::uint64_t failing = 0;
  std::string error;
  std::string text;  // all of it
  bool settled() const { return synced && applied == generation && failing == 0 && error.empty(); }
};

class AgentProcess {
 public:
  // `source`: {"--manifests", DIR} or {"--kubeconfig", FILE}.
  AgentProcess(Testbed& testbed, unsigned node, std::string dataplane, std::vector<std::string> source);

  Status start();   // until it has synced
  Status launch();  // not waiting
  Status wait_until_settled(milliseconds limit = std::chrono::seconds(60));
  Status wait_for(const std::function<bool(const AgentStatus&)>& condition, std::string_view what,
                  milliseconds limit = std::chrono::seconds(60));
  Result<AgentStatus> status() const;
  Status terminate();  // SIGTERM, then its exit code must be 0
  void kill();         // SIGKILL
  bool running() { return process_ && process_->running(); }
  Process* process() { return process_ ? &*process_ : nullptr; }

  // Runs `fairlead-agent COMMAND` with this agent's flags to its end: "cleanup", "probe".
  Result<base::ProcessOutput> command(const std::string& command) const;

  void set_dataplane(std::string dataplane) { dataplane_ = std::move(dataplane); }
  unsigned node() const { return node_; }
  std::string status_socket() const;
  std::string log() const;  // of all its lives

 private:
  std::vector<std::string> arguments() const;
  std::string place() const;

  Testbed& testbed_;
  unsigned node_;
  std::string dataplane_;
  std::vector<std::string> source_;
  std::optional<Process> process_;
};

// GET over a unix socket; the body of a 200 answer.
Result<std::string> http_get(const std::string& socket_path, const std::string& path);

}  // namespace fairlead::testbed
