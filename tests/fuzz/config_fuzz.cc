// libFuzzer entry for what an operator hands the agent: a KubeProxyConfiguration, or a command line of one argument per
// line. Beyond not crashing: what was accepted is written and read back as it was.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/options.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

void read_as_file(std::string_view text) {
  const auto decoded = decode_kube_proxy_configuration(text);
  if (!decoded) return check(!decoded.error().message().empty());
  const auto again = decode_kube_proxy_configuration(to_yaml(decoded->configuration));
  check(again.has_value() && again->warnings.empty() && again->configuration == decoded->configuration);
  (void)effect_of(decoded->configuration, NodeFamilies::Ipv4Only).has_value();
  (void)effect_of(decoded->configuration, NodeFamilies::Both).has_value();
}

void read_as_command_line(std::string_view text) {
  std::vector<std::string> arguments;
  for (const std::string_view line : base::split(text, '\n')) arguments.emplace_back(line);
  const auto parsed = parse_options(
      arguments, {.node_name_variable = "node1",
                  .hostname = "node1",
                  .default_cgroup = [] { return "/cgroup2"; },
                  .read_file = [](const std::string& path) -> Result<std::string> { return Error(path); }});
  if (const auto* stop = std::get_if<Stop>(&parsed)) return check(!stop->text.empty());
  (void)configz_json(std::get<Options>(parsed));
}

}  // namespace
}  // namespace fairlead::agent

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0: fairlead::agent::read_as_command_line(text); break;
    case 1: fairlead::agent::read_as_file(text); break;
    default:
      fairlead::agent::read_as_file(
          fairlead::base::cat("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n", text));
  }
  return 0;
}
