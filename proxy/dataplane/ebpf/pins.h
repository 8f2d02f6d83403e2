// pins: files and folders on a bpffs.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::proxy::dataplane::ebpf {

Status make_dir(const std::string& path);  // standing already is fine
bool is_dir(const std::string& path);
std::vector<std::string> list_dir(const std::string& path);  // by name; empty as well when there is none

// Pins and folders of pins, at most `depth` levels down. What is gone already is fine.
Status remove_tree(const std::string& path, int depth = 3);

}  // namespace fairlead::proxy::dataplane::ebpf
