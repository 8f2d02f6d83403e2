// What fairlead-probe is asked (as command line) and what it answers (as JSON), shared by both sides.
//
// A server answers the line "who" with "NAME PEER-IP PEER-PORT LOCAL-IP LOCAL-PORT", so that a test sees which
// endpoint a connection reached and which source address the endpoint saw.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "net/ip.h"

namespace fairlead::testbed {

enum class Transport : std::uint8_t { Tcp, Udp, Sctp };
std::string_view to_string(Transport transport);  // "tcp", "udp", "sctp"

struct Target {
  net::Ip ip;
  std::uint16_t port = 0;
  Transport transport = Transport::Tcp;
  static Result<Target> parse(std::string_view text);  // "10.96.0.1:80/tcp", "[fd00::1]:53/udp"
  std::string to_string() const;
  bool operator==(const Target&) const = default;
};

// How the client's socket is used.
enum class SocketStyle : std::uint8_t {
  Connected,
  Unconnected,  // UDP with sendto()/recvfrom()
  Mapped,       // an AF_INET6 socket to ::ffff:a.b.c.d
  MappedUnconnected,
};

struct ConnectSpec {
  Target to;
  SocketStyle style = SocketStyle::Connected;
  unsigned count = 1;
  unsigned parallel = 1;
  unsigned timeout_ms = 1000;     // of one attempt
  std::uint16_t source_port = 0;  // of the first attempt, counting up; 0: any
  std::uint32_t bytes = 0;        // TCP: this many up, then down, verified; UDP: size of the datagrams both ways
  unsigned requests = 1;          // lines over one connection; all must be answered by the same server
  // TCP: after the first line the server sends a segment that no window takes in, as a faulty peer would.
  bool invalid_segment = false;
  bool operator==(const ConnectSpec&) const = default;
};

struct Attempt {
  std::string answer;  // the server's name; empty when there was an error
  std::string source;  // the client's address as the server saw it
  std::uint16_t source_port = 0;
  std::string local;  // the address and port that the server was reached at
  std::string peer;   // what the client sees: getpeername(), or where the datagram came from
  std::string error;  // "", "refused", "timeout", "reset", "unreachable", "closed", "corrupt", or the errno's text
  std::uint32_t latency_us = 0;
  bool operator==(const Attempt&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Attempt& attempt);

// Requests over time, each counted.
struct LoadSpec {
  Target to;
  SocketStyle style = SocketStyle::Connected;
  bool long_lived = false;  // one connection per worker for the whole time; else a new one for every request
  unsigned parallel = 1;    // workers
  unsigned rate = 100;      // requests per second, all workers together
  unsigned timeout_ms = 2000;
  unsigned seconds = 0;          // 0: until the input is closed
  unsigned report_every_ms = 0;  // 0: only the final report
};

struct LoadReport {
  std::uint64_t requests = 0;
  std::uint64_t answered = 0;
  std::uint64_t connections = 0;                 // opened; a long-lived worker that lost its connection opens another
  std::map<std::string, std::uint64_t> answers;  // by server name
  std::map<std::string, std::uint64_t> reached;  // by the address and port that it was reached at
  std::map<std::string, std::uint64_t> errors;   // by kind, as Attempt::error
  std::uint32_t p50_us = 0;
  std::uint32_t p99_us = 0;
  std::uint32_t max_us = 0;
  std::uint64_t failed() const { return requests - answered; }
};
std::ostream& operator<<(std::ostream& out, const LoadReport& report);

std::vector<std::string> to_arguments(const ConnectSpec& spec);
Result<ConnectSpec> connect_spec_from(const std::vector<std::string>& arguments);
std::vector<std::string> to_arguments(const LoadSpec& spec);
Result<LoadSpec> load_spec_from(const std::vector<std::string>& arguments);

base::Value to_value(const std::vector<Attempt>& attempts);
Result<std::vector<Attempt>> attempts_from(const base::Value& value);
base::Value to_value(const LoadReport& report);
Result<LoadReport> load_report_from(const base::Value& value);

}  // namespace fairlead::testbed
