// Traffic: several loads on the cluster at once, counted. Loads are processes inside the cgroup of their place, so that
// the socket hooks of the eBPF dataplane see them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/datapath/probe_spec.h"
#include "tests/datapath/testbed.h"
#include "tests/demo/cluster.h"
#include "tests/demo/screen.h"

namespace fairlead::demo {

struct Flow {
  std::string name;
  std::string from;
  testbed::Target to;
  bool long_lived = false;  // one connection per worker; else a new one for every request
  unsigned workers = 4;
  unsigned rate = 200;
};

struct FlowReport {
  Flow flow;
  testbed::LoadReport load;
  // Of long-lived connections: those that broke. A request that failed was the last of its connection.
  std::uint64_t lost() const;
};

class Traffic {
 public:
  static Result<Traffic> start(Cluster& cluster, const std::vector<Flow>& flows);
  Result<std::vector<FlowReport>> stop();

 private:
  struct Running {
    Flow flow;
    std::unique_ptr<testbed::Load> load;
  };
  std::vector<Running> running_;
};

// New and long-lived connections from a pod of the node to the ClusterIP, and from the client to its NodePort.
std::vector<Flow> flows_through(const Cluster& cluster, unsigned node);

Table traffic_table(const std::vector<FlowReport>& reports);
std::uint64_t requests_of(const std::vector<FlowReport>& reports);
std::uint64_t failures_of(const std::vector<FlowReport>& reports);
std::uint64_t answers_of(const std::vector<FlowReport>& reports, const std::string& pod);

}  // namespace fairlead::demo
