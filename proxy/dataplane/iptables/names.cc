#include "proxy/dataplane/iptables/names.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";  // RFC 4648 s6

bool begins(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string hash16(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string out;
  for (std::size_t bit = 0; bit < 80; bit += 5) {
    const unsigned pair = (unsigned{digest[bit / 8]} << 8U) | digest[bit / 8 + 1];
    out.push_back(kBase32[(pair >> (11 - bit % 8)) & 31U]);
  }
  return out;
}

std::string port_name(const model::Key& service, const std::string& port) {
  return port.empty() ? service.to_string() : base::cat(service.to_string(), ":", port);
}

std::string port_hash(const model::Key& service, const std::string& port, model::Protocol protocol) {
  return hash16(base::cat(port_name(service, port), word(protocol)));
}

std::string endpoint_chain(const model::Key& service, const std::string& port, model::Protocol protocol,
                           const model::Endpoint& endpoint) {
  return "KUBE-SEP-" +
         hash16(base::cat(port_name(service, port), word(protocol), net::host_port(endpoint.address, endpoint.port)));
}

bool is_service_chain(std::string_view name) {
  // KUBE-XLB-: kube-proxy before 1.24.
  constexpr std::string_view kPrefixes[] = {"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-",
                                            "KUBE-FW-",  "KUBE-SEP-", "KUBE-XLB-"};
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes), [&](auto prefix) { return begins(name, prefix); });
}

// "KUBE-D16-10.96.0.0", "KUBE-DP05-tcp-30720"; tree.h.
bool is_tree_chain(std::string_view name) {
  if (!begins(name, "KUBE-D")) return false;
  name.remove_prefix(6);
  if (!name.empty() && std::string_view("EFHP").find(name[0]) != std::string_view::npos) name.remove_prefix(1);
  const std::size_t dash = name.find('-');
  return (dash == 2 || dash == 3) && std::all_of(name.begin(), name.begin() + static_cast<long>(dash), is_digit);
}

bool is_ours(std::string_view name) {
  constexpr std::string_view kNames[] = {kServices, kNodePorts,        kPostrouting, kMarkMasq,
                                         kHairpin,  kExternalServices, kForward,     kProxyFirewall,
                                         kReject,   kRefusedNodePorts, kCanary};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || is_service_chain(name) ||
         is_tree_chain(name);
}

int rank_of(std::string_view name, std::string_view rules) {
  if (name == kMarkMasq || name == kReject) return 0;
  if (begins(name, "KUBE-SV")) return rules.find("KUBE-SEP-") == std::string_view::npos ? 1 : 3;
  if (begins(name, "KUBE-SEP-")) return 2;
  if (begins(name, "KUBE-EXT-")) return 4;
  if (is_service_chain(name)) return 5;
  if (is_tree_chain(name)) return 6;
  if (name == kServices || name == kExternalServices || name == kPostrouting) return 8;
  return 7;
}

}  // namespace fairlead::proxy::dataplane::iptables
