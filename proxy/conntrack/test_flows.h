// States and conntrack entries for the tests of this folder.
#pragma once

#include <string>
#include <vector>

#include "net/conntrack/entry.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::conntrack::test {

using model::Protocol;
using net::conntrack::Entry;

inline net::Ip ip(const std::string& text) { return *net::Ip::parse(text); }

inline model::Endpoint endpoint(const std::string& address, std::uint16_t port) {
  return {.address = ip(address), .port = port, .local = false};
}

inline model::PortState port(Protocol protocol, std::vector<model::Frontend> frontends,
                             std::vector<model::Endpoint> serving) {
  model::PortState out;
  out.protocol = protocol;
  out.frontends = std::move(frontends);
  out.serving_endpoints = std::move(serving);
  return out;
}
inline model::Frontend frontend(const std::string& address, std::uint16_t number) {
  return {.kind = model::FrontendKind::ClusterIp, .address = ip(address), .port = number};
}
inline model::Frontend node_port(std::uint16_t number) {
  return {.kind = model::FrontendKind::NodePort, .address = net::Ip(), .port = number};
}
inline model::ServiceState service(const std::string& name, std::vector<model::PortState> ports) {
  model::ServiceState out;
  out.key = {"default", name};
  out.ports = std::move(ports);
  return out;
}

// A flow of 10.244.0.100:40000 to destination:port, which endpoint:target answers.
inline Entry flow(Protocol protocol, const std::string& destination, std::uint16_t port, const std::string& endpoint,
                  std::uint16_t target) {
  Entry out{.protocol = static_cast<std::uint8_t>(protocol)};
  const net::Ip client = ip(ip(destination).is_v4() ? "10.244.0.100" : "fd00::100");
  out.original = {client, ip(destination), 40000, port};
  out.reply = {ip(endpoint), client, target, 40000};
  out.status = net::conntrack::kConfirmed | net::conntrack::kSeenReply | net::conntrack::kAssured;
  if (protocol == Protocol::Tcp) out.state = 3;   // ESTABLISHED
  if (protocol == Protocol::Sctp) out.state = 4;  // ESTABLISHED
  return out;
}
// The same with the first packet sent, and nothing heard.
inline Entry unanswered(Entry entry) {
  entry.status = net::conntrack::kConfirmed;
  if (entry.protocol == net::conntrack::kTcp) entry.state = net::conntrack::kTcpSynSent;
  if (entry.protocol == net::conntrack::kSctp) entry.state = net::conntrack::kSctpCookieWait;
  return entry;
}

}  // namespace fairlead::proxy::conntrack::test
