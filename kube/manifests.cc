#include "kube/manifests.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::kube {
namespace {

using namespace std::chrono_literals;

constexpr auto kDebounce = 2ms;  // several events of one change, one scan
constexpr std::size_t kLargestFile = std::size_t{64} << 20;
constexpr std::uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB |
                                  IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

bool is_manifest_name(std::string_view name) {
  if (name.starts_with('.')) return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

// Nothing when it is gone (or a dangling link).
Result<std::optional<struct stat>> stat_of(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0) return std::optional<struct stat>(found);
  if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return std::optional<struct stat>();
  return Error::from_errno(path, errno);
}

ManifestSource::Stamp stamp_of(const struct stat& found, bool symlink) {
  constexpr std::int64_t kNanoseconds = 1'000'000'000;
  return {.device = found.st_dev,
          .inode = found.st_ino,
          .size = found.st_size,
          .mtime_ns = found.st_mtim.tv_sec * kNanoseconds + found.st_mtim.tv_nsec,
          .plain = !symlink && found.st_nlink == 1};
}

Result<std::map<std::string, ManifestSource::Stamp>> list(const std::string& directory) {
  std::map<std::string, ManifestSource::Stamp> out;
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (!is_manifest_name(name)) continue;
    const auto found = stat_of(entries->path().string());
    if (!found || !*found) continue;  // gone since; what cannot be reached cannot be read either, and is reported then
    std::error_code ignored;
    if (S_ISREG((*found)->st_mode)) out.emplace(name, stamp_of(**found, entries->is_symlink(ignored)));
  }
  if (error) return Error::from_errno(directory, error.value());
  return out;
}

}  // namespace

ManifestSource::ManifestSource(base::Loop& loop, Sink& sink, ManifestOptions options)
    : loop_(loop), sink_(sink), options_(std::move(options)), set_(options_.node_name) {}

Result<std::unique_ptr<ManifestSource>> ManifestSource::open(base::Loop& loop, Sink& sink, ManifestOptions options) {
  std::unique_ptr<ManifestSource> source(new ManifestSource(loop, sink, std::move(options)));
  TRY_CONTEXT(source->start(), "manifest directory");
  return source;
}

Status ManifestSource::start() {
  inotify_ = base::Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_) return Error::from_errno("inotify_init1", errno);
  TRY(watch_directory());  // before the listing, so that nothing falls between
  std::error_code made;
  if (!options_.last_good_directory.empty()) std::filesystem::create_directories(options_.last_good_directory, made);
  apply_listing(TRY(list(options_.directory)), Emit::Nothing);
  for (const Kind kind : {Kind::Node, Kind::ServiceCidr, Kind::EndpointSlice, Kind::Service}) {
    sink_.replace(kind, set_.in_force(kind));
  }
  events_ = loop_.watch(inotify_.get(), base::Interest::Read, [this](base::Ready) { drain_events(); });
  directory_timer_ = loop_.every(options_.directory_check, [this] { check_directory(); });
  return {};
}

Status ManifestSource::watch_directory() {
  const auto found = TRY(stat_of(options_.directory));
  const int watch = ::inotify_add_watch(inotify_.get(), options_.directory.c_str(), kEvents);
  if (watch < 0) return Error::from_errno(options_.directory, errno);
  if (watch_ >= 0 && watch != watch_) ::inotify_rm_watch(inotify_.get(), watch_);
  watch_ = watch;
  watched_.reset();
  if (found) watched_ = stamp_of(*found, false);
  return {};
}

void ManifestSource::drain_events() {
  alignas(inotify_event) std::array<char, std::size_t{16} * 1024> buffer;
  while (true) {
    const ssize_t length = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (length <= 0) break;
    for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* name = buffer.data() + at + sizeof event;
      if (event.wd == watch_ || event.wd == -1) {
        note_event(event.mask, event.len == 0 ? std::string_view() : std::string_view(name));
      }
      at += sizeof event + event.len;
    }
  }
}

