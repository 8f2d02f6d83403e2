// World (tests only): a node, two pods and an external client as network namespaces without names, a cgroup and a
// bpffs of their own. Nothing outlives the process but what the destructor removes: cgroup and folder.
//
//   client 192.0.2.10 --- 192.0.2.1 node 10.1.0.1 --- pods 10.1.0.11, 10.1.0.12      (IPv6: fd00:2:: and fd00:1::)
//   far pod 10.2.0.21 lies behind the client's link, as if on another node
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::proxy::dataplane::ebpf::testing {

enum class Place { Node, Pod1, Pod2, Client, FarPod };
enum class Cgroup { Inside, Outside };

class World {
 public:
  World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  Options options() const;
  static std::string address(Place place, net::Family family);

  // Runs `work` in a child process there, and returns what it returned; "signal N" when it died.
  std::string run(Place place, Cgroup cgroup, const std::function<std::string()>& work) const;
  // Runs a shell command there; throws with its output when it fails.
  std::string shell(Place place, const std::string& command) const;
  // A server that answers each TCP connection and each datagram with "<name> <client address>", datagrams
  // with as many bytes as they have; until the end.
  void serve(Place place, std::uint16_t port, const std::string& name);
  void enter(Place place) const;  // the calling thread

 private:
  base::Fd& ns(Place place) { return namespaces_[static_cast<std::size_t>(place)]; }
  int ns_fd(Place place) const { return namespaces_[static_cast<std::size_t>(place)].get(); }
  void join(Place a, const std::string& name_a, Place b, const std::string& name_b) const;

  std::vector<base::Fd> namespaces_;
  base::Fd home_;
  std::string bpffs_;
  std::string cgroup_;
  std::vector<pid_t> servers_;
};

// What a client saw: "name client-address" as the server told, or "error: ..." with the errno text.
struct Ask {
  std::string to;
  std::uint16_t port = 0;
  bool udp = false;
  bool connect = true;     // UDP: connect() first, else sendto()
  bool v6_socket = false;  // AF_INET6 socket, `to` may be v4-mapped
  std::uint16_t from_port = 0;
  bool show_peer = false;  // append " peer=<getpeername or recvfrom address>"
  std::size_t payload_bytes = 1;
  int timeout_ms = 3000;
};
std::string ask(const Ask& ask);

}  // namespace fairlead::proxy::dataplane::ebpf::testing
