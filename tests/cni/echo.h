// echo: who answers a TCP connection, and whom it takes the client for.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "tests/cni/host.h"

namespace fairlead::cnitest {

// Listens on [::]:80 in a container's network namespace and tells every client its name and the client's address.
class EchoServer {
 public:
  static Result<std::unique_ptr<EchoServer>> start(const CniHost& host, const std::string& container);
  ~EchoServer();

 private:
  EchoServer(base::Fd listener, std::string name);
  base::Fd listener_;
  std::string name_;
  std::thread thread_;
};

// "c1 sees 10.1.0.1", or "refused", "silence". `from`: a container, or "" for the host's namespace; `to`:
// "10.1.0.2:80", "[fd00::2]:80".
Result<std::string> ask(const CniHost& host, const std::string& from, const std::string& to);

}  // namespace fairlead::cnitest
