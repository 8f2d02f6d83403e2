#include "proxy/dataplane/ebpf/node.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/delta.h"
#include "proxy/dataplane/ebpf/layout.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

template <typename Key, typename Value>
std::map<Key, Value> read_map(int fd) {
  std::map<Key, Value> content;
  Key key{};
  bool first = true;
  while (::bpf_map_get_next_key(fd, first ? nullptr : &key, &key) == 0) {
    first = false;
    Value value{};
    if (::bpf_map_lookup_elem(fd, &key, &value) == 0) content.emplace(key, value);
    if (content.size() > (1U << 16)) break;  // somebody else is writing: the next call looks again
  }
  return content;
}

template <typename Key, typename Value>
void sync_map(int fd, const std::map<Key, Value>& want, const char* name, Report& report) {
  int error = 0;  // one failure per map, however many elements it is about
  const base::Delta<Key, Value> delta = base::delta(read_map<Key, Value>(fd), want);
  for (const auto& [key, value] : delta.upserted) {
    ++report.kernel_writes;
    if (const int rc = ::bpf_map_update_elem(fd, &key, &value, BPF_ANY); rc < 0) error = -rc;
  }
  for (const Key& key : delta.deleted) {
    ++report.kernel_writes;
    if (const int rc = ::bpf_map_delete_elem(fd, &key); rc < 0 && rc != -ENOENT) error = -rc;
  }
  if (error != 0) report.failures.push_back({{}, Error::from_errno("write", error), name});
}

net::Ip choose(const net::Links& links, net::Family family) {
  const Result<std::optional<net::Ip>> source = net::default_source(family);
  return masquerade_address(links, family, source ? *source : std::nullopt);
}

}  // namespace

std::vector<net::Link> attachable(const net::Links& links) {
  std::vector<net::Link> out;
  for (const net::Link& link : links.links) {
    if (link.loopback || !link.ethernet || link.master_kind == "bond" || link.master_kind == "team") continue;
    out.push_back(link);
  }
  return out;
}

net::Ip masquerade_address(const net::Links& links, net::Family family, const std::optional<net::Ip>& default_source) {
  const auto fits = [&](const net::LocalAddress& a) {
    return a.global && a.address.family() == family && !a.address.is_loopback();
  };
  const auto preferred = std::find_if(links.addresses.begin(), links.addresses.end(), [&](const net::LocalAddress& a) {
    return fits(a) && default_source && a.address == *default_source;
  });
  if (preferred != links.addresses.end()) return preferred->address;
  const auto any = std::find_if(links.addresses.begin(), links.addresses.end(), fits);
  return any != links.addresses.end() ? any->address : net::Ip();
}

void write_node(const net::Links& links, const NodeMaps& maps, Report& report) {
  std::map<bpf::addr16, std::uint32_t> addresses;
  for (const net::LocalAddress& a : links.addresses) {
    if (!a.address.is_loopback()) addresses.emplace(to_addr16(a.address), a.link);
  }
  sync_map(maps.addresses, addresses, "map node_addresses", report);

  std::map<std::uint32_t, std::uint32_t> ports;
  for (const net::Link& link : links.links) {
    if (link.master_kind == "bridge") ports.emplace(link.index, link.master);
  }
  sync_map(maps.bridge_ports, ports, "map bridge_ports", report);

  const std::map<std::uint32_t, bpf::node_config> config{
      {0U, {to_addr16(choose(links, net::Family::V4)), to_addr16(choose(links, net::Family::V6))}}};
  sync_map(maps.config, config, "map node_config", report);
}

}  // namespace fairlead::proxy::dataplane::ebpf
