// Review: what one pass over the kernel's connection table has to look for, and the verdict on one entry. Pure.
//
// An established flow stays with the endpoint that conntrack gave it, whatever the rules say by now. For TCP that is
// what everybody wants; a UDP client that keeps one source port would be sent to a dead pod for ever (kubernetes v1.36
// pkg/proxy/conntrack; docs/adr/0012). So when frontends or endpoints change, and the new rules are in place, entries
// that these would not make any more are deleted, and their next packet is looked at afresh.
#pragma once

#include <compare>
#include <cstdint>
#include <iosfwd>
#include <map>
#include <unordered_map>
#include <vector>

#include "net/conntrack/entry.h"
#include "net/ip.h"
#include "proxy/model/node.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::conntrack {

// A frontend, as the first packet of a flow shows it.
struct Place {
  net::Family family = net::Family::V4;
  model::Protocol protocol = model::Protocol::Udp;
  net::Ip address;  // unset (::) for NodePort
  std::uint16_t port = 0;
  auto operator<=>(const Place&) const = default;
};

struct Target {
  net::Ip address;
  std::uint16_t port = 0;
  auto operator<=>(const Target&) const = default;
};

struct Wanted {
  // No Service has the frontend any more: whatever it was translated to, it should not be. What was never translated
  // is somebody else's.
  bool gone = false;
  std::vector<Target> serving{};  // else flows may stay with these; sorted, each once
  bool operator==(const Wanted&) const = default;
};

// Where NodePorts are answered, beside the address being local (model::NodeState).
struct NodePortAddresses {
  std::vector<net::Prefix> in{};
  bool localhost = false;
  bool operator==(const NodePortAddresses&) const = default;
};

struct Review {
  std::map<Place, Wanted> frontends{};  // entries to any other destination are not looked at
  NodePortAddresses node_ports{};
  bool empty() const { return frontends.empty(); }
  bool operator==(const Review&) const = default;
};
// Merge law: the later word on a frontend wins.
void merge(Review& earlier, Review&& later);
std::ostream& operator<<(std::ostream& out, const Review& review);

// A Review, to be asked about entry after entry.
class Judge {
 public:
  // `local`: the addresses of this network namespace.
  Judge(const Review& review, const std::vector<net::Ip>& local);
  // UDP: whether the entry leads elsewhere than the rules would lead it now. TCP and SCTP: that, and nobody has
  // answered yet, so that no connection is lost.
  bool stale(const net::conntrack::Entry& entry) const;

 private:
  struct Hash {
    std::size_t operator()(const Place& place) const;
  };
  const Wanted* wanted(const net::conntrack::Entry& entry, model::Protocol protocol) const;
  bool answers_node_ports(const net::Ip& address, bool translated) const;

  std::unordered_map<Place, const Wanted*, Hash> frontends_;  // into the Review, which must outlive this
  const NodePortAddresses& node_ports_;
  std::vector<net::Ip> local_;  // sorted
};

}  // namespace fairlead::proxy::conntrack
