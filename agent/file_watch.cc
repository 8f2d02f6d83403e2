#include "agent/file_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string_view>

namespace fairlead::agent {
namespace {

constexpr std::chrono::milliseconds kDebounce{10};  // several events of one change, one look
// kubelet's volumes: every file is a link into this directory, itself a link that is swapped when the object changes.
constexpr std::string_view kVolumeData = "..data";

}  // namespace

Result<std::unique_ptr<FileWatch>> FileWatch::open(base::Loop& loop, std::string path, std::function<void()> touched) {
  std::unique_ptr<FileWatch> watch(new FileWatch(loop, std::move(path), std::move(touched)));
  TRY(watch->start());
  return watch;
}

Status FileWatch::start() {
  inotify_ = base::Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_) return Error::from_errno("inotify_init1", errno);
  const std::string parent = std::filesystem::path(path_).parent_path().string();
  const std::string directory = parent.empty() ? "." : parent;
  directory_watch_ = ::inotify_add_watch(inotify_.get(), directory.c_str(), IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO);
  if (directory_watch_ < 0) return Error::from_errno(directory, errno);
  watch_file();
  events_ = loop_.watch(inotify_.get(), base::Interest::Read, [this](base::Ready) { drain(); });
  return {};
}

// The file itself, for a link to a file elsewhere. Adding it again moves on to what the path leads to now; while that
// is nothing, the directory tells.
void FileWatch::watch_file() { (void)::inotify_add_watch(inotify_.get(), path_.c_str(), IN_CLOSE_WRITE); }

void FileWatch::drain() {
  const std::string own_name = std::filesystem::path(path_).filename().string();
  bool touched = false;
  alignas(inotify_event) std::array<char, std::size_t{16} * 1024> buffer;
  ssize_t length = 0;
  while ((length = ::read(inotify_.get(), buffer.data(), buffer.size())) > 0) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const std::string_view name = event.len == 0 ? "" : buffer.data() + at + sizeof event;
      touched = touched || event.wd != directory_watch_ || name == own_name || name == kVolumeData;
      at += sizeof event + event.len;
    }
  }
  if (!touched) return;
  watch_file();
  if (!timer_) {
    timer_ = loop_.after(kDebounce, [this] {
      timer_ = base::Loop::none();
      touched_();
    });
  }
}

}  // namespace fairlead::agent
