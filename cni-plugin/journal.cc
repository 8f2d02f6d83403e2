#include "cni-plugin/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "cni-plugin/marks.h"

namespace fairlead::cni {
namespace {

using base::cat;

constexpr std::string_view kBad = ".bad";
constexpr std::size_t kMaxRecordBytes = 2 * kMaxStdinBytes + (std::size_t{1} << 20);

// {"state":"adding"  ,...: a state is written over another in place, in one write of the same size.
constexpr std::string_view kHead = "{\"state\":";
constexpr std::size_t kStateBytes = 10;

std::string padded(State state) {
  std::string text = cat("\"", to_string(state), "\"");
  text.resize(kStateBytes, ' ');
  return text;
}

std::string file_text(const Record& record) {
  const std::string json = to_json(record);
  const std::size_t state_end = kHead.size() + to_string(record.state).size() + 2;
  return cat(kHead, padded(record.state), std::string_view(json).substr(state_end), "\n");
}

std::string records_folder(const World& world) { return cat(world.run_dir, "/records"); }

// "~" is in no name of a network, so a cut one cannot be another's whole one.
std::string network_folder(const World& world, std::string_view network) {
  constexpr std::size_t kWhole = 200;  // of the 255 bytes of a file's name
  if (network.size() <= kWhole) return cat(records_folder(world), "/", network);
  return cat(records_folder(world), "/", network.substr(0, kWhole), "~", digest(network));
}

// With every folder above it that is missing.
Status make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  const std::size_t slash = path.rfind('/');
  if (errno != ENOENT || slash == path.npos || slash == 0) return Error::from_errno(path, errno);
  TRY(make_folder(path.substr(0, slash)));
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return Error::from_errno(path, errno);
}

std::vector<std::string> list_folder(const std::string& folder) {
  std::vector<std::string> paths;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(folder.c_str()), ::closedir);
  if (!open) return paths;
  while (const dirent* each = ::readdir(open.get())) {
    const std::string_view name = each->d_name;
    const bool is_bad = name.size() > kBad.size() && name.substr(name.size() - kBad.size()) == kBad;
    if (name.front() != '.' && !is_bad) paths.push_back(cat(folder, "/", name));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(path, errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<bool> lock(int fd, Entry::IfBusy busy, const std::string& path) {
  while (::flock(fd, LOCK_EX | (busy == Entry::IfBusy::Refuse ? LOCK_NB : 0)) != 0) {
    if (errno != EINTR) return Error::from_errno(path, errno);
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0) return Error::from_errno(path, errno);
  return info.st_nlink > 0;  // else its holder has removed it meanwhile
}

}  // namespace

std::string record_path(const World& world, std::string_view plugin, const Attachment& attachment) {
  constexpr std::size_t kShown = 80;  // for people; the digest decides
  return cat(network_folder(world, attachment.network), "/",
             std::string_view(attachment.container_id).substr(0, kShown), "@", attachment.ifname, ".", plugin, ".",
             digest(attachment));
}

std::vector<std::string> list_records(const World& world, const std::string& network) {
  return list_folder(network_folder(world, network));
}

std::vector<std::string> list_all_records(const World& world) {
  std::vector<std::string> all;
  for (const std::string& folder : list_folder(records_folder(world))) {
    for (std::string& path : list_folder(folder)) all.push_back(std::move(path));
  }
  return all;
}

bool is_record_path(const World& world, std::string_view path) {
  const std::string folder = records_folder(world) + "/";
  if (path.substr(0, folder.size()) != folder) return false;
  const auto parts = base::split(path.substr(folder.size()), '/');
  return parts.size() == 2 && !parts[0].empty() && !parts[1].empty() && parts[0].front() != '.' &&
         parts[1].front() != '.';
}

Result<Entry> Entry::open(std::string path, IfBusy busy) {
  Entry entry(std::move(path));
  for (bool stands = false; !stands;) {
    entry.fd_ = base::Fd(::open(entry.path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!entry.fd_ && errno == ENOENT) return entry;
    if (!entry.fd_) return Error::from_errno(entry.path_, errno).with_code(code::kIo);
    stands = TRY(lock(entry.fd_.get(), busy, entry.path_));
  }
  // Nobody renames or rewrites it while it is locked.
  const std::string text = TRY(base::read_file(entry.path_, kMaxRecordBytes));
  auto record = parse_record(text);
  if (record) {
    entry.record_ = *std::move(record);
    return entry;
  }
  const std::string aside = cat(entry.path_, kBad);
  if (::rename(entry.path_.c_str(), aside.c_str()) != 0)
    return Error::from_errno(entry.path_, errno).with_code(code::kIo);
  entry.warning_ = cat(entry.path_, ": is no record (", record.error().message(), "); set aside as ", aside);
  entry.fd_.reset();
  return entry;
}

// The file has no name until it is whole, so nobody ever sees half a record, and a crash before leaves no file.
Status Entry::create(const Record& record) {
  const std::string folder = path_.substr(0, path_.rfind('/'));
  const auto open_nameless = [&] { return ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); };
  base::Fd fd(open_nameless());
  if (!fd && errno == ENOENT) {
    TRY(make_folder(folder));
    fd = base::Fd(open_nameless());
  }
  if (!fd) return Error::from_errno(cat(folder, ": a file without a name"), errno).with_code(code::kIo);
  TRY(write_all(fd.get(), file_text(record), path_));
  TRY(lock(fd.get(), IfBusy::Refuse, path_));
  const std::string nameless = cat("/proc/self/fd/", fd.get());
  if (::linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) != 0)
    return Error::from_errno(path_, errno).with_code(errno == EEXIST ? code::kTryAgain : code::kIo);
  fd_ = std::move(fd);
  record_ = record;
  return {};
}

Status Entry::set_state(State state) {
  const std::string text = padded(state);
  if (::pwrite(fd_.get(), text.data(), text.size(), kHead.size()) != static_cast<ssize_t>(text.size()))
    return Error::from_errno(path_, errno).with_code(code::kIo);
  record_->state = state;
  return {};
}

Status Entry::remove() {
  if (::unlink(path_.c_str()) != 0 && errno != ENOENT) return Error::from_errno(path_, errno).with_code(code::kIo);
  fd_.reset();
  record_.reset();
  return {};
}

}  // namespace fairlead::cni
