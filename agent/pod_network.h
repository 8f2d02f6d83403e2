// PodNetwork: the agent's part in wiring pods. It installs the CNI binary, writes the network configuration the
// container runtime reads once pods can be served, and says whether they can. The binary works without the agent;
// STATUS asks it.
//
// What is written is a pure function of options and facts. Loop thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/ip.h"
#include "net/links.h"

namespace fairlead::agent {

enum class PodLink : std::uint8_t { Bridge, Routed };
enum class OnExit : std::uint8_t { Leave, Remove };

struct PodNetworkOptions {
  std::string conf_dir;  // the runtime's, "/etc/cni/net.d"; empty: pods are somebody else's
  std::string bin_dir;   // the runtime's, "/opt/cni/bin"; empty: the binary is installed already
  std::string binary;    // fairlead-cni, to be installed
  std::string status_socket;
  std::string network = "fairlead";  // the configuration's name: host-local keeps its addresses by it
  PodLink link = PodLink::Bridge;
  std::string bridge = "cni0";
  std::uint32_t mtu = 0;                     // 0: that of the way to the other nodes
  std::vector<net::Prefix> cluster_cidrs{};  // pods reach these with their own address
  OnExit on_exit = OnExit::Leave;
  std::string namespaces_of;  // a process of the host, where the agent has namespaces of its own; empty: it has not
  base::Duration gc_period = std::chrono::minutes(1);
  bool operator==(const PodNetworkOptions&) const = default;
};

struct PodNetworkFacts {
  bool services_in_kernel = false;       // the first sync is done
  std::string node;                      // its name
  std::vector<net::Prefix> pod_cidrs{};  // of the Node object
  std::uint32_t mtu = 0;
  bool operator==(const PodNetworkFacts&) const = default;
};

// Of the link that has one of the node's addresses; else the smallest of those that lead anywhere; 0: none. The pods'
// own link, which has an address of `pod_cidrs`, leads nowhere: its MTU is what comes out of this.
std::uint32_t path_mtu(const net::Links& links, const std::vector<net::Ip>& node_addresses,
                       const std::vector<net::Prefix>& pod_cidrs = {});

// The conflist. The Error says what is missing for pods to be served.
Result<std::string> conflist(const PodNetworkOptions& options, const PodNetworkFacts& facts);

class PodNetwork {
 public:
  explicit PodNetwork(PodNetworkOptions options);

  // Installs the binary by rename, so that a runtime that is just executing it is not disturbed; nothing when it is
  // there already. As `loopback` too, which containerd asks for, unless somebody's is there.
  Status install_binary() const;

  // Installs the binary if that has not been done, then writes the conflist when these facts allow it and it is not
  // there word for word. One that an earlier run wrote, or that older facts allowed, stays: running pods keep working
  // by it. True when it was written.
  Result<bool> update(const PodNetworkFacts& facts);

  // Why ADD cannot be served; nothing when it can.
  const std::optional<std::string>& refusal() const { return refusal_; }
  std::string conf_path() const;
  // What the options ask for at the end.
  Status leave() const;
  // True when a conflist was there.
  Result<bool> remove_conflist() const;

 private:
  const PodNetworkOptions options_;
  std::optional<std::string> refusal_;
  bool installed_ = false;
  std::uint32_t mtu_ = 0;  // the last that was known
};

}  // namespace fairlead::agent
