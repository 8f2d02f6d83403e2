#include "tests/apiserver/mix.h"

#include <algorithm>
#include <array>

namespace fairlead::tests::apiserver {
namespace {

constexpr std::uint16_t kFirstNodePort = 10'000;

// `stem` with the last 32 bits set.
net::Ip numbered(const char* stem, std::uint32_t number) {
  std::array<std::uint8_t, 16> bytes = net::Ip::parse(stem)->bytes();
  for (unsigned i = 0; i < 4; ++i) bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  return net::Ip::from_bytes(bytes);
}

}  // namespace

Mix mix_of(std::uint32_t service) {
  constexpr std::array kMixes{Mix::NodePort,    Mix::NodePort, Mix::SourceRanges, Mix::Affinity, Mix::Affinity,
                              Mix::LocalPolicy, Mix::Plain,    Mix::Plain,        Mix::Plain,    Mix::Plain};
  return kMixes[service % kMixes.size()];
}

std::uint16_t mixed_node_port(std::uint32_t service) {
  const std::uint32_t within = std::min(service % 10, 2U);  // 0, 1, and 5 as 2
  return static_cast<std::uint16_t>(kFirstNodePort + service / 10 * 3 + within);
}

net::Ip mixed_cluster_ip6(std::uint32_t service) { return numbered("fd00:10:96::", service + 10); }

net::Ip mixed_load_balancer_ip(std::uint32_t service, net::Family family) {
  const std::uint32_t number = service / 10 + 1;
  if (family == net::Family::V6) return numbered("fd00:198:18::", number);
  return net::Ip::v4(198, static_cast<std::uint8_t>(18 + (number >> 16)), static_cast<std::uint8_t>(number >> 8),
                     static_cast<std::uint8_t>(number));
}

net::Ip mixed_endpoint6(std::uint32_t endpoint) { return numbered("fd00:10:128::", endpoint + 1); }

std::vector<net::Prefix> mixed_source_ranges() {
  std::vector<net::Prefix> ranges;
  for (const char* text : {"10.128.0.0/9", "192.0.2.0/24", "2001:db8::/32", "fd00:10:128::/48"})
    ranges.push_back(*net::Prefix::parse(text));
  return ranges;
}

}  // namespace fairlead::tests::apiserver
