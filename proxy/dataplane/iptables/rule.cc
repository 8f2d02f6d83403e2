#include "proxy/dataplane/iptables/rule.h"

#include <ostream>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

void append_word(std::string& out, std::string_view text) {
  if (!out.empty() && out.back() != '\n') out.push_back(' ');
  out.append(text);
}

void append_prefix(std::string& out, std::string_view option, const std::optional<net::Prefix>& prefix, bool inverted) {
  if (!prefix || prefix->length == 0) return;
  if (inverted) append_word(out, "!");
  append_word(out, option);
  append_word(out, prefix->to_string());
}

}  // namespace

std::string_view to_string(Table table) {
  switch (table) {
    case Table::Mangle: return "mangle";
    case Table::Filter: return "filter";
    case Table::Nat: return "nat";
  }
  return "?";
}

std::string_view word(model::Protocol protocol) {
  switch (protocol) {
    case model::Protocol::Tcp: return "tcp";
    case model::Protocol::Udp: return "udp";
    case model::Protocol::Sctp: return "sctp";
  }
  return "?";
}

net::Prefix host(const net::Ip& ip) { return {ip, static_cast<std::uint8_t>(ip.is_v4() ? 32 : 128)}; }

void append(std::string& out, const Rule& rule) {
  append_prefix(out, "-s", rule.source, rule.not_source);
  append_prefix(out, "-d", rule.destination, rule.not_destination);
  if (!rule.in_interface.empty()) {
    if (rule.not_in_interface) append_word(out, "!");
    append_word(out, "-i");
    append_word(out, rule.in_interface);
  }
  if (rule.protocol) {
    append_word(out, "-p");
    append_word(out, word(*rule.protocol));
    if (rule.ports) {
      append_word(out, "-m");
      append_word(out, word(*rule.protocol));
      append_word(out, "--dport");
      append_word(out, base::cat(rule.ports->low));
      if (rule.ports->high != rule.ports->low) out += base::cat(":", rule.ports->high);
    }
  }
  if (!rule.match.empty()) append_word(out, rule.match);
  append_word(out, rule.target);
}

std::string to_string(const Rule& rule) {
  std::string out;
  append(out, rule);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Rule& rule) { return out << to_string(rule); }

}  // namespace fairlead::proxy::dataplane::iptables
