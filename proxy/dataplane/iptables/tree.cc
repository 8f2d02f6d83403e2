#include "proxy/dataplane/iptables/tree.h"

#include <algorithm>
#include <tuple>

#include "base/strings.h"
#include "proxy/dataplane/iptables/names.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

using Entries = std::vector<TreeEntry>;
using Iterator = Entries::const_iterator;

constexpr unsigned kStep = 2;          // bits decided by one chain
constexpr unsigned kInline = 2;        // so few entries need no chain of their own
constexpr std::size_t kMostName = 28;  // linux v6.1 XT_EXTENSION_MAXNAMELEN - 1

unsigned bit(const net::Ip& ip, unsigned index) { return (ip.bytes()[index / 8] >> (7 - index % 8)) & 1U; }

struct Builder {
  std::string_view tag;
  net::Family family;
  Tree tree;

  unsigned first_bit() const { return family == net::Family::V4 ? 96 : 0; }
  unsigned bits() const { return family == net::Family::V4 ? 32 : 128; }

  unsigned common_bits(const net::Ip& a, const net::Ip& b) const {
    unsigned length = 0;
    while (length < bits() && bit(a, first_bit() + length) == bit(b, first_bit() + length)) ++length;
    return length;
  }
  unsigned digit(const net::Ip& ip, unsigned position) const {
    unsigned value = 0;
    for (unsigned i = position; i < std::min(position + kStep, bits()); ++i) {
      value = value * 2 + bit(ip, first_bit() + i);
    }
    return value;
  }
  net::Prefix prefix(const net::Ip& ip, unsigned length) const {
    auto bytes = ip.bytes();
    for (unsigned i = first_bit() + length; i < 128; ++i) {
      bytes[i / 8] = static_cast<std::uint8_t>(bytes[i / 8] & ~(0x80U >> (i % 8)));
    }
    return {net::Ip::from_bytes(bytes), static_cast<std::uint8_t>(length)};
  }

  std::string address_chain(const net::Prefix& where) const {
    const std::string length = base::cat(unsigned{where.length});
    const std::size_t digits = family == net::Family::V4 ? 2 : 3;
    std::string name = base::cat(tag, std::string(digits - length.size(), '0'), length, "-");
    const std::string address = where.address.to_string();
    return name += name.size() + address.size() <= kMostName ? address : hash16(where.to_string());
  }
  // `bits_fixed` of the port are the same; 0: all ports of a protocol.
  std::string port_chain(const TreeEntry& any, unsigned bits_fixed, std::uint16_t low) const {
    const std::string where = base::cat(word(*any.protocol), "-", low);
    std::string name = base::cat("KUBE-DP", bits_fixed < 10 ? "0" : "", bits_fixed, "-");
    return name += any.address.is_unspecified() ? where : hash16(base::cat(tag, any.address.to_string(), " ", where));
  }

  static Rule rule_of(const TreeEntry& entry) {
    Rule rule;
    if (!entry.address.is_unspecified()) rule.destination = host(entry.address);
    rule.protocol = entry.protocol;
    if (entry.protocol) rule.ports = Ports{entry.port, entry.port};
    rule.target = entry.target;
    return rule;
  }
  static void append_entries(Iterator begin, Iterator end, Rules& out) {
    for (; begin != end; ++begin) out.push_back(rule_of(*begin));
  }

  Rules rules(Iterator begin, Iterator end, bool is_root) {
    Rules out;
    if (static_cast<std::size_t>(end - begin) <= kLeaf) {
      append_entries(begin, end, out);
    } else if (begin->address != std::prev(end)->address) {
      by_address(begin, end, is_root, out);
    } else {
      const Iterator whole = std::find_if(begin, end, [](const TreeEntry& entry) { return !entry.protocol; });
      by_protocol(begin, whole, out);
      append_entries(whole, end, out);
    }
    return out;
  }

  void by_address(Iterator begin, Iterator end, bool is_root, Rules& out) {
    const unsigned common = common_bits(begin->address, std::prev(end)->address);
    while (begin != end) {
      const unsigned mine = digit(begin->address, common);
      const Iterator next =
          std::find_if(begin, end, [&](const TreeEntry& entry) { return digit(entry.address, common) != mine; });
      if (next - begin <= static_cast<std::ptrdiff_t>(kInline)) {
        append_entries(begin, next, out);
      } else {
        const net::Prefix where = prefix(begin->address, common_bits(begin->address, std::prev(next)->address));
        const std::string name = address_chain(where);
        Rule rule;
        rule.destination = where;
        rule.target = is_root ? jump(name) : go_to(name);
        out.push_back(std::move(rule));
        tree.chains[name] = rules(begin, next, false);
      }
      begin = next;
    }
  }

  void by_protocol(Iterator begin, Iterator end, Rules& out) {
    while (begin != end) {
      const Iterator next =
          std::find_if(begin, end, [&](const TreeEntry& entry) { return entry.protocol != begin->protocol; });
      by_port(begin, next, out);
      begin = next;
    }
  }

  // Entries of one address and protocol. What is not found below comes back, because what is said of the whole address
  // follows.
  void by_port(Iterator begin, Iterator end, Rules& out) {
    unsigned common = 0;
    while (common < 16 && ((begin->port ^ std::prev(end)->port) >> (15 - common)) == 0) ++common;
    const unsigned shift = common + kStep >= 16 ? 0 : 16 - common - kStep;
    while (begin != end) {
      const unsigned mine = unsigned{begin->port} >> shift;
      const Iterator next =
          std::find_if(begin, end, [&](const TreeEntry& entry) { return unsigned{entry.port} >> shift != mine; });
      if (next - begin <= static_cast<std::ptrdiff_t>(kInline)) {
        append_entries(begin, next, out);
      } else {
        const auto low = static_cast<std::uint16_t>(mine << shift);
        const auto high = static_cast<std::uint16_t>(low + (1U << shift) - 1);
        const std::string name = port_chain(*begin, 16 - shift, low);
        Rule rule;
        if (!begin->address.is_unspecified()) rule.destination = host(begin->address);
        rule.protocol = begin->protocol;
        rule.ports = Ports{low, high};
        rule.target = jump(name);
        out.push_back(std::move(rule));
        Rules below;
        if (static_cast<std::size_t>(next - begin) <= kLeaf) {
          append_entries(begin, next, below);
        } else {
          by_port(begin, next, below);
        }
        tree.chains[name] = std::move(below);
      }
      begin = next;
    }
  }
};

}  // namespace

Tree build_tree(std::string_view tag, TreeKey key, net::Family family, Entries entries) {
  std::sort(entries.begin(), entries.end(), [](const TreeEntry& a, const TreeEntry& b) {
    return std::tuple(a.address, !a.protocol, a.protocol, a.port) <
           std::tuple(b.address, !b.protocol, b.protocol, b.port);
  });
  Builder builder{.tag = tag, .family = family, .tree = {}};
  if (key == TreeKey::Address) {
    builder.tree.root = builder.rules(entries.cbegin(), entries.cend(), true);
  } else if (entries.size() <= kLeaf) {
    Builder::append_entries(entries.cbegin(), entries.cend(), builder.tree.root);
  } else {
    builder.by_protocol(entries.cbegin(), entries.cend(), builder.tree.root);
  }
  return std::move(builder.tree);
}

}  // namespace fairlead::proxy::dataplane::iptables
