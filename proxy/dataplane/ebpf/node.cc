#include "proxy/dataplane/ebpf/node.h"

#include <bpf/bpf.h>
#include <sys/socket.h>

#include <cerrno>
#include <map>

#include "base/delta.h"
#include "base/fd.h"

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

std::uint64_t own_netns_cookie() {
  constexpr int kSoNetnsCookie = 71;  // linux v5.14 include/uapi/asm-generic/socket.h
  const base::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return fd && ::getsockopt(fd.get(), SOL_SOCKET, kSoNetnsCookie, &cookie, &size) == 0 ? cookie : 0;
}

std::optional<net::Ip> source_or_nothing(net::Family family) {
  const Result<std::optional<net::Ip>> source = net::default_source(family);
  return source ? *source : std::nullopt;
}

}  // namespace

NodeFacts read_node_facts() {
  return {.default_source_v4 = source_or_nothing(net::Family::V4),
          .default_source_v6 = source_or_nothing(net::Family::V6),
          .netns_cookie = own_netns_cookie()};
}

NodeRows read_node(const NodeMaps& maps) {
  NodeRows rows;
  rows.pod_interfaces = read_map<std::uint32_t, std::uint32_t>(maps.pod_interfaces);
  rows.networks = read_map<bpf::network_key, std::uint32_t>(maps.networks);
  return rows;
}

void write_node(const NodeRows& want, const NodeMaps& maps, Report& report) {
  sync_map(maps.addresses, want.addresses, "map node_addresses", report);
  sync_map(maps.bridge_ports, want.bridge_ports, "map bridge_ports", report);
  sync_map(maps.pod_interfaces, want.pod_interfaces, "map pod_interfaces", report);
  sync_map(maps.networks, want.networks, "map networks", report);
  sync_map(maps.config, std::map<std::uint32_t, bpf::node_config>{{0U, want.config}}, "map node_config", report);
}

}  // namespace fairlead::proxy::dataplane::ebpf
