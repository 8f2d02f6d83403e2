// tc: the queueing disciplines that limit one pod's bandwidth, and the filter that sends what a link receives to
// another link, as rtnetlink messages.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/netlink_message.h"

namespace fairlead::net {

// A tbf qdisc, in the kernel's units.
struct TokenBucket {
  std::uint64_t rate = 0;    // bytes per second
  std::uint32_t buffer = 0;  // ticks of 64 ns that a full bucket lasts at `rate`
  std::uint32_t limit = 0;   // bytes that wait at most, a full bucket included
  bool operator==(const TokenBucket&) const = default;
};
std::ostream& operator<<(std::ostream& out, const TokenBucket& bucket);

// A bucket of `burst` bytes that fills at `rate` bytes per second (not 0), where a packet waits `latency` microseconds
// at most. What does not fit the kernel's 32 bits is the most they hold: a burst of 274 s or more.
TokenBucket token_bucket(std::uint64_t rate, std::uint64_t burst, std::uint32_t latency);

// As the link's root, in place of whatever is there.
NetlinkMessage replace_token_bucket(std::uint32_t link, const TokenBucket& bucket);
// The ingress qdisc, where filters on received packets hang; EEXIST when it, or clsact, is there.
NetlinkMessage add_ingress(std::uint32_t link);
// Every packet `link` receives, of any protocol, goes out of `to` instead. The first filter to be asked.
NetlinkMessage add_ingress_redirect(std::uint32_t link, std::uint32_t to);
NetlinkMessage delete_ingress_redirect(std::uint32_t link);  // ENOENT or EINVAL when there is none

// The token buckets at the root of `link`: one or none.
Result<std::vector<TokenBucket>> list_token_buckets(NetlinkSocket& socket, std::uint32_t link);
// Indexes of the links that the filters on what `link` receives redirect every packet to.
Result<std::vector<std::uint32_t>> list_ingress_redirects(NetlinkSocket& socket, std::uint32_t link);

}  // namespace fairlead::net
