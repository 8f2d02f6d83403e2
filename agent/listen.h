// Listen: an address to listen on, as kube-proxy's bind addresses are written.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "net/ip.h"

namespace fairlead::agent {

struct Listen {
  net::Ip address;
  std::uint16_t port = 0;  // 0: any free one
  bool operator==(const Listen&) const = default;
};

// "IP:PORT", "[IP]:PORT" for IPv6, or an IP alone, which gets `default_port`.
std::optional<Listen> parse_listen(std::string_view text, std::uint16_t default_port);

}  // namespace fairlead::agent
