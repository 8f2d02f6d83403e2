// file: whole-file reads and atomic writes.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace fairlead::base {

// The whole of `path`; refuses files over `limit_bytes` so that a wrong path cannot eat the machine.
Result<std::string> read_file(const std::string& path, std::size_t limit_bytes = std::size_t{256} << 20);

// Readers see the old content or the new, never a part: temporary file in the same directory, then rename(2).
// `temporary` for writers that may be killed and are alone with that name: whoever cleans up knows it then.
Status write_file_atomically(const std::string& path, std::string_view content, unsigned mode = 0644,
                             std::string temporary = "");

// All that are missing of `path`, as mkdir -p.
Status make_directories(const std::string& path, unsigned mode = 0755);

}  // namespace fairlead::base
