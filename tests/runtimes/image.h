// image: a container image made on the spot of Debian's busybox-static, as the archive that `docker save` writes.
#pragma once

#include <string>

#include "base/result.h"

namespace fairlead::tests::runtimes {

inline constexpr char kImage[] = "localhost/box:1";
inline constexpr int kAnswerPort = 8080;

// Its command answers every TCP connection at kAnswerPort with the container's host name.
Status write_image(const std::string& path);

}  // namespace fairlead::tests::runtimes
