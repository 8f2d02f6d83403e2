// NetResult: what a plugin did, free of versions. It is read from and written as the JSON of every version from 0.1.0
// to 1.1.0 (containernetworking SPEC.md "Result types").
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "net/ip.h"

namespace fairlead::cni {

struct Interface {
  std::string name{};
  std::string mac{};
  std::string sandbox{};  // path of the network namespace; empty: the host's
  std::uint32_t mtu = 0;  // 0: not told
  std::string socket_path{};
  std::string pci_id{};
  bool operator==(const Interface&) const = default;
};

struct IpConfig {
  std::optional<std::uint32_t> interface {};  // index into NetResult::interfaces
  net::InterfaceAddress address{};            // host bits kept: 10.1.0.5/24
  std::optional<net::Ip> gateway{};
  bool operator==(const IpConfig&) const = default;
};

struct Route {
  net::Prefix destination{};
  std::optional<net::Ip> gateway{};  // absent: the first address' gateway of that family
  std::optional<std::uint32_t> mtu{}, advmss{}, priority{}, table{}, scope{};
  bool operator==(const Route&) const = default;
};

struct Dns {
  std::vector<std::string> nameservers{};
  std::string domain{};
  std::vector<std::string> search{};
  std::vector<std::string> options{};
  bool empty() const { return *this == Dns(); }
  bool operator==(const Dns&) const = default;
};

struct NetResult {
  std::vector<Interface> interfaces{};
  std::vector<IpConfig> ips{};
  std::vector<Route> routes{};
  Dns dns{};
  bool operator==(const NetResult&) const = default;
};
std::ostream& operator<<(std::ostream& out, const NetResult& result);  // its JSON, for tests

// In order; the last is the newest.
inline constexpr std::string_view kVersions[] = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

// The version is the object's own cniVersion, else `version`. Errors name the member (code 6 or 7).
Result<NetResult> parse_result(const base::Value& json, std::string_view version);
// With cniVersion. 0.1.0 and 0.2.0 carry one address of each family and need at least one.
Result<base::Value> to_json(const NetResult& result, std::string_view version);

// Members of a configuration that have the same form in a result.
Result<std::vector<Route>> parse_routes(const base::Value& list, std::string_view path);
Result<Dns> parse_dns(const base::Value& object, std::string_view path);

}  // namespace fairlead::cni
