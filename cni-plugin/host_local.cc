// host-local: addresses from the node's own pools, kept in the files of the reference plugin (ipam/store.h).
#include <cerrno>

#include "base/file.h"
#include "cni-plugin/host_local_config.h"
#include "cni-plugin/plugin.h"
#include "ipam/store.h"

namespace fairlead::cni {
namespace {

Result<ipam::Place> place_of(const Call& call, const World& world) {
  return ipam::Place{TRY(host_local_data_dir(call)), call.attachment.network, world.run_dir,
                     ipam::this_boot(world.boot_id)};
}

ipam::Holder holder_of(const Attachment& attachment) { return {attachment.container_id, attachment.ifname}; }

// The store tells by errno what went wrong.
Error coded(Error error) {
  switch (error.errno_value()) {
    case 0: return error;
    case EEXIST: return std::move(error).with_code(code::kAlreadyAttached);
    case EADDRNOTAVAIL:
    case EAGAIN: return std::move(error).with_code(code::kTryAgain);
    case EADDRINUSE:
    case EINVAL: return std::move(error).with_code(code::kInvalidConfig);
    default: return std::move(error).with_code(code::kIo);
  }
}

template <typename T>
Result<T> coded(Result<T> result) {
  if (!result) return coded(std::move(result).error());
  return result;
}

// Absent when there is no directory: then nothing is held.
Result<std::optional<ipam::Store>> existing_store(const Call& call, const World& world) {
  const ipam::Place place = TRY(place_of(call, world));
  return coded(ipam::Store::open_existing(place));
}

Result<Dns> read_dns(const std::string& path) {
  if (path.empty()) return Dns();
  constexpr std::size_t kLargest = 1 << 20;
  auto text = base::read_file(path, kLargest);
  if (!text) return std::move(text).error().with_context("ipam.resolvConf").with_code(code::kIo);
  return parse_resolv_conf(*text);
}

Result<NetResult> add(const Call& call, const World& world) {
  const HostLocalConfig config = TRY(read_host_local(call));
  const ipam::Place place = TRY(place_of(call, world));
  NetResult result;
  result.dns = TRY(read_dns(config.resolv_conf));
  result.routes = config.routes;
  ipam::Store store = TRY(coded(ipam::Store::open(place)));
  for (const ipam::Lease& lease : TRY(coded(store.allocate(holder_of(call.attachment), config.sets, config.wanted))))
    result.ips.push_back({std::nullopt, lease.address, lease.gateway});
  return result;
}

Status del(const Call& call, const World& world) {
  auto store = TRY(existing_store(call, world));
  return store ? coded(store->release(holder_of(call.attachment))) : Status();
}

// As the reference: that it holds something, not what.
Status check(const Call& call, const World& world) {
  TRY(read_host_local(call));
  auto store = TRY(existing_store(call, world));
  if (store && TRY(coded(store->holds(holder_of(call.attachment))))) return {};
  return failure(code::kInternal, "no address is held by container ", call.attachment.container_id, " (",
                 call.attachment.ifname, ")");
}

Status status(const Call& call, const World& world) {
  const HostLocalConfig config = TRY(read_host_local(call));
  Status able = ipam::available(TRY(place_of(call, world)), config.sets);
  if (!able) return std::move(able).error().with_code(code::kNotAvailable);
  return {};
}

// The records know who asked us; this knows also what another plugin, or a record that was lost, left in the files.
Status gc(const Call& call, const World& world) {
  auto store = TRY(existing_store(call, world));
  if (!store) return {};
  std::set<ipam::Holder> alive;
  for (const Attachment& attachment : *call.valid) alive.insert(holder_of(attachment));
  return coded(store->keep_only(alive));
}

}  // namespace

const Plugin kHostLocal = {
    .name = "host-local",
    .oldest_version = kVersions[0],
    .about = "hands out addresses from pools of this node",
    .leaves_traces = true,
    .add = add,
    .del = del,
    .check = check,
    .status = status,
    .gc = gc,
};

}  // namespace fairlead::cni
