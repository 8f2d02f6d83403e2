// UDP flows in the kernel's connection tracking that a change of host ports leaves behind: they keep their translation
// for as long as packets come, so a client that never stops sending would never reach the new pod (RFC 768 knows no
// end of a flow). By ctnetlink messages made by hand.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"

namespace fairlead::cni {

// Where packets to a UDP host port go now.
struct UdpPort {
  net::Family family = net::Family::V4;
  std::optional<net::Ip> host_ip;  // empty: any address of the host
  std::uint16_t host_port = 0;
  net::Ip pod;
  bool operator==(const UdpPort&) const = default;
};

// A flow as far as it is looked at.
struct UdpFlow {
  net::Ip destination;  // as the client sent it
  std::uint16_t port = 0;
  net::Ip answers_from;  // the pod, when it was translated to one
  std::string tuple;     // CTA_TUPLE_ORIG as it was read
  std::string zone;      // CTA_ZONE
};

// To `port`, and by a translation that is not of today.
bool is_stale(const UdpFlow& flow, const UdpPort& port, const std::function<bool(const net::Ip&)>& is_local);
// To `port` and translated to its pod.
bool is_served(const UdpFlow& flow, const UdpPort& port);

// Ends them in the calling thread's network namespace. Nothing happens without ports.
Status end_stale_flows(const std::vector<UdpPort>& ports);
Status end_served_flows(const std::vector<UdpPort>& ports);

}  // namespace fairlead::cni
