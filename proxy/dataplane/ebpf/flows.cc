#include "proxy/dataplane/ebpf/flows.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <functional>
#include <optional>
#include <vector>

namespace fairlead::proxy::dataplane::ebpf {
namespace {

constexpr std::uint32_t kChunk = 4096;
constexpr std::uint8_t kUdp = static_cast<std::uint8_t>(model::Protocol::Udp);

using Endpoints = std::set<std::pair<bpf::addr16, std::uint16_t>>;
using Visit = std::function<void(const bpf::flow_key&, const bpf::flow&)>;

// The hash may change meanwhile: a row is missed or met twice, which is as if it had been later or earlier.
Status for_each_flow(int fd, const Visit& visit) {
  std::vector<bpf::flow_key> keys(kChunk);
  std::vector<bpf::flow> values(kChunk);
  std::uint32_t cursor = 0;
  bool first = true;
  for (;;) {
    auto count = static_cast<std::uint32_t>(keys.size());
    const int rc =
        ::bpf_map_lookup_batch(fd, first ? nullptr : &cursor, &cursor, keys.data(), values.data(), &count, nullptr);
    if (rc == -ENOSPC) {  // a bucket longer than the buffer
      keys.resize(keys.size() * 2);
      values.resize(values.size() * 2);
      continue;
    }
    if (rc < 0 && rc != -ENOENT) return Error::from_errno("look up flows", -rc);
    for (std::uint32_t i = 0; i < count; ++i) visit(keys[i], values[i]);
    if (rc == -ENOENT) return {};
    first = false;
  }
}

// A row "client to frontend" tells it all. Where both ends are one address nothing was chosen: a client that came
// directly and got another port.
bool is_stale(const bpf::flow_key& key, const bpf::flow& row, const Publisher& publisher,
              std::optional<Endpoints>& endpoints) {
  if (key.proto != kUdp || row.kind != bpf::FLOW_FORWARD) return false;
  const bpf::flow_key& reply = row.other;
  if ((row.flags & bpf::FLOW_OF_SOCKET) != 0) {
    if (!endpoints) endpoints = publisher.udp_endpoints();
    return endpoints->count({reply.src, reply.sport}) == 0;
  }
  if (key.dst == reply.src && key.dport == reply.sport) return false;
  return !publisher.may_stay({.addr = key.dst, .port = key.dport, .proto = key.proto, .pad = 0}, reply.src,
                             reply.sport);
}

}  // namespace

void cut_udp_flows(int flows_fd, const Publisher& publisher, Report& report) {
  std::vector<bpf::flow_key> stale;
  std::optional<Endpoints> endpoints;
  const Status seen = for_each_flow(flows_fd, [&](const bpf::flow_key& key, const bpf::flow& row) {
    if (!is_stale(key, row, publisher, endpoints)) return;
    stale.push_back(row.other);  // first the half that a packet of the client would bring back the other one with
    stale.push_back(key);
  });
  if (!seen) report.failures.push_back({{}, seen.error(), "map flows"});
  int error = 0;
  for (const bpf::flow_key& key : stale) {
    const int rc = ::bpf_map_delete_elem(flows_fd, &key);
    if (rc == -ENOENT) continue;
    ++report.kernel_writes;
    if (rc < 0) error = -rc;
  }
  if (error != 0) report.failures.push_back({{}, Error::from_errno("delete", error), "map flows"});
}

}  // namespace fairlead::proxy::dataplane::ebpf
