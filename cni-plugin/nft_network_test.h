// A host with two bridges and three pods, and a machine outside, each a network namespace; and sockets in them. What a
// test asserts is who is reached, and whom the server sees.
//
//   outside 192.0.2.2 ---- eth0 192.0.2.1 host  cni0 10.1.0.1/24 -- a 10.1.0.5, b 10.1.0.6
//                                               cni1 10.3.0.1/24 -- c 10.3.0.5
//
// IPv6 beside it: fd00:2::, fd00:1::, fd00:3::. The host ends of the veths are called va, vb, vc. The namespaces have
// no names: they go with the process.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "cni-plugin/plugin.h"
#include "tests/datapath/namespaces.h"

namespace fairlead::cni::testing {

using net::Family;
using net::Ip;

inline Ip ip(const std::string& text) { return Ip::parse(text).value(); }

// A server on one port of any address of a namespace.
class Server {
 public:
  Server(int netns_fd, int type, std::uint16_t port);
  int fd() const { return fd_.get(); }

 private:
  base::Fd fd_;
};

class Network : public ::testing::Test {
 protected:
  void SetUp() override;

  int in(const std::string& place) { return places_.at(place).fd(); }
  std::string address(const std::string& place, Family family = Family::V4);
  // On the host; expects success.
  void on_host(const std::function<Status()>& work);
  Status status_on_host(const std::function<Status()>& work) { return testbed::in_namespace(in("host"), work); }
  void run_on_host(const std::string& command);  // by a shell
  std::string output_on_host(const std::string& command);

  // The address that the server sees of a client in `place`; empty when nothing comes for seconds.
  std::string seen_tcp(const Server& server, const std::string& place, const std::string& to, std::uint16_t port);
  std::string seen_udp(const Server& server, const std::string& place, const std::string& to, std::uint16_t port);

  // Nothing comes for a while; what was sent stays unanswered.
  bool silent_tcp(const Server& server, const std::string& place, const std::string& to, std::uint16_t port);
  bool silent_udp(const Server& server, const std::string& place, const std::string& to, std::uint16_t port);

  // Datagrams of one socket: which server gets the next one; empty when none does.
  base::Fd udp_client(const std::string& place);
  std::string receiver(const base::Fd& client, const std::string& to, std::uint16_t port,
                       const std::map<std::string, const Server*>& servers, bool expected = true);

  // A call about pod `place` ("a") behind the bridge plugin. `config` is JSON.
  Call call(const std::string& place, const std::string& config, const std::string& container = {});

 private:
  base::Fd start(const std::string& place, int type, const std::string& to, std::uint16_t port);
  testbed::NetNamespace& make(const std::string& name);
  void plug(const std::string& pod, int bridge, const std::string& net4, const std::string& net6, int host);
  std::map<std::string, testbed::NetNamespace> places_;
};

}  // namespace fairlead::cni::testing
