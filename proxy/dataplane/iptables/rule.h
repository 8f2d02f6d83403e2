// Rule, Chain: iptables rules as plain values. A rule prints exactly as iptables-save prints it, in both flavours, so
// that what is read back compares as text. Pure.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/ip.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::dataplane::iptables {

enum class Table : std::uint8_t { Mangle, Filter, Nat };  // in the order they are written
constexpr Table kTables[] = {Table::Mangle, Table::Filter, Table::Nat};
std::string_view to_string(Table table);  // "mangle", ...

struct Ports {
  std::uint16_t low = 0;
  std::uint16_t high = 0;
  bool operator==(const Ports&) const = default;
};

struct Rule {
  std::optional<net::Prefix> source;  // of length 0: everybody, and not printed
  bool not_source = false;
  std::optional<net::Prefix> destination;
  bool not_destination = false;
  std::string in_interface;  // "cali+": every interface whose name begins so
  bool not_in_interface = false;
  std::optional<model::Protocol> protocol;
  std::optional<Ports> ports;  // of the destination; REQUIRES protocol
  std::string match;           // further matches: "-m addrtype --dst-type LOCAL"
  std::string target;          // "-j DROP", "-g KUBE-SVC-..."
  bool operator==(const Rule&) const = default;
};
void append(std::string& out, const Rule& rule);
std::string to_string(const Rule& rule);  // without "-A CHAIN"

using Rules = std::vector<Rule>;
// The chains of one table by name.
using Chains = std::map<std::string, Rules>;

struct ChainId {
  Table table = Table::Filter;
  std::string name;
  auto operator<=>(const ChainId&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Rule& rule);

inline std::string jump(std::string_view chain) { return "-j " + std::string(chain); }
// As jump, and what comes back from there goes to the caller of this chain.
inline std::string go_to(std::string_view chain) { return "-g " + std::string(chain); }
net::Prefix host(const net::Ip& ip);
std::string_view word(model::Protocol protocol);  // "tcp"

}  // namespace fairlead::proxy::dataplane::iptables
