// Cluster: the testbed with its servers, its source of Services and an agent per node: what every act of the demo plays
// on. Everything goes when it goes.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/datapath/agent_process.h"
#include "tests/datapath/testbed.h"
#include "tests/demo/manifests.h"
#include "tests/demo/source.h"

namespace fairlead::demo {

// The service whose endpoints the demo changes.
struct Subject {
  kube::Key key;
  std::uint16_t port = 0;
  std::uint16_t node_port = 0;
  std::uint16_t target_port = 0;
  net::Ip v4;
  net::Ip v6;

  testbed::Target cluster_ip(net::Family family) const {
    return {.ip = family == net::Family::V4 ? v4 : v6, .port = port};
  }
};

class Cluster {
 public:
  static Result<std::unique_ptr<Cluster>> build(const std::string& manifests_directory);

  Status start_servers();  // every pod listens on every port that a slice names
  Status open_source(bool api);
  Status start_agents(const std::string& dataplane);

  testbed::Testbed& testbed() { return *testbed_; }
  std::vector<const testbed::Place*> pods() const { return testbed_->pods(); }
  const Manifests& manifests() const { return manifests_; }
  bool has_source() const { return source_ != nullptr; }
  const Source& source() const { return *source_; }  // REQUIRES open_source()
  const Subject& subject() const { return subject_; }
  testbed::AgentProcess& agent(unsigned node) { return *agents_[node - 1]; }
  unsigned nodes() const { return static_cast<unsigned>(agents_.size()); }

  // The name of the place with this address, else "".
  std::string place_at(const net::Ip& ip) const;
  std::string place_at(const std::string& ip) const;
  testbed::Target node_port(unsigned node, net::Family family) const;
  testbed::Target pod_port(const std::string& pod) const;  // the subject's server in that pod
  std::vector<std::string> ready_pods() const;             // of the subject, as the manifests have it now
  Status stop_server(const std::string& pod);
  Status start_server(const std::string& pod);

  // Edits the subject's slices. Returns when the edit went out; its effect comes later.
  Result<std::chrono::steady_clock::time_point> set_pods(const std::vector<std::string>& ready,
                                                         const std::vector<std::string>& not_ready = {});
  // Until every agent has brought the subject's present ready endpoints to its kernel.
  Status wait_until_applied();

 private:
  explicit Cluster(Manifests manifests) : manifests_(std::move(manifests)) {}
  Status find_subject();
  Result<bool> applied_at(unsigned node, std::size_t ready);

  Manifests manifests_;
  Subject subject_;
  std::vector<std::string> listeners_;
  std::unique_ptr<testbed::Testbed> testbed_;
  std::unique_ptr<Source> source_;
  std::vector<std::unique_ptr<testbed::AgentProcess>> agents_;
  std::vector<std::uint64_t> generations_;  // before the last edit
};

}  // namespace fairlead::demo
