#include "cni-plugin/plugin.h"

namespace fairlead::cni {

const std::vector<const Plugin*>& plugins() {
  static const std::vector<const Plugin*> kAll = {
      &kBandwidth,
      &kLoopback,
      &kHostLocal,
      &kStatic,
      &kTuning,
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
