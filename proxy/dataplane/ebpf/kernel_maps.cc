#include "proxy/dataplane/ebpf/kernel_maps.h"

#include <bpf/bpf.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

constexpr std::uint32_t kChunk = 4096;

// One batch call; the kernel tells how many elements it took before an error (linux v6.1 kernel/bpf/syscall.c
// generic_map_update_batch).
template <typename Call>
Written run_batch(std::size_t size, const char* what, Call call) {
  Written written;
  while (written.count < size) {
    auto count = static_cast<std::uint32_t>(std::min<std::size_t>(size - written.count, kChunk));
    const std::uint32_t wanted = count;
    if (const int rc = call(written.count, &count); rc < 0) {
      written.count += count < wanted ? count : 0;
      written.error = Error::from_errno(what, -rc);
      return written;
    }
    written.count += count;
  }
  return written;
}

bpf::source_key to_key(const SourceRow& row) {
  return {.prefixlen = bpf::SOURCE_PREFIX + mapped_length(row.source),
          .frontend = row.frontend,
          .source = to_addr16(row.source.address)};
}

}  // namespace

Result<std::vector<FrontendRow>> KernelMaps::read_frontends() {
  std::vector<FrontendRow> rows;
  std::vector<bpf::frontend_key> keys(kChunk);
  std::vector<bpf::frontend> values(kChunk);
  std::uint32_t cursor = 0;
  bool first = true;
  for (;;) {
    std::uint32_t count = static_cast<std::uint32_t>(keys.size());
    const int rc = ::bpf_map_lookup_batch(frontends_, first ? nullptr : &cursor, &cursor, keys.data(), values.data(),
                                          &count, nullptr);
    if (rc == -ENOSPC) {  // a bucket longer than the buffer
      keys.resize(keys.size() * 2);
      values.resize(values.size() * 2);
      continue;
    }
    if (rc < 0 && rc != -ENOENT) return Error::from_errno("look up frontends", -rc);
    for (std::uint32_t i = 0; i < count; ++i) rows.push_back({keys[i], values[i]});
    if (rc == -ENOENT) return rows;
    first = false;
  }
}

// A trie hands out no batches before Linux 5.13, and its rows are few.
Result<std::vector<SourceRow>> KernelMaps::read_sources() {
  std::vector<SourceRow> rows;
  bpf::source_key key{};
  const bpf::source_key* previous = nullptr;
  for (;;) {
    const int rc = ::bpf_map_get_next_key(sources_, previous, &key);
    if (rc == -ENOENT) return rows;
    if (rc < 0) return Error::from_errno("look up sources", -rc);
    if (key.prefixlen >= bpf::SOURCE_PREFIX) {
      rows.push_back({key.frontend, to_prefix(key.source, key.prefixlen - bpf::SOURCE_PREFIX)});
    }
    previous = &key;
  }
}

Status KernelMaps::read_slots(const std::function<void(std::span<const bpf::slot>)>& visit) {
  const std::size_t bytes = std::size_t{slot_capacity_} * sizeof(bpf::slot);
  void* memory = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, slots_, 0);
  if (memory == MAP_FAILED) return Error::from_errno("mmap slots", errno);
  visit({static_cast<const bpf::slot*>(memory), slot_capacity_});
  ::munmap(memory, bytes);
  return {};
}

Written KernelMaps::write_slots(std::span<const std::uint32_t> indexes, std::span<const bpf::slot> slots) {
  return run_batch(indexes.size(), "update slots", [&](std::size_t from, std::uint32_t* count) {
    return ::bpf_map_update_batch(slots_, indexes.data() + from, slots.data() + from, count, nullptr);
  });
}

Written KernelMaps::write_frontends(std::span<const bpf::frontend> rows) {
  if (rows.size() == 1) {
    const int rc = ::bpf_map_update_elem(frontends_, &rows[0].key, rows.data(), BPF_ANY);
    if (rc < 0) return {0, Error::from_errno("update frontend", -rc)};
    return {1, std::nullopt};
  }
  std::vector<bpf::frontend_key> keys;
  keys.reserve(rows.size());
  for (const bpf::frontend& row : rows) keys.push_back(row.key);
  return run_batch(rows.size(), "update frontends", [&](std::size_t from, std::uint32_t* count) {
    return ::bpf_map_update_batch(frontends_, keys.data() + from, rows.data() + from, count, nullptr);
  });
}

Written KernelMaps::delete_frontends(std::span<const bpf::frontend_key> keys) {
  Written written;
  // One by one: a key that somebody else removed must not stop the rest, and a batch would stop there.
  for (const bpf::frontend_key& key : keys) {
    if (const int rc = ::bpf_map_delete_elem(frontends_, &key); rc < 0 && rc != -ENOENT) {
      written.error = Error::from_errno("delete frontend", -rc);
      return written;
    }
    ++written.count;
  }
  return written;
}

Written KernelMaps::write_sources(std::span<const SourceRow> rows) {
  Written written;
  const std::uint32_t nothing = 0;
  for (const SourceRow& row : rows) {
    const bpf::source_key key = to_key(row);
    if (const int rc = ::bpf_map_update_elem(sources_, &key, &nothing, BPF_ANY); rc < 0) {
      written.error = Error::from_errno("update source", -rc);
      return written;
    }
    ++written.count;
  }
  return written;
}

Written KernelMaps::delete_sources(std::span<const SourceRow> rows) {
  Written written;
  for (const SourceRow& row : rows) {
    const bpf::source_key key = to_key(row);
    if (const int rc = ::bpf_map_delete_elem(sources_, &key); rc < 0 && rc != -ENOENT) {
      written.error = Error::from_errno("delete source", -rc);
      return written;
    }
    ++written.count;
  }
  return written;
}

Status KernelMaps::wait_for_readers() {
  // BPF programs run inside an RCU read section, and this command is synchronize_rcu() (man 2 membarrier; linux v6.1
  // kernel/sched/membarrier.c).
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return {};
  // Refused with nohz_full. An update of a map of maps waits the same way (kernel/bpf/syscall.c
  // maybe_wait_bpf_programs).
  const base::Fd inner(::bpf_map_create(BPF_MAP_TYPE_ARRAY, nullptr, 4, 4, 1, nullptr));
  if (!inner) return Error::from_errno("create a map to wait for readers", errno);
  LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<__u32>(inner.get()));
  const base::Fd outer(::bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, nullptr, 4, 4, 1, &options));
  if (!outer) return Error::from_errno("create a map of maps to wait for readers", errno);
  const std::uint32_t zero = 0;
  const int value = inner.get();
  if (const int rc = ::bpf_map_update_elem(outer.get(), &zero, &value, BPF_ANY); rc < 0) {
    return Error::from_errno("wait for readers", -rc);
  }
  return {};
}

}  // namespace fairlead::proxy::dataplane::ebpf
