// From ServiceState to what each frontend should hold, and what to write to get there. Pure.
//
// Cost: one frontend costs its endpoints once (sorting); the writes are those of the endpoints that changed, plus at
// most two for the slots a removed endpoint leaves behind.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/ip.h"
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

// Codes, as in layout.md: kind in the upper byte, endpoint count in the rest.
inline constexpr std::uint32_t kMasquerade = 0x01000000;
inline constexpr std::uint32_t kNodePort = 0x02000000;
inline constexpr std::uint32_t kReject = 0x10000000;
inline constexpr std::uint32_t kDrop = 0x11000000;
inline constexpr std::uint32_t kCountMask = 0x00ffffff;
bool balances(std::uint32_t code);
// The chain of a balancing code: n3, m3 (masquerade), p3 (node port), q3 (both).
std::string chain_of(std::uint32_t code);
std::optional<std::uint32_t> code_of_chain(const std::string& chain);
std::string describe_code(std::uint32_t code);  // "goto n3", "reject", "drop"

// What a service wants of a frontend. Endpoints are sorted and each target occurs once.
struct Wanted {
  std::uint32_t code = kReject;
  std::vector<Slot> endpoints;
  bool operator==(const Wanted&) const = default;
};

// What a frontend has in the kernel. After reading a kernel that somebody edited, slots may have holes or reach
// beyond the code's count, and the code may be absent.
struct Installed {
  std::optional<std::uint32_t> code;
  std::vector<Slot> slots;
  bool operator==(const Installed&) const = default;
};

// Every frontend of the service; of two alike the first counts.
std::vector<std::pair<FrontendKey, Wanted>> frontends_of(const model::ServiceState& state);

// Puts the wanted endpoints into slots 0 to n-1 such that those already there stay; a hole takes the next one left
// over, which is the last one of the old slots when an endpoint was removed.
Installed arrange(const std::vector<Slot>& have, const Wanted& want);
// As arrange() was asked for; used when the frontend has to change hands or be written again.
Wanted wanted_of(const Installed& installed);

struct SlotWrite {
  std::uint32_t index = 0;
  Slot slot;  // as it was, or as it becomes
};
struct FrontendDelta {
  std::vector<SlotWrite> deleted;
  std::vector<SlotWrite> added;
  std::optional<std::uint32_t> code_deleted;
  std::optional<std::uint32_t> code_added;
  bool empty() const { return deleted.empty() && added.empty() && !code_deleted && !code_added; }
};
FrontendDelta difference(const Installed& have, const Installed& want);

// Lines such as "services 10.96.0.10 . tcp . 80 : goto n3".
void append_text(std::string& out, const FrontendKey& key, const Installed& installed);
// Everything `services` put into two empty tables, as text: for golden tests and people.
std::string plan_text(const std::vector<model::ServiceState>& services);

}  // namespace fairlead::proxy::dataplane::nftables

template <>
struct std::hash<fairlead::proxy::dataplane::nftables::FrontendKey> {
  std::size_t operator()(const fairlead::proxy::dataplane::nftables::FrontendKey& key) const noexcept;
};
