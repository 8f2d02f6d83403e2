#include "cni-plugin/plugin.h"

namespace fairlead::cni {

const std::vector<const Plugin*>& plugins() {
  static const std::vector<const Plugin*> kAll = {
      &kFairlead,  &kBridge, &kPtp,     &kMacvlan,   &kIpvlan,   &kLoopback,
      &kHostLocal, &kStatic, &kPortmap, &kBandwidth, &kFirewall, &kTuning,
  };
  return kAll;
}

const Plugin* find_plugin(std::string_view name) {
  for (const Plugin* plugin : plugins()) {
    if (plugin->name == name) return plugin;
  }
  return nullptr;
}

}  // namespace fairlead::cni
