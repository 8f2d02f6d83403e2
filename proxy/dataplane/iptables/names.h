// names: what chains are called, and which are ours. Where other software or an administrator's habits know a name, it
// is kube-proxy's (kubernetes v1.36 pkg/proxy/iptables). Pure.
#pragma once

#include <string>
#include <string_view>

#include "proxy/dataplane/iptables/rule.h"

namespace fairlead::proxy::dataplane::iptables {

constexpr std::string_view kServices = "KUBE-SERVICES";                   // nat, filter
constexpr std::string_view kNodePorts = "KUBE-NODEPORTS";                 // nat, filter
constexpr std::string_view kPostrouting = "KUBE-POSTROUTING";             // nat
constexpr std::string_view kMarkMasq = "KUBE-MARK-MASQ";                  // nat; CNI plugins jump to it
constexpr std::string_view kHairpin = "KUBE-HAIRPIN";                     // nat
constexpr std::string_view kExternalServices = "KUBE-EXTERNAL-SERVICES";  // filter
constexpr std::string_view kForward = "KUBE-FORWARD";                     // filter
constexpr std::string_view kProxyFirewall = "KUBE-PROXY-FIREWALL";        // filter
constexpr std::string_view kReject = "KUBE-REJECT";                       // filter
constexpr std::string_view kRefusedNodePorts = "KUBE-REFUSED-NODEPORTS";  // filter
constexpr std::string_view kCanary = "KUBE-PROXY-CANARY";                 // all
// kubelet's as well: we add our rule and never delete the chain.
constexpr std::string_view kFirewall = "KUBE-FIREWALL";
// kubelet's: what tells the flavour in use.
constexpr std::string_view kKubeletHint = "KUBE-IPTABLES-HINT";
constexpr std::string_view kKubeletCanary = "KUBE-KUBELET-CANARY";

// The first 16 characters of base32(sha256(text)).
std::string hash16(std::string_view text);
// "ns/name:port"; without a port name "ns/name".
std::string port_name(const model::Key& service, const std::string& port);
// The part after KUBE-SVC-, KUBE-SVL-, KUBE-EXT- and KUBE-FW- of one port.
std::string port_hash(const model::Key& service, const std::string& port, model::Protocol protocol);
std::string endpoint_chain(const model::Key& service, const std::string& port, model::Protocol protocol,
                           const model::Endpoint& endpoint);  // "KUBE-SEP-..."

// Chains that are of a service port or a look-up tree, also those that only kube-proxy makes.
bool is_service_chain(std::string_view name);
bool is_tree_chain(std::string_view name);
// Chains that only we (or kube-proxy before us) have made: not kFirewall, and nothing of kubelet's.
bool is_ours(std::string_view name);

// The place of a chain in the input of a restore: what is referred to comes before what refers to it, and within a rank
// names descend. iptables-nft (1.8.9 cache_chain_list_insert) keeps the chains of its input in an ascending list that
// it walks from the front for every line, so that in any other order 10,000 chains cost it seconds.
int rank_of(std::string_view name, std::string_view rules);

}  // namespace fairlead::proxy::dataplane::iptables
