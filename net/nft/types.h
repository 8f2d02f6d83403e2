// nftables objects as plain values: what a batch creates and deletes, and what a dump returns. No netlink here.
//
// Registers are the 32-bit ones (0-15). A field narrower than four bytes sits in the first bytes of its register and
// the rest is zero, which is also how a concatenated set key is laid out (linux v6.1 net/netfilter/nft_payload.c,
// nft_meta.c). Multi-byte fields are in network order, marks and indexes in host order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "net/ip.h"

namespace fairlead::net::nft {

struct TableId {
  // Inet: packets of both families. Bridge: frames on their way through one. `family` says nothing about those.
  enum class Layer : std::uint8_t { Ip, Inet, Bridge };
  Family family = Family::V4;
  std::string name;
  Layer layer = Layer::Ip;
  auto operator<=>(const TableId&) const = default;
  std::string to_string() const;  // "ip fairlead"
};

enum class Hook : std::uint8_t { Prerouting = 0, Input = 1, Forward = 2, Output = 3, Postrouting = 4 };
enum class ChainType : std::uint8_t { Filter, Nat };

struct BaseChain {
  ChainType type = ChainType::Filter;
  Hook hook = Hook::Input;
  std::int32_t priority = 0;
  bool operator==(const BaseChain&) const = default;
};

struct Chain {
  std::string name;
  std::optional<BaseChain> base;
  bool operator==(const Chain&) const = default;
};

// Bytes of a set element, inline: a batch holds a hundred thousand of them.
struct Element {
  static constexpr std::size_t kMaxKey = 48;
  static constexpr std::size_t kMaxData = 20;
  std::array<std::uint8_t, kMaxKey> key{};
  std::array<std::uint8_t, kMaxData> data{};
  std::uint8_t key_size = 0;
  std::uint8_t data_size = 0;  // 0 for a set, and for a deletion
  std::string_view key_view() const { return {reinterpret_cast<const char*>(key.data()), key_size}; }
  std::string_view data_view() const { return {reinterpret_cast<const char*>(data.data()), data_size}; }
  auto operator<=>(const Element&) const = default;
};

// An element of a verdict map with a 32-bit key.
struct VerdictElement {
  std::uint32_t key = 0;
  std::string go_to;     // chain; empty: drop
  bool returns = false;  // jump instead of goto
  auto operator<=>(const VerdictElement&) const = default;
};

// nft's own type numbers (nftables include/datatype.h); only `nft list` reads them.
enum class DataType : std::uint32_t {
  Ipv4 = 7,
  Ipv6 = 8,
  Ether = 9,
  Protocol = 12,
  Service = 13,
  Mark = 19,
  InterfaceName = 41
};

struct Set {
  enum class Kind : std::uint8_t { Set, Map, VerdictMap };
  std::string name;
  Kind kind = Kind::Set;
  std::vector<DataType> key;
  std::vector<DataType> data;  // of a Map
  // Rules put elements in, at most so many, and each leaves when its time is up; 0: what the table's owner writes.
  std::uint32_t dynamic_size = 0;
  bool operator==(const Set&) const = default;
};
std::uint32_t size_of(DataType type);                             // bytes in a key, padded to a register
std::uint32_t size_of(const std::vector<DataType>& fields);       // of the concatenation
std::uint32_t concatenated(const std::vector<DataType>& fields);  // nft's number of the concatenated type

// Rule expressions, in the order the kernel runs them.
namespace expr {
enum class Base : std::uint8_t { Link = 0, Network = 1, Transport = 2 };  // nft_payload_bases
struct LoadPayload {
  Base base;
  std::uint32_t offset, size, to;
};
enum class MetaKey : std::uint32_t {
  Priority = 2,
  Mark = 3,
  InputIndex = 4,
  InputName = 6,
  OutputName = 7,
  NfProtocol = 15,
  L4Protocol = 16
};
struct LoadMeta {
  MetaKey key;
  std::uint32_t to;
};
struct SetMeta {
  MetaKey key;
  std::uint32_t from;
};
enum class CtKey : std::uint32_t { State = 0, Status = 2 };
struct LoadCt {
  CtKey key;
  std::uint32_t to;
};
struct LoadValue {
  std::string bytes;
  std::uint32_t to;
};
struct LoadAddressType {
  bool of_source;
  std::uint32_t to;
};  // fib saddr type, fib daddr type
struct Random {
  std::uint32_t modulus, offset, to;
};
struct Mask {
  std::uint32_t reg;
  std::string mask, exclusive_or;
};
struct Compare {
  std::uint32_t reg;
  bool equal;
  std::string bytes;
};  // a mismatch ends the rule
// A miss ends the rule. `to` empty with a map of verdicts: go where the element says; with a set: only match.
struct Lookup {
  std::string set;
  std::uint32_t key;
  std::optional<std::uint32_t> to;
  bool verdict = false;
};
enum class Then : std::uint8_t { Accept, Drop, Goto, Jump, Return };
struct Verdict {
  Then then;
  std::string chain;  // of Goto and Jump
};
// Writes a dynamic set from a packet. Update adds, or only restarts the time of what is there (its data stays as it
// is); a full set ends the rule.
struct Remember {
  enum class What : std::uint8_t { Update, Delete } what;
  std::string set;
  std::uint32_t key, data;
  std::uint32_t seconds;  // of Update
};
struct Dnat {
  Family family;
  std::uint32_t address, port;
};
struct Masquerade {};  // fully random source port
struct TcpReset {};
struct Counter {};
// An iptables match by its name, for chains that iptables-nft reads too. `info` is its struct, in host order.
struct XtMatch {
  std::string name;
  std::uint32_t revision;
  std::string info;
};
struct PortUnreachable {
  Family family;
};
}  // namespace expr
using Expr =
    std::variant<expr::LoadPayload, expr::LoadMeta, expr::SetMeta, expr::LoadCt, expr::LoadValue, expr::LoadAddressType,
                 expr::Random, expr::Mask, expr::Compare, expr::Lookup, expr::Verdict, expr::Remember, expr::Dnat,
                 expr::Masquerade, expr::TcpReset, expr::PortUnreachable, expr::Counter, expr::XtMatch>;

struct Rule {
  std::string chain;
  std::string comment;  // kept in the kernel; `nft list` prints it
  std::vector<Expr> exprs;
};

// Commands of one transaction, executed in order.
struct AddTable {
  TableId table;
  std::string comment;
};  // no error when it exists
struct DeleteTable {
  TableId table;
};
struct AddChain {
  TableId table;
  Chain chain;
};
struct AddRule {
  TableId table;
  Rule rule;
  bool first = false;  // before the chain's other rules instead of after them
};
struct FlushChain {
  TableId table;
  std::string chain;
};  // no error when it has no rules
struct AddSet {
  TableId table;
  Set set;
};
struct AddElements {
  TableId table;
  std::string set;
  std::vector<Element> elements;
  std::string comment = {};  // of each; empty: none is kept
};
struct AddVerdicts {
  TableId table;
  std::string set;
  std::vector<VerdictElement> elements;
};
struct DeleteElements {
  TableId table;
  std::string set;
  std::vector<Element> elements;
};
using Command = std::variant<AddTable, DeleteTable, AddChain, AddRule, FlushChain, AddSet, AddElements, AddVerdicts,
                             DeleteElements>;
using Batch = std::vector<Command>;

// Commands plus elements: what a batch changes in the kernel.
std::size_t count_writes(const Batch& batch);
std::string describe(const Command& command);

// What stands in a table, without the elements.
struct DumpedRule {
  std::string chain;
  std::string comment;
  bool operator==(const DumpedRule&) const = default;
};
struct TableDump {
  std::string comment;
  std::vector<Chain> chains;
  std::vector<DumpedRule> rules;  // in order within a chain
  std::vector<Set> sets;
  bool operator==(const TableDump&) const = default;
};

}  // namespace fairlead::net::nft
