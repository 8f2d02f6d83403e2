// NetlinkMessage: one netlink request put together by hand, for the few that no library of ours makes; and the socket
// that sends it in the calling thread's network namespace and gathers the answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead::net {

class NetlinkMessage {
 public:
  // NLM_F_REQUEST comes by itself; `flags` NLM_F_DUMP for many answers, NLM_F_ACK for none.
  NetlinkMessage(std::uint16_t type, std::uint16_t flags);

  // The protocol's own header (nfgenmsg, genlmsghdr, ifinfomsg), before any attribute.
  template <typename T>
  NetlinkMessage& header(const T& value) {
    return bytes(&value, sizeof value);
  }
  NetlinkMessage& attribute(std::uint16_t type, std::string_view value);
  NetlinkMessage& text(std::uint16_t type, std::string_view value);  // with its terminating zero
  // Nothing may follow it in the message.
  std::string finished() const;

 private:
  NetlinkMessage& bytes(const void* data, std::size_t size);
  std::string data_;
};

// Bodies (behind nlmsghdr) of the answers. An Error carries the kernel's errno.
Result<std::vector<std::string>> netlink_request(int protocol, const NetlinkMessage& message);

// The value of the first attribute `type` in `attributes`; empty when there is none.
std::string_view netlink_attribute(std::string_view attributes, std::uint16_t type);

}  // namespace fairlead::net
