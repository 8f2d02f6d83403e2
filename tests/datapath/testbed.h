// Testbed: a small cluster of network namespaces.
//
//   client 172.18.0.100 ----+
//                           |  underlay: a bridge in a namespace of its own; 172.18.0.254 is a gateway that swallows
//   node<n> 172.18.0.<n> ---+  what reaches it, so an address nobody serves is silent
//      |  a veth per pod, wired by the CNI binary: routed (/32 and /128), or on the bridge cni0
//   pod<n>a 10.244.<n>.10, pod<n>b 10.244.<n>.11, ...
//
// IPv6 beside it: fd00:172:18::<n>, fd00:10:244:<n>::10. Nodes know each other's pod prefix (host-gw), the client knows
// only the underlay. Each node has a cgroup for all its processes and a bpffs of its own. The root namespace is never
// touched, so any number of testbeds stand side by side.
//
// One thread uses a testbed. It is removed by its destructor, by its reaper process when this process dies (also by
// SIGKILL), and else by the next sweep() (remains.h). About 100 ms to build three nodes with two pods each.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/subprocess.h"
#include "net/ip.h"
#include "tests/datapath/namespaces.h"
#include "tests/datapath/probe_spec.h"
#include "tests/datapath/process.h"

namespace fairlead::testbed {

enum class PodLink : std::uint8_t { Routed, Bridged };

struct Topology {
  unsigned nodes = 3;  // at most 9
  unsigned pods_per_node = 2;
  PodLink pod_link = PodLink::Routed;
};

// The host's end of a pod's veth: the same in every testbed.
std::string host_interface(const std::string& pod);
inline constexpr char kPodBridge[] = "cni0";  // of PodLink::Bridged

// Where a process stands towards its node's cgroup: outside, no socket hook of the eBPF dataplane sees it.
enum class Membership : std::uint8_t { Inside, Outside };

// Anything with a network namespace: "client", "node1", "pod1a".
struct Place {
  std::string name;
  unsigned node = 0;  // 0: the client
  net::Ip v4;
  net::Ip v6;
  std::string cgroup;  // of processes inside
  std::unique_ptr<NetNamespace> netns;

  const net::Ip& ip(net::Family family) const { return family == net::Family::V4 ? v4 : v6; }
};

// Requests in the background (LoadSpec) until stopped.
class Load {
 public:
  explicit Load(Process process) : process_(std::move(process)) {}
  Result<LoadReport> next_report(milliseconds limit);  // with LoadSpec::report_every_ms
  Result<LoadReport> stop();                           // the final counts

 private:
  Process process_;
};

class Testbed {
 public:
  static Result<std::unique_ptr<Testbed>> create(const Topology& topology = {});
  ~Testbed();
  Testbed(const Testbed&) = delete;
  Testbed& operator=(const Testbed&) = delete;

  const std::string& prefix() const { return prefix_; }
  std::string dir() const;  // /run/<prefix>: for sockets, manifests, state; goes with the testbed
  unsigned nodes() const { return topology_.nodes; }
  // The addresses by which pods see a node: with PodLink::Bridged its own pods see the bridge's.
  Result<std::vector<net::Ip>> node_addresses(unsigned node, net::Family family);
  std::string node_dir(unsigned node) const;     // <dir>/node<n>
  std::string bpf_root(unsigned node) const;     // <dir>/node<n>/bpf, a bpffs
  std::string node_cgroup(unsigned node) const;  // holds the node's and its pods' processes
  std::string log_path(std::string_view name) const;

  Result<Place*> place(const std::string& name);
  std::vector<const Place*> places() const;
  std::vector<const Place*> pods() const;  // ordered by node and name
  Result<Place*> add_pod(unsigned node);
  // Something else on the underlay, for nodes and client to reach: 172.18.0.<number> and IPv6; 110 to 199.
  Result<Place*> add_host(const std::string& name, unsigned number);

  // Another address of a place, on eth0, which it uses for nothing of its own accord.
  Status add_address(const std::string& at, const net::Ip& address);
  Status delete_address(const std::string& at, const net::Ip& address);
  // A route at `from` to `to` through a node's underlay address.
  Status route_via_node(const std::string& from, const net::Prefix& to, unsigned node);

  Result<Process> start(const std::string& at, const std::vector<std::string>& argv, const std::string& log_name,
                        Pipes pipes = Pipes::None, Membership membership = Membership::Inside);
  // Runs a program to its end, in the namespace and cgroup of `at`.
  Result<base::ProcessOutput> run(const std::string& at, const std::vector<std::string>& argv,
                                  milliseconds limit = std::chrono::seconds(30));
  Status run_in(const std::string& at, const std::function<Status()>& work);

  // A server that answers with the place's name; replaces the one that ran there under `key`. One process, no matter
  // how many listeners ("[::]:8080/tcp" takes both families).
  Status serve(const std::string& at, const std::vector<std::string>& listeners, const std::string& key = "");
  void stop_server(const std::string& at, const std::string& key = "");

  Result<std::vector<Attempt>> connect(const std::string& from, const ConnectSpec& spec,
                                       Membership membership = Membership::Inside);
  // `count` ports below the ephemeral ones and the node ports that were not given out lately. A UDP flow from a port
  // that was in use a moment ago may rightly go where it went before.
  std::uint16_t take_source_ports(unsigned count);
  Result<std::unique_ptr<Load>> start_load(const std::string& from, const LoadSpec& spec,
                                           Membership membership = Membership::Inside);

  // Leaves everything standing when this object goes.
  Status keep();

 private:
  Testbed(Topology topology, std::string prefix, const std::string& cgroup_root);
  Status build();
  Status start_reaper();
  Status make_directories(unsigned node);
  Result<Place*> add_place(Place place, const Sysctls& sysctls);
  Status add_underlay();
  Status plug_into_underlay(Place& place, int port_index);
  Status add_node(unsigned node);
  Status add_client();
  Result<Place*> plug_pod(unsigned node);
  Status wire(const Place& pod);
  Status wait_until_links_are_up();
  Result<Process*> prober(const std::string& from, Membership membership);

  Topology topology_;
  std::string prefix_;
  std::string cgroup_;
  bool kept_ = false;
  std::optional<Process> reaper_;
  std::unique_ptr<NetNamespace> underlay_;
  std::map<std::string, Place> places_;
  std::map<unsigned, unsigned> pod_counts_;           // by node
  std::vector<std::pair<NetNamespace*, int>> links_;  // made and not yet seen up
  std::map<std::pair<std::string, Membership>, Process> probers_;
  std::map<std::pair<std::string, std::string>, Process> servers_;
  unsigned loads_ = 0;
  unsigned next_source_port_ = 10000;
};

}  // namespace fairlead::testbed
