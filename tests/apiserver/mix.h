// mix: what makes a generated cluster a mixed one, by the number of a service. All of it is dual-stack; out of ten
// services two are NodePort, one is a LoadBalancer with source ranges and without node ports, two have ClientIP
// affinity, one is NodePort with externalTrafficPolicy Local, and four are plain. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "net/ip.h"

namespace fairlead::tests::apiserver {

enum class Mix : std::uint8_t { Plain, NodePort, SourceRanges, Affinity, LocalPolicy };
Mix mix_of(std::uint32_t service);

// Three of ten services have one, which the default range of 2,768 cannot hold at 10,000: 10,000 and up.
std::uint16_t mixed_node_port(std::uint32_t service);
net::Ip mixed_cluster_ip6(std::uint32_t service);                           // of fd00:10:96::/108
net::Ip mixed_load_balancer_ip(std::uint32_t service, net::Family family);  // of 198.18.0.0/15, fd00:198:18::/96
net::Ip mixed_endpoint6(std::uint32_t endpoint);                            // of fd00:10:128::/96
std::vector<net::Prefix> mixed_source_ranges();                             // two of each family
inline constexpr std::uint32_t kMostMixed = 66'000;                         // services, for want of node ports

}  // namespace fairlead::tests::apiserver
