#include "net/remnants.h"

#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/ip_vs.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>

namespace fairlead::net {
namespace {

constexpr std::uint8_t kIpsetProtocol = 6;  // every kernel since 2.6.39 speaks it

std::uint16_t netfilter_type(unsigned subsystem, unsigned command) {
  return static_cast<std::uint16_t>(subsystem << 8 | command);
}

nfgenmsg netfilter_header(int address_family) {
  nfgenmsg header{};
  header.nfgen_family = static_cast<std::uint8_t>(address_family);
  header.version = NFNETLINK_V0;
  return header;
}

NetlinkMessage ipset_message(unsigned command, std::uint16_t flags) {
  NetlinkMessage message(netfilter_type(NFNL_SUBSYS_IPSET, command), flags);
  message.header(netfilter_header(AF_INET));
  return message.attribute(IPSET_ATTR_PROTOCOL, std::string(1, static_cast<char>(kIpsetProtocol)));
}

// ENOENT: the kernel has no such family.
Result<std::uint16_t> genetlink_family(const std::string& name) {
  NetlinkMessage message(GENL_ID_CTRL, 0);
  message.header(genlmsghdr{.cmd = CTRL_CMD_GETFAMILY, .version = 1, .reserved = 0});
  message.text(CTRL_ATTR_FAMILY_NAME, name);
  const std::vector<std::string> answers = TRY(netlink_request(NETLINK_GENERIC, message));
  std::uint16_t id = 0;
  const std::string_view value =
      answers.empty() ? std::string_view()
                      : netlink_attribute(std::string_view(answers.front()).substr(GENL_HDRLEN), CTRL_ATTR_FAMILY_ID);
  if (value.size() != sizeof id) return Error("genetlink: no number for " + name);
  std::memcpy(&id, value.data(), sizeof id);
  return id;
}

}  // namespace

NetlinkMessage ipvs_flush_message(std::uint16_t family) {
  NetlinkMessage message(family, NLM_F_ACK);
  return message.header(genlmsghdr{.cmd = IPVS_CMD_FLUSH, .version = IPVS_GENL_VERSION, .reserved = 0});
}

Status flush_ipvs() {
  const auto family = genetlink_family(IPVS_GENL_NAME);
  if (!family && family.error().errno_value() == ENOENT) return {};
  if (!family) return family.error();
  TRY_CONTEXT(netlink_request(NETLINK_GENERIC, ipvs_flush_message(*family)), "flush IPVS");
  return {};
}

NetlinkMessage ipset_destroy_message(const std::string& name) {
  return ipset_message(IPSET_CMD_DESTROY, NLM_F_ACK).text(IPSET_ATTR_SETNAME, name);
}

Result<std::vector<std::string>> list_ipsets() {
  const std::uint32_t names_only = htonl(IPSET_FLAG_LIST_SETNAME);
  NetlinkMessage message = ipset_message(IPSET_CMD_LIST, NLM_F_DUMP);
  message.attribute(IPSET_ATTR_FLAGS | NLA_F_NET_BYTEORDER,
                    std::string_view(reinterpret_cast<const char*>(&names_only), sizeof names_only));
  const auto answers = netlink_request(NETLINK_NETFILTER, message);
  std::vector<std::string> names;
  // EINVAL: no such subsystem. EOPNOTSUPP, ENOENT: likewise by older kernels, or no set at all.
  if (!answers) {
    const int number = answers.error().errno_value();
    if (number == EINVAL || number == EOPNOTSUPP || number == ENOENT) return names;
    return answers.error().with_context("list ipsets");
  }
  for (const std::string& answer : *answers) {
    const std::string_view name = netlink_attribute(
        std::string_view(answer).substr(std::min(answer.size(), sizeof(nfgenmsg))), IPSET_ATTR_SETNAME);
    if (!name.empty()) names.emplace_back(name.substr(0, name.find('\0')));
  }
  return names;
}

Status destroy_ipset(const std::string& name) {
  TRY_CONTEXT(netlink_request(NETLINK_NETFILTER, ipset_destroy_message(name)), "destroy ipset " + name);
  return {};
}

Status delete_link(const std::string& name) {
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) return {};
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = static_cast<int>(index);
  NetlinkMessage message(RTM_DELLINK, NLM_F_ACK);
  message.header(header);
  TRY_CONTEXT(netlink_request(NETLINK_ROUTE, message), "delete interface " + name);
  return {};
}

Result<bool> nft_has(int address_family, const std::string& table, const std::string& chain) {
  const bool is_table = chain.empty();
  NetlinkMessage message(netfilter_type(NFNL_SUBSYS_NFTABLES, is_table ? NFT_MSG_GETTABLE : NFT_MSG_GETCHAIN), 0);
  message.header(netfilter_header(address_family));
  message.text(is_table ? std::uint16_t{NFTA_TABLE_NAME} : std::uint16_t{NFTA_CHAIN_TABLE}, table);
  if (!is_table) message.text(NFTA_CHAIN_NAME, chain);
  const auto answers = netlink_request(NETLINK_NETFILTER, message);
  if (answers) return true;
  const int number = answers.error().errno_value();
  if (number == ENOENT || number == EINVAL || number == EAFNOSUPPORT || number == EOPNOTSUPP) return false;
  return answers.error().with_context("nftables table " + table);
}

}  // namespace fairlead::net
