// Dataplane: ServiceStates in, kernel state out. One folder per implementation; each has plan (pure), apply, layout.md.
//
// Called from one worker thread, in that thread's network namespace. Every call is idempotent: the same state twice
// writes nothing. What is referred to is written before what refers to it; deletes go in reverse. A failure on one
// service is data in the Report, and the rest is applied; the caller retries.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "proxy/model/node.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::dataplane {

struct Failure {
  model::Key service;  // empty name: not one service's fault
  Error error;
  // Without a service: what failed while the services themselves are in place ("interface eth1"). Empty as well: the
  // call failed as a whole, and the services may not be in the kernel.
  std::string object{};
};

// Rules of ours in one iptables table, and how many of them the call wrote.
struct RuleCount {
  enum class Table : std::uint8_t { Filter, Nat };
  net::Family family = net::Family::V4;
  Table table = Table::Filter;
  std::uint64_t total = 0;
  std::uint64_t written = 0;
  bool operator==(const RuleCount&) const = default;
};

struct Report {
  std::uint64_t kernel_writes = 0;  // messages or map operations that changed (or tried to change) kernel state
  std::vector<Failure> failures;
  std::vector<RuleCount> rules{};  // iptables: for metrics; empty: nothing new to say
  bool ok() const { return failures.empty(); }
};

// The outcome of a feature test, in one line for people.
struct Probe {
  bool usable = false;
  std::string reason;  // why it is unusable, or what was found: "tcx, cgroup sock_addr, bpf_set_retval"
};

struct Options {
  std::string instance = "fairlead";                    // names what is ours in the kernel (nft table, pin folder)
  std::string cgroup = "/sys/fs/cgroup";                // ebpf: where socket load balancing is attached
  std::string bpf_root = "/sys/fs/bpf";                 // ebpf: a mounted bpffs; pins live in <bpf_root>/<instance>/
  std::uint32_t max_endpoints = 1U << 20;               // ebpf: slots of the endpoint pool, over all frontends
  std::uint32_t max_flows = 1U << 17;                   // ebpf: rows of the connection table, two per flow
  std::uint32_t masquerade_mark = 0x4000;               // nftables, iptables: the mark bit of packets to masquerade
  std::string iptables_flavour = "auto";                // iptables: "nft", "legacy", or what the node uses
  std::chrono::milliseconds iptables_deadline{300000};  // iptables: for one run of iptables-restore
};

class Dataplane {
 public:
  virtual ~Dataplane() = default;
  virtual std::string_view name() const = 0;  // "ebpf", "nftables", "iptables"

  // Full desired state: adopts what is in the kernel, writes only the difference. First call after start; also after
  // apply() reported failures.
  virtual Report replace(const model::NodeState& node, const std::vector<model::ServiceState>& services) = 0;
  // REQUIRES a successful replace() before. Cost follows the change.
  virtual Report apply(const model::Changes& changes) = 0;
  // Whether the kernel's connection tracking translates for it, so that entries of endpoints that are gone have to be
  // taken out there (proxy/conntrack); else it sees to its own table.
  virtual bool translates_by_conntrack() const { return true; }
  // Removes every trace; safe when there is none.
  virtual Status remove() = 0;

  // A descriptor that turns readable when the kernel side may have changed under us (a new interface, a new address,
  // a flush), or -1. The worker then calls handle_notification().
  virtual int notification_fd() const { return -1; }
  virtual Report handle_notification() { return {}; }
};

// ebpf: proxy/dataplane/ebpf/ebpf.h     nftables: proxy/dataplane/nftables/nftables.h
// iptables: proxy/dataplane/iptables/iptables.h
// Each offers:  Probe probe(const Options&);  Result<std::unique_ptr<Dataplane>> open(const Options&);

}  // namespace fairlead::proxy::dataplane
