// The configuration of the host-local plugin, as the reference reads it (containernetworking plugins v1.1.1,
// plugins/ipam/host-local/backend/allocator/config.go).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cni-plugin/call.h"
#include "ipam/ranges.h"

namespace fairlead::cni {

struct HostLocalConfig {
  std::vector<ipam::RangeSet> sets;  // runtimeConfig.ipRanges, ipam.subnet, ipam.ranges
  std::vector<net::Ip> wanted;       // of CNI_ARGS, args.cni.ips and runtimeConfig.ips
  std::vector<Route> routes;
  std::string resolv_conf;  // a path; empty: none
};

Result<HostLocalConfig> read_host_local(const Call& call);

// Alone, so that what is held can be given back whatever became of the rest. Default /var/lib/cni/networks.
Result<std::string> host_local_data_dir(const Call& call);

// The lines of resolv.conf(5) that a result carries.
Dns parse_resolv_conf(std::string_view text);

}  // namespace fairlead::cni
