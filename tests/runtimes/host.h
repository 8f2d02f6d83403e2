// What surrounds the pods: the host's plugins and network configuration, a client beyond the host, and a list of
// everything that pods leave on a host.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"
#include "tests/datapath/namespaces.h"

namespace fairlead::tests::runtimes {

// Links the plugins into /opt/cni/bin: this build's, or those of $FAIRLEAD_CNI_PLUGINS (/usr/lib/cni: the reference, by
// which the tests themselves are tested).
Status install_plugins();
bool reference_plugins();

// Those of `programs` that are not installed.
std::string missing_programs(const std::vector<std::string>& programs);

// Another host on a link with this one (192.0.2.1, 2001:db8::1), which is its default gateway.
class Outside {
 public:
  static Result<Outside> create();
  ~Outside();
  Outside(Outside&&) = default;
  Outside& operator=(Outside&&) = delete;

  static net::Ip host(net::Family family);  // the near end
  static net::Ip own(net::Family family);   // the far end

  // What a server at ip:port sends until it closes, within a few seconds and without patience: a refusal is an Error.
  Result<std::string> ask(const net::Ip& ip, std::uint16_t port) const;
  // The same, tried until it answers or ten seconds have passed: a container's server takes its time to listen.
  Result<std::string> ask_until_answered(const net::Ip& ip, std::uint16_t port) const;
  // Whom it sees as the peer of the first connection to `port` that `work` causes.
  Result<net::Ip> seen_peer(std::uint16_t port, const std::function<Status()>& work) const;

 private:
  explicit Outside(testbed::NetNamespace netns) : netns_(std::move(netns)) {}
  testbed::NetNamespace netns_;
};

// One line for each link, address, route, queueing discipline, nft rule and element, and file of /var/lib/cni,
// /run/fairlead, /run/cni and /run/netns. Without what the kernel makes of itself.
Result<std::vector<std::string>> host_state();
// "+ line" or "- line" for what has changed; empty: nothing.
std::string difference(const std::vector<std::string>& before, const std::vector<std::string>& after);

}  // namespace fairlead::tests::runtimes
