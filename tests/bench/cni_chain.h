// CniChain: runs the plugins of one network configuration for one container after another as a runtime does
// (containernetworking/cni libcni): each is a process with the configuration on its stdin; the result of one is the
// prevResult of the next.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::tests::bench {

struct CniPlugin {
  std::string type;
  std::string members;  // of its configuration, JSON text: `"bridge": "cni0", "mtu": 1400`; may be empty
};

struct CniChain {
  std::string directory;  // of the executables
  std::vector<CniPlugin> plugins;
};

struct CniContainer {
  std::string id;
  std::string netns;
  int host_port = 0;  // for 8080/tcp inside
};

struct CniOutcome {
  double ms = 0;       // from the first spawn to the last exit
  std::string result;  // what the last plugin printed
};

// A failure is undone with DEL, as by a runtime.
Result<CniOutcome> cni_add(const CniChain& chain, const CniContainer& container);
// From the last plugin to the first, each with `result` as its prevResult.
Result<CniOutcome> cni_del(const CniChain& chain, const CniContainer& container, const std::string& result);
// Of the first plugin alone.
Result<CniOutcome> cni_version(const CniChain& chain);

}  // namespace fairlead::tests::bench
