// endpoints: which endpoints a service port has, and which of them may be sent to (kubernetes v1.36
// pkg/proxy/topology.go). Pure; n log n in the endpoints of one service.
#pragma once

#include <string_view>
#include <vector>

#include "kube/objects.h"
#include "proxy/model/resolve.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::model {

// An endpoint of one service port with the conditions decided: absent ready and serving mean true, absent
// terminating means false.
struct Candidate {
  net::Ip address;
  std::uint16_t port = 0;
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  bool local = false;
  const kube::Endpoint* source = nullptr;  // for the hints
};

// Every endpoint of (name, protocol) in one family, one per address and port, in that order. `slices` are in key order.
std::vector<Candidate> collect(const std::vector<const kube::EndpointSlice*>& slices, std::string_view port_name,
                               Protocol protocol, net::Family family, const NodeView& node);

// Which sets the frontends of a service port draw from.
struct Wanted {
  bool cluster = true;
  bool local = false;
};
struct Selection {
  std::vector<Endpoint> cluster;
  std::vector<Endpoint> local;
  std::vector<Endpoint> serving;  // whatever was wanted
  bool any = false;               // somewhere in the cluster there is an endpoint that could answer
};
Selection select(const std::vector<Candidate>& candidates, Wanted wanted, const NodeView& node);

// Over all slices that have one of `ports`, by distinct address; of a dual-stack service the fuller family, so that a
// pod counts once.
EndpointCounts count(const std::vector<kube::ServicePort>& ports, const std::vector<const kube::EndpointSlice*>& slices,
                     const NodeView& node);

}  // namespace fairlead::proxy::model
