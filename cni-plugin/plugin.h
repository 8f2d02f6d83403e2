// Plugin: one of the names this executable answers to. World: what it may touch of the host, injected.
//
// The dispatcher (dispatch.h) has checked the Call before a verb runs, keeps the attachment's write-ahead record around
// it (journal.h), and undoes a failed ADD by calling `del`. So a plugin's `del` takes away whatever an `add` that was
// cut off at any point may have left, finds its objects by names and marks made from the Attachment and the
// configuration alone, and is no error when there is nothing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cni-plugin/call.h"
#include "cni-plugin/net_result.h"

namespace fairlead::cni {

struct World {
  std::string run_dir = "/run/fairlead/cni";  // records and indexes; dies with the boot, as kernel state does
  std::string boot_id;                        // /proc/sys/kernel/random/boot_id
};

struct Plugin {
  std::string_view name;
  std::string_view oldest_version;  // of kVersions
  std::string_view about;           // what it prints when it is called without CNI_COMMAND
  // Whether it leaves things outside the container's network namespace, so that a record of it is kept.
  bool leaves_traces = true;
  bool has_ipam = false;  // whether `ipam` of the configuration means something to it
  Result<NetResult> (*add)(const Call&, const World&) = nullptr;
  Status (*del)(const Call&, const World&) = nullptr;
  Status (*check)(const Call&, const World&) = nullptr;   // null: nothing to check
  Status (*status)(const Call&, const World&) = nullptr;  // null: always able
  // Beyond the records' own: what of this network is held by nobody in call.valid. null: nothing.
  Status (*gc)(const Call&, const World&) = nullptr;
};

// Every plugin, in the order --help lists them.
const std::vector<const Plugin*>& plugins();
const Plugin* find_plugin(std::string_view name);

extern const Plugin kFairlead, kBridge, kPtp, kMacvlan, kIpvlan, kLoopback;  // interfaces
extern const Plugin kHostLocal, kStatic;                                     // addresses
extern const Plugin kPortmap, kBandwidth, kFirewall, kTuning;                // chained

}  // namespace fairlead::cni
