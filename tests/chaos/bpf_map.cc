#include "tests/chaos/bpf_map.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace fairlead::tests::chaos {
namespace {

int bpf(bpf_cmd command, bpf_attr& attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

std::uint64_t pointer(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

bpf_attr element(int fd, const void* key, const void* value) {
  bpf_attr attributes{};
  attributes.map_fd = static_cast<std::uint32_t>(fd);
  attributes.key = pointer(key);
  attributes.value = pointer(value);
  return attributes;
}

}  // namespace

Result<BpfMap> BpfMap::open(const std::string& pin) {
  bpf_attr attributes{};
  attributes.pathname = pointer(pin.c_str());
  base::Fd fd(bpf(BPF_OBJ_GET, attributes));
  if (!fd) return Error::from_errno(pin, errno);
  bpf_map_info info{};
  bpf_attr question{};
  question.info.bpf_fd = static_cast<std::uint32_t>(fd.get());
  question.info.info_len = sizeof info;
  question.info.info = pointer(&info);
  if (bpf(BPF_OBJ_GET_INFO_BY_FD, question) != 0) return Error::from_errno(pin + ": info", errno);
  return BpfMap(std::move(fd), info.key_size, info.value_size);
}

Status BpfMap::each(const std::function<void(const Bytes&, const Bytes&)>& visit) const {
  Bytes key(key_size_);
  Bytes next(key_size_);
  bpf_attr attributes = element(fd_.get(), nullptr, next.data());
  while (bpf(BPF_MAP_GET_NEXT_KEY, attributes) == 0) {
    key = next;
    if (const auto value = find(key)) visit(key, *value);
    attributes = element(fd_.get(), key.data(), next.data());
  }
  return errno == ENOENT ? Status() : Error::from_errno("walk a map", errno);
}

std::optional<BpfMap::Bytes> BpfMap::find(const Bytes& key) const {
  Bytes value(value_size_);
  bpf_attr attributes = element(fd_.get(), key.data(), value.data());
  if (bpf(BPF_MAP_LOOKUP_ELEM, attributes) != 0) return std::nullopt;
  return value;
}

Status BpfMap::erase(const Bytes& key) const {
  bpf_attr attributes = element(fd_.get(), key.data(), nullptr);
  if (bpf(BPF_MAP_DELETE_ELEM, attributes) != 0) return Error::from_errno("delete from a map", errno);
  return {};
}

}  // namespace fairlead::tests::chaos
