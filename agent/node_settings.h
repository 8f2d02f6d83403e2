// node_settings: what kube-proxy sets on the node beside rules: limits and timeouts of conntrack. The plan is pure; the
// node's files are behind a seam.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "agent/kube_proxy_config.h"
#include "base/result.h"

namespace fairlead::agent {

enum class Bound : std::uint8_t { Exactly, AtLeast };
struct NodeSetting {
  std::string file;  // "/proc/sys/net/netfilter/nf_conntrack_max"
  std::int64_t value = 0;
  Bound bound = Bound::Exactly;
  bool essential = true;  // whoever cannot set it, and needs it, has to end
  bool operator==(const NodeSetting&) const = default;
};
std::ostream& operator<<(std::ostream& out, const NodeSetting& setting);

// What the section conntrack asks for on a node of so many CPUs; durations become whole seconds.
std::vector<NodeSetting> conntrack_settings(const KubeProxyConfiguration& configuration, unsigned cpus);

// Those of `wanted` that the node does not have yet. `present`: file -> value; what is not in there is not written.
std::vector<NodeSetting> to_write(const std::vector<NodeSetting>& wanted,
                                  const std::map<std::string, std::int64_t>& present);

class NodeFiles {
 public:
  virtual ~NodeFiles() = default;
  virtual Result<std::string> read(const std::string& file) = 0;
  virtual Status write(const std::string& file, const std::string& text) = 0;
};

class KernelFiles final : public NodeFiles {
 public:
  Result<std::string> read(const std::string& file) override;
  Status write(const std::string& file, const std::string& text) override;
};

struct Tuned {
  std::vector<NodeSetting> written;
  std::vector<std::string> absent;    // files that the kernel does not have (conntrack is not loaded)
  std::vector<std::string> warnings;  // what could not be set, and is not essential
};
// The Error names the file, the value it has and the one it needs. What can be set is set all the same.
Result<Tuned> tune(NodeFiles& files, const std::vector<NodeSetting>& wanted);

}  // namespace fairlead::agent
