#include "agent/surroundings.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "agent/mounts.h"
#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

constexpr std::size_t kLargestConfiguration = std::size_t{1} << 20;  // what etcd takes, and so a ConfigMap

// As kube-proxy tells (kubernetes v1.36 cmd/kube-proxy/app/server_linux.go).
NodeFamilies node_families() {
  std::error_code ignored;
  if (!std::filesystem::exists("/proc/net/if_inet6", ignored)) return NodeFamilies::Ipv4Only;
  const auto disabled = base::read_file("/proc/sys/net/ipv6/conf/all/disable_ipv6");
  return disabled && base::trim(*disabled) == "1" ? NodeFamilies::Ipv4Only : NodeFamilies::Both;
}

}  // namespace

Surroundings surroundings() {
  const char* node_name = std::getenv("NODE_NAME");
  std::array<char, 256> host{};
  std::error_code ignored;
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return {.node_name_variable = node_name == nullptr ? "" : node_name,
          .hostname = host.data(),
          .families = node_families(),
          .default_cgroup = default_cgroup,
          .read_file = [](const std::string& path) { return base::read_file(path, kLargestConfiguration); },
          .cni_binary = std::filesystem::read_symlink("/proc/self/exe", ignored).replace_filename("fairlead-cni")};
}

}  // namespace fairlead::agent
