// ConnectProxy: an HTTP proxy on loopback that knows CONNECT only (RFC 9110 section 9.3.6), on its own thread.
//
// Every method may be called from any other thread. The destructor cuts all tunnels and joins.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/loop.h"

namespace fairlead::tests::apiserver {

class ConnectProxy {
 public:
  // `refusal`: the whole answer to every request instead of a tunnel; empty: tunnels are made.
  static Result<std::unique_ptr<ConnectProxy>> start(std::string refusal = {});
  ~ConnectProxy();
  ConnectProxy(const ConnectProxy&) = delete;
  ConnectProxy& operator=(const ConnectProxy&) = delete;

  std::string url() const;                    // "http://127.0.0.1:34567"
  std::vector<std::string> requests() const;  // their first lines, one per connection

 private:
  struct Tunnel {
    base::Fd client;
    base::Fd target;
    std::string head;  // of the request, until it is complete
    base::Loop::Handle from_client = base::Loop::none();
    base::Loop::Handle from_target = base::Loop::none();
  };

  explicit ConnectProxy(std::string refusal) : refusal_(std::move(refusal)) {}
  Status listen();
  void accept_one();
  void read_client(int id);
  bool open(Tunnel& tunnel, int id, const std::string& request_line);
  void relay(int id, bool to_target);

  std::string refusal_;
  std::uint16_t port_ = 0;
  std::unique_ptr<base::Loop> loop_;
  base::Fd listener_;
  base::Loop::Handle listener_watch_ = base::Loop::none();
  std::map<int, Tunnel> tunnels_;
  int next_id_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;  // under mutex_
  std::thread thread_;
};

}  // namespace fairlead::tests::apiserver
