// The nftables of the CNI binary as plain commands: one table "inet fairlead-cni" and one "bridge fairlead-cni". Pods
// are elements of sets; the chains stand for all of them, so a packet costs the same with one pod as with a thousand.
//
// Two things depend on numbers that only come with a pod, the length of its subnet and the bit that marks its packets.
// There is a rule for each of those that occurs (Extra), not for each pod.
#pragma once

#include <compare>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "cni-plugin/conditions.h"
#include "net/ip.h"
#include "net/nft/types.h"

namespace fairlead::cni {

namespace nft = net::nft;

inline const nft::TableId kTable{net::Family::V4, "fairlead-cni", nft::TableId::Layer::Inet};
inline const nft::TableId kBridgeTable{net::Family::V4, "fairlead-cni", nft::TableId::Layer::Bridge};

// What plugins own: a set of Part.
enum class Part : std::uint8_t { Masquerade = 1, Ports = 2, Firewall = 4, Spoof = 8 };
using Parts = std::uint8_t;
constexpr Parts operator|(Parts a, Part b) { return static_cast<Parts>(a | static_cast<Parts>(b)); }
constexpr Parts operator|(Part a, Part b) { return static_cast<Parts>(a) | b; }

enum class SetId : std::uint8_t {
  Leaving4,  // address of a pod that is masqueraded
  Leaving6,
  Near4,  // address of a pod . its subnet . length: between these nothing is masqueraded
  Near6,
  Ports4,  // protocol . host port -> container port . pod
  Ports6,
  Bound4,  // host address . protocol . host port -> container port . pod
  Bound6,
  WhenPorts4,  // id_of() a condition . protocol . host port -> container port . pod
  WhenPorts6,
  WhenBound4,  // host address . id_of() a condition . protocol . host port -> container port . pod
  WhenBound6,
  Sources4,  // pod . network . code_of(): who has to be masqueraded to reach a host port of the pod
  Sources6,
  Open4,  // address of a pod that may be forwarded to and from
  Open6,
  Fences,        // bridge that takes nothing from another one of these
  FenceLoops,    // the same bridge twice: within it, traffic is let through
  FenceUsers,    // bridge . half of the mark . other half: who needs it in Fences
  GuardedPorts,  // host end of a veth whose source address is checked
  Macs,          // host end . the address it may send from
  ClosedPorts,   // host end of a veth that exchanges nothing with other ports of its bridge
};
inline constexpr SetId kSets[] = {
    SetId::Leaving4,   SetId::Leaving6,     SetId::Near4,      SetId::Near6,      SetId::Ports4,     SetId::Ports6,
    SetId::Bound4,     SetId::Bound6,       SetId::WhenPorts4, SetId::WhenPorts6, SetId::WhenBound4, SetId::WhenBound6,
    SetId::Sources4,   SetId::Sources6,     SetId::Open4,      SetId::Open6,      SetId::Fences,     SetId::FenceLoops,
    SetId::FenceUsers, SetId::GuardedPorts, SetId::Macs,       SetId::ClosedPorts};
const nft::Set& set_of(SetId id);
Part part_of(SetId id);
const nft::TableId& table_of(SetId id);
// Fences and FenceLoops belong to all their FenceUsers, so their elements have no mark.
inline bool is_shared(SetId id) { return id == SetId::Fences || id == SetId::FenceLoops; }

SetId of_family(SetId v4, net::Family family);  // v4 or the one behind it

// In Sources: 8 bits of length, above them the number of the mark's bit.
constexpr std::uint32_t code_of(std::uint8_t length, std::uint8_t mark_bit) { return mark_bit * 256U + length; }

// A group of rules that some element needs.
struct Extra {
  enum class Kind : std::uint8_t { Near, Source, When } kind = Kind::Near;
  net::Family family = net::Family::V4;
  std::uint32_t code = 0;   // of Near: the length; of Source: code_of()
  Conditions conditions{};  // of When; of Source: only for host ports under these
  auto operator<=>(const Extra&) const = default;
};
std::vector<nft::Rule> rules_of(const Extra& extra);
std::string id_of(const Conditions& conditions);  // 8 bytes of a key

// Creates a table of ours with its chains empty of rules but the standing ones; no error when it is there.
nft::Batch create_table(const nft::TableId& table);
// What create_table() leaves, without Extras, chain by chain.
std::vector<nft::DumpedRule> standing_rules(const nft::TableId& table);
bool holds_extras(const std::string& chain);

// The filter table of iptables-nft: what its FORWARD chain drops, no table of ours can let through. So a packet of
// Open4 or Open6 carries this bit while it is forwarded, and one rule in CNI-FORWARD accepts the bit (docs/adr/0017).
inline constexpr std::uint32_t kForwardMark = 0x1000;
nft::TableId filter_table(net::Family family);
inline constexpr const char* kForwardChain = "FORWARD";
inline constexpr const char* kCniForwardChain = "CNI-FORWARD";
struct ForwardRules {
  nft::Rule jump;    // first of FORWARD
  nft::Rule admin;   // first of CNI-FORWARD: the operator's own chain
  nft::Rule accept;  // last of CNI-FORWARD
};
ForwardRules forward_rules(const std::string& admin_chain);

// Elements, laid out as the sets' keys.
nft::Element element_of(const std::string& key, const std::string& data = {});
std::string bytes_of(const net::Ip& ip);     // 4 or 16
net::Ip ip_of(std::string_view bytes);       // of 4 or 16; of more, the first 16
std::string bytes_of(std::uint32_t number);  // host order
std::string port_bytes(std::uint16_t port);  // in a register
std::string interface_bytes(const std::string& name);
std::string digest_bytes(const std::string& digest);  // 8, of 16 hex digits (marks.h)

}  // namespace fairlead::cni
