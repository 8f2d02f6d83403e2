#include "proxy/dataplane/ebpf/pins.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::ebpf {

Status make_dir(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return Error::from_errno(base::cat("mkdir ", path), errno);
}

bool is_dir(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::vector<std::string> list_dir(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
  while (dir != nullptr) {
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status remove_tree(const std::string& path, int depth) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return Error::from_errno(base::cat("stat ", path), errno);
  }
  if (!S_ISDIR(info.st_mode)) {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return Error::from_errno(base::cat("unlink ", path), errno);
  }
  for (const std::string& name : list_dir(path)) {
    if (depth > 0) TRY(remove_tree(base::cat(path, "/", name), depth - 1));
  }
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
  return Error::from_errno(base::cat("rmdir ", path), errno);
}

}  // namespace fairlead::proxy::dataplane::ebpf
