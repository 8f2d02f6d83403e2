// lifecycle: the verbs that change something, with the attachment's record around them (journal.h).
//
// What a crashed or failed ADD left is taken away by the plugin's `del`, called with the configuration that the record
// holds. `notes` gets lines for stderr.
#pragma once

#include <string>
#include <vector>

#include "cni-plugin/journal.h"
#include "cni-plugin/plugin.h"

namespace fairlead::cni {

// The result as JSON of call.version. An Error when the attachment stands already; what is left of one that was cut
// off, or of one whose network namespace is gone, is taken away first. When the ADD fails it is undone.
Result<std::string> add_attachment(const Plugin& plugin, const Call& call, const World& world, std::string& notes);

// By what the call says, and by what the record says where that is more.
Status delete_attachment(const Plugin& plugin, const Call& call, const World& world, std::string& notes);

// Every recorded attachment of this plugin and network that is not in call.valid. Goes on behind errors.
Status release_all_but_valid(const Plugin& plugin, const Call& call, const World& world, std::string& notes);

// Takes away what the record in `entry` is about, then the record. REQUIRES that there is one.
Status finish(const Plugin& plugin, Entry& entry, const World& world);

// One sentence of all; the code is the first one's.
Status joined(const std::vector<Error>& errors);

}  // namespace fairlead::cni
