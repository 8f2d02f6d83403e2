// From ServiceState to what each frontend and each group of sticky clients should hold, and what to write to get there.
// Pure.
//
// Cost: one frontend costs its endpoints once (sorting); the writes are those of the endpoints that changed, plus at
// most two for the slots a removed endpoint leaves behind.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/ip.h"
#include "proxy/dataplane/nftables/codes.h"
#include "proxy/model/node.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::dataplane::nftables {

// What a client dials.
struct FrontendKey {
  net::Family family = net::Family::V4;
  bool node_port = false;
  model::Protocol protocol = model::Protocol::Tcp;
  std::uint16_t port = 0;
  net::Ip address;  // :: for a node port
  auto operator<=>(const FrontendKey&) const = default;
  std::string to_string() const;  // "10.96.0.10 . tcp . 80", "tcp . 30080"
};

// Where the index-th share of a frontend's connections goes.
struct Slot {
  net::Ip address;
  std::uint16_t port = 0;
  bool local = false;  // not in the kernel's element; hairpin traffic is masqueraded for these
  bool empty() const { return port == 0; }
  bool same_target(const Slot& other) const { return port == other.port && address == other.address; }
  bool operator==(const Slot&) const = default;
};

// Of Pool::Cluster and of Pool::Local.
template <typename T>
using PerPool = std::array<T, 2>;

// What a service wants of a frontend. Endpoints are sorted and each target occurs once.
struct Wanted {
  std::uint32_t code = kReject;
  std::optional<std::uint32_t> external;  // of a code that short-circuits: for everybody else
  PerPool<std::vector<Slot>> endpoints;   // as many as the two codes say; none when they stick
  std::optional<std::uint32_t> group;     // whose members its clients stick to
  bool cluster_ip = false;
  bool restricted = false;           // to `sources`
  std::vector<net::Prefix> sources;  // sorted, each once
  bool operator==(const Wanted&) const = default;
};

// What a frontend has in the kernel. After reading a kernel that somebody edited, slots may have holes or reach
// beyond the code's count, and codes may be absent. `cluster_ip` is what was last written, never read.
struct Installed {
  std::optional<std::uint32_t> code;
  std::optional<std::uint32_t> external;
  PerPool<std::vector<Slot>> slots;
  std::optional<std::uint32_t> group;
  bool cluster_ip = false;
  bool restricted = false;
  std::vector<net::Prefix> sources;  // sorted, each once
  bool operator==(const Installed&) const = default;
};

// Who shares stickiness, and the endpoints to stay with; codes.h has the numbers.
struct GroupKey {
  net::Family family = net::Family::V4;
  std::uint32_t group = 0;
  auto operator<=>(const GroupKey&) const = default;
  std::string to_string() const;  // "group 7"
};
using WantedGroup = PerPool<std::vector<Slot>>;
using Member = std::pair<std::uint32_t, Slot>;
struct InstalledPool {
  std::vector<Member> members;         // sorted by number, each once
  std::vector<std::uint32_t> choices;  // members, each once; 0: a hole
  std::optional<std::uint32_t> share;  // pool and number of choices
  bool operator==(const InstalledPool&) const = default;
  const Slot* find(std::uint32_t member) const;
};
using InstalledGroup = PerPool<InstalledPool>;

// The group of a port with affinity; without one its clients do not stick.
using GroupOf = std::function<std::optional<std::uint32_t>(const model::PortState&)>;
// Every frontend of the service; of two alike the first counts.
std::vector<std::pair<FrontendKey, Wanted>> frontends_of(const model::ServiceState& state,
                                                         const GroupOf& group_of = {});
std::vector<FrontendKey> keys_of(const model::PortState& port);
WantedGroup members_of(const model::PortState& port);

// Puts the wanted endpoints into slots 0 to n-1 such that those already there stay; a hole takes the next one left
// over, which is the last one of the old slots when an endpoint was removed.
Installed arrange(const PerPool<std::vector<Slot>>& have, const Wanted& want);
// Members keep their number for as long as they are members, so that clients stay with them; a new one gets a number
// that hardly anybody had before.
InstalledGroup arrange(std::uint32_t group, const InstalledGroup& have, const WantedGroup& want);
// As arrange() was asked for; used when the frontend has to change hands or be written again.
Wanted wanted_of(const Installed& installed);
WantedGroup wanted_of(const InstalledGroup& installed);

// A value that goes, one that comes, or both.
template <typename T>
struct Change {
  std::optional<T> deleted;
  std::optional<T> added;
};
struct SlotWrite {
  bool local_pool = false;
  std::uint32_t index = 0;
  Slot slot;  // as it was, or as it becomes
};
struct FrontendDelta {
  std::vector<SlotWrite> deleted;
  std::vector<SlotWrite> added;
  Change<std::uint32_t> code;
  Change<std::uint32_t> external;
  Change<std::uint32_t> group;
  Change<bool> restricted;
  std::vector<net::Prefix> sources_deleted;
  std::vector<net::Prefix> sources_added;
  std::size_t size() const;
};
FrontendDelta difference(const Installed& have, const Installed& want);

// Lines such as "services 10.96.0.10 . tcp . 80 : goto n3".
void append_text(std::string& out, const FrontendKey& key, const Installed& installed);
void append_text(std::string& out, const InstalledGroup& installed);
// Everything `node` and `services` put into two empty tables, as text: for golden tests and people.
std::string plan_text(const model::NodeState& node, const std::vector<model::ServiceState>& services);

}  // namespace fairlead::proxy::dataplane::nftables

template <>
struct std::hash<fairlead::proxy::dataplane::nftables::FrontendKey> {
  std::size_t operator()(const fairlead::proxy::dataplane::nftables::FrontendKey& key) const noexcept {
    const std::size_t rest = std::size_t{key.port} << 16 | static_cast<std::size_t>(key.protocol) << 8 |
                             static_cast<std::size_t>(key.node_port) << 1 | static_cast<std::size_t>(key.family);
    return std::hash<fairlead::net::Ip>()(key.address) ^ (rest * 0x9e3779b97f4a7c15ULL);
  }
};
