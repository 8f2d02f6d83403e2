#include "kube/token.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::kube {
namespace {

// -1 when it cannot be told.
std::int64_t modified_ns(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return -1;
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

Result<std::string> TokenSource::token() {
  if (file_.empty()) return token_;
  const std::int64_t modified = modified_ns(file_);
  const base::Instant now = clock_.now();
  if (modified_ns_ >= 0 && modified == modified_ns_ && now - read_at_ < re_read_) return token_;
  constexpr std::size_t kLargestToken = std::size_t{1} << 20;
  auto content = base::read_file(file_, kLargestToken);
  const std::string fresh = content ? std::string(base::trim(*content)) : std::string();
  if (fresh.empty()) {
    if (!token_.empty()) return token_;
    if (!content) return std::move(content).error().with_context("bearer token");
    return Error(base::cat("bearer token: ", file_, " is empty"));
  }
  token_ = fresh;
  read_at_ = now;
  modified_ns_ = modified;
  return token_;
}

}  // namespace fairlead::kube
