// LinkEvents: what happens to the links of one network namespace, as the kernel tells it (RTNLGRP_LINK). For waiting
// without asking again and again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "net/netlink_message.h"

namespace fairlead::net {

struct LinkEvent {
  std::uint32_t index = 0;
  bool deleted = false;
  std::uint8_t operstate = 0;  // IF_OPER_UP is 6
};

class LinkEvents {
 public:
  // In the calling thread's network namespace; what happens from now on is heard.
  static Result<LinkEvents> open();

  // Whether an event that is `wanted` came within `limit`. False too when the kernel had to drop some: ask it then.
  Result<bool> await(std::chrono::milliseconds limit, const std::function<bool(const LinkEvent&)>& wanted);

 private:
  explicit LinkEvents(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
};

}  // namespace fairlead::net