void ManifestSource::note_event(std::uint32_t mask, std::string_view name) {
  if ((mask & IN_Q_OVERFLOW) != 0) read_all_ = true;
  if ((mask & IN_MOVE_SELF) != 0 && watch_ >= 0) ::inotify_rm_watch(inotify_.get(), watch_);
  if ((mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0) watch_ = -1;
  if ((mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0 && is_manifest_name(name)) finished_.emplace(name);
  schedule_scan();
}

// Not pushed back by later events: the first of them bounds the wait.
void ManifestSource::schedule_scan() {
  if (scan_timer_) return;
  scan_timer_ = loop_.after(kDebounce, [this] {
    scan_timer_ = base::Loop::none();
    scan();
  });
}

void ManifestSource::scan() {
  if (watch_ < 0) return check_directory();
  const auto listing = list(options_.directory);
  if (!listing) return directory_failed(listing.error());
  directory_works();
  apply_listing(*listing, Emit::Changes);
}

// Sees what inotify does not tell: the path leads to another directory now, or to one again.
void ManifestSource::check_directory() {
  const auto found = stat_of(options_.directory);
  const bool same =
      found && *found && watched_ && (*found)->st_ino == watched_->inode && (*found)->st_dev == watched_->device;
  if (watch_ >= 0 && same) return;
  if (const Status watched = watch_directory(); !watched) {
    watched_.reset();
    return directory_failed(watched.error());
  }
  read_all_ = true;
  scan();
}

void ManifestSource::directory_failed(const Error& error) {
  if (directory_error_ == error.message()) return;
  directory_error_ = error.message();
  options_.on_error(base::cat(directory_error_, "; the last good objects stay in force"));
}

void ManifestSource::directory_works() {
  if (directory_error_.empty()) return;
  directory_error_.clear();
  options_.on_note(base::cat(options_.directory, ": is back"));
}

void ManifestSource::apply_listing(const Listing& listing, Emit emit) {
  std::erase_if(files_, [&](const auto& entry) {
    if (listing.count(entry.first) != 0) return false;
    take_over(entry.first, {}, emit);
    forget(entry.first);
    return true;
  });
  if (emit == Emit::Nothing) forget_all_but(listing);
  bool changing = false;
  for (const auto& [name, stamp] : listing) {
    File& file = files_[name];
    if (emit == Emit::Nothing || must_read(name, stamp, &file)) read(name, stamp, emit);
    changing = changing || file.changing;
  }
  finished_.clear();
  read_all_ = false;
  settled_ = false;
  if (!changing) {
    settle_timer_ = base::Loop::none();
  } else if (!settle_timer_) {
    settle_timer_ = loop_.after(options_.settle, [this] {
      settle_timer_ = base::Loop::none();
      settled_ = true;
      scan();
    });
  }
}

// A plain file that changed and was not closed is half-written: its writer will close it, and that is an event. Files
// that come by link(2) with O_TMPFILE never are; they are read when they have been still for a while.
bool ManifestSource::must_read(const std::string& name, const Stamp& stamp, File* file) const {
  if (read_all_ || finished_.count(name) != 0) return true;
  if (file->read == stamp) {
    file->changing.reset();
    return false;
  }
  if (!stamp.plain || (settled_ && file->changing == stamp)) return true;
  file->changing = stamp;
  return false;
}

void ManifestSource::read(const std::string& name, const Stamp& stamp, Emit emit) {
  ++files_read_;
  File& file = files_[name];
  file.read = stamp;
  file.changing.reset();
  const auto text = base::read_file(path(name), kLargestFile);
  if (!text) {
    file.read.reset();  // what it takes to open it may change without a change of the file
    if (text.error().errno_value() == ENOENT) return;  // gone since the listing; that is an event too
    file_failed(name, text.error().message());
    if (emit == Emit::Nothing) recall(name);
    return;
  }
  auto manifest = parse_manifest(name, *text);
  if (!manifest) {
    file_failed(name, base::cat(path(name), ": ", manifest.error().message()));
    if (emit == Emit::Nothing) recall(name);
    return;
  }
  if (!file.error.empty()) options_.on_note(base::cat(path(name), ": is good again"));
  file.error.clear();
  for (const std::string& note : manifest->notes) options_.on_note(base::cat(path(name), ": ", note));
  take_over(name, std::move(manifest->objects), emit);
  remember(name, *text);
}

void ManifestSource::remember(const std::string& name, std::string_view text) {
  if (options_.last_good_directory.empty()) return;
  const auto written = base::write_file_atomically(base::cat(options_.last_good_directory, "/", name), text, 0600);
  if (!written) options_.on_note(base::cat("no copy of the last good ", name, ": ", written.error().message()));
}

void ManifestSource::forget(const std::string& name) {
  if (!options_.last_good_directory.empty()) ::unlink(base::cat(options_.last_good_directory, "/", name).c_str());
}

// A file that went while nobody was looking has no last good state.
void ManifestSource::forget_all_but(const Listing& listing) {
  if (options_.last_good_directory.empty()) return;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(options_.last_good_directory, ignored)) {
    const std::string name = entry.path().filename();
    if (is_manifest_name(name) && listing.count(name) == 0) forget(name);
  }
}

void ManifestSource::recall(const std::string& name) {
  if (options_.last_good_directory.empty()) return;
  const auto text = base::read_file(base::cat(options_.last_good_directory, "/", name), kLargestFile);
  auto manifest = text ? parse_manifest(name, *text) : Result<DecodedManifest>(text.error());
  if (!manifest) return;
  options_.on_note(base::cat(path(name), ": its last good objects, from before the start, stay in force"));
  take_over(name, std::move(manifest->objects), Emit::Nothing);
}

void ManifestSource::file_failed(const std::string& name, const std::string& message) {
  File& file = files_[name];
  if (file.error == message) return;
  file.error = message;
  options_.on_error(message);
}

void ManifestSource::take_over(const std::string& name, std::vector<ManifestObject> objects, Emit emit) {
  ManifestSet::Change change = set_.set_file(name, std::move(objects));
  for (const ManifestError& conflict : change.conflicts) {
    options_.on_error(base::cat(path(conflict.file), ": ", conflict.message));
  }
  if (emit == Emit::Nothing) return;
  for (Object& object : change.upserted) sink_.upsert(std::move(object));
  for (const auto& [kind, key] : change.erased) sink_.erase(kind, key);
}

std::vector<ManifestError> ManifestSource::errors() const {
  std::vector<ManifestError> out;
  if (!directory_error_.empty()) out.push_back({"", directory_error_});
  for (const auto& [name, file] : files_) {
    if (!file.error.empty()) out.push_back({name, file.error});
  }
  for (ManifestError& conflict : set_.conflicts()) {
    out.push_back({conflict.file, base::cat(path(conflict.file), ": ", conflict.message)});
  }
  return out;
}

std::string ManifestSource::path(std::string_view name) const { return base::cat(options_.directory, "/", name); }

}  // namespace fairlead::kube
