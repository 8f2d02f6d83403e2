// The client side: one connection (or UDP socket) and requests over it; attempt() opens, asks and closes.
#pragma once

#include <string>
#include <vector>

#include "tests/datapath/probe/sockets.h"

namespace fairlead::testbed::probe {

class Connection {
 public:
  explicit Connection(const ConnectSpec& spec) : spec_(spec) {}
  // Each returns "" or an error kind, within spec.timeout_ms.
  std::string open();
  std::string ask(Attempt& answer);       // "who"; fills answer, source, source_port, local, peer
  std::string transfer(Attempt& answer);  // spec.bytes each way
  std::string provoke();                  // has the server send a segment out of the window
  bool datagrams() const { return spec_.to.transport == Transport::Udp; }
  bool is_open() const { return static_cast<bool>(fd_); }
  void close();

 private:
  bool unconnected() const {
    return spec_.style == SocketStyle::Unconnected || spec_.style == SocketStyle::MappedUnconnected;
  }
  std::string send_error(int errno_value) const;
  std::string send_all(std::string_view data, Deadline deadline);
  std::string receive_some(Deadline deadline);  // appends to received_
  std::string receive_line(std::string& line, Deadline deadline);
  std::string receive_datagram(std::string& line, Attempt& answer, Deadline deadline);
  Deadline deadline() const;

  ConnectSpec spec_;
  base::Fd fd_;
  SocketAddress to_;
  std::string received_;
};

Attempt attempt(const ConnectSpec& spec);
// spec.count attempts by spec.parallel threads.
std::vector<Attempt> attempts(const ConnectSpec& spec);

}  // namespace fairlead::testbed::probe
