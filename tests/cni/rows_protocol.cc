#include "tests/cni/rows.h"

namespace fairlead::cnitest {
namespace {

constexpr char kBridge[] = R"([{"type": "bridge", "bridge": "cni0", "isGateway": true,
    "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}])";

Row bad_variable(const std::string& name, const std::string& variable, std::optional<std::string> value,
                 const std::string& mentions) {
  return {.name = name, .plugins = kBridge, .steps = {add(with_environment(variable, value))}, .mentions = mentions};
}

}  // namespace

std::vector<Row> protocol_rows() {
  Step version;
  version.verb = "VERSION";
  Row unknown_verb = {
      .name = "AnUnknownVerb", .plugins = kBridge, .steps = {add(with_environment("CNI_COMMAND", "ADDD"))}};
  return {
      unknown_verb,
      bad_variable("NoContainerId", "CNI_CONTAINERID", std::nullopt, "CNI_CONTAINERID"),
      bad_variable("NoInterfaceName", "CNI_IFNAME", std::nullopt, "CNI_IFNAME"),
      bad_variable("NoNetworkNamespace", "CNI_NETNS", std::nullopt, "CNI_NETNS"),
      bad_variable("AContainerIdWithASlash", "CNI_CONTAINERID", "a/b", "invalid characters|CNI_CONTAINERID="),
      bad_variable("AnInterfaceNameThatIsTooLong", "CNI_IFNAME", "sixteencharacter", "interface name|CNI_IFNAME="),
      bad_variable("AnInterfaceNameWithAColon", "CNI_IFNAME", "eth:0", "interface name|CNI_IFNAME="),
      bad_variable("AnInterfaceNameWithABlank", "CNI_IFNAME", "eth 0", "interface name|CNI_IFNAME="),
      bad_variable("AnInterfaceNameOfDots", "CNI_IFNAME", "..", "interface name|CNI_IFNAME="),
      bad_variable("ANetworkNamespaceThatIsNotThere", "CNI_NETNS", "/run/netns/none", "/run/netns/none"),
      bad_variable("ANetworkNamespaceThatIsAPlainFile", "CNI_NETNS", "/etc/passwd", "/etc/passwd"),
      {.name = "AVersionNobodyKnows",
       .plugins = kBridge,
       .steps = {add(), del()},
       .versions = {"9.9.9"},
       .mentions = "9.9.9"},
      {.name = "AWrongTypeInTheConfiguration",
       .plugins = R"([{"type": "bridge", "bridge": 5, "ipam": {}}])",
       .steps = {add(), del()},
       .mentions = "bridge"},
      {.name = "AnIpamPluginThatIsNotThere",
       .plugins = R"([{"type": "bridge", "ipam": {"type": "nowhere"}}])",
       .steps = {add(), del()},
       .mentions = "nowhere"},
  };
}

}  // namespace fairlead::cnitest
