// ManifestSource: a directory of manifests as a source of objects, kept current by inotify.
//
// Reads every *.yaml, *.yml and *.json of the directory; not hidden files, not subdirectories. Loop thread only. A
// change costs one scan (a stat per file, ~2 us each) and the reading of the files that changed; it reaches the Sink
// about 2 ms after the file is closed, renamed or deleted. A file that cannot be used leaves its last good objects in
// force; so does a directory that goes away, until it returns.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/loop.h"
#include "base/result.h"
#include "kube/manifest_set.h"
#include "kube/source.h"

namespace fairlead::kube {

struct ManifestOptions {
  std::string directory;
  std::string node_name;
  // One line each, naming the file. An error is reported once, when it appears or changes; a note each time the file is
  // read, and when an error is over.
  std::function<void(const std::string&)> on_error = [](const std::string&) {};
  std::function<void(const std::string&)> on_note = [](const std::string&) {};
  // A changed file that nobody closes is read when it has been still for so long.
  base::Duration settle = std::chrono::seconds(1);
  // Where copies of good files are kept, so that a restart beside a bad file still has its last good objects. Made when
  // missing; empty: none are kept.
  std::string last_good_directory{};
  // How often to look for what inotify cannot tell: the directory was replaced, or came back.
  base::Duration directory_check = std::chrono::seconds(1);
};

class ManifestSource {
 public:
  // Reads the directory once and replaces every kind in the sink, so that all are synced. An Error when the directory
  // cannot be read; files that cannot be used are no reason to fail. Callbacks may run inside.
  static Result<std::unique_ptr<ManifestSource>> open(base::Loop& loop, Sink& sink, ManifestOptions options);

  // What is wrong now: unusable files, overruled definitions, and the directory itself ("" as the file).
  std::vector<ManifestError> errors() const;
  std::uint64_t files_read() const { return files_read_; }

  struct Stamp {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t mtime_ns = 0;
    bool plain = false;  // a regular file with one name: whoever writes it closes it before it counts
    bool operator==(const Stamp&) const = default;
  };

 private:
  struct File {
    std::optional<Stamp> read;      // as it was when it was read; nothing: read it again
    std::optional<Stamp> changing;  // seen to differ without having been closed yet
    std::string error;
  };
  using Listing = std::map<std::string, Stamp>;

  ManifestSource(base::Loop& loop, Sink& sink, ManifestOptions options);
  Status start();
  Status watch_directory();
  void drain_events();
  void note_event(std::uint32_t mask, std::string_view name);
  void schedule_scan();
  void scan();
  void check_directory();
  void directory_failed(const Error& error);
  void directory_works();

  enum class Emit { Nothing, Changes };
  void remember(const std::string& name, std::string_view text);
  void forget(const std::string& name);
  void forget_all_but(const Listing& listing);
  void recall(const std::string& name);
  void apply_listing(const Listing& listing, Emit emit);
  bool must_read(const std::string& name, const Stamp& stamp, File* file) const;
  void read(const std::string& name, const Stamp& stamp, Emit emit);
  void file_failed(const std::string& name, const std::string& message);
  void take_over(const std::string& name, std::vector<ManifestObject> objects, Emit emit);
  std::string path(std::string_view name) const;

  base::Loop& loop_;
  Sink& sink_;
  ManifestOptions options_;
  ManifestSet set_;
  std::map<std::string, File> files_;
  std::string directory_error_;
  std::uint64_t files_read_ = 0;

  base::Fd inotify_;
  int watch_ = -1;                  // -1: the directory is not being watched
  std::optional<Stamp> watched_;    // which directory that is
  std::set<std::string> finished_;  // closed after writing, or renamed to, since the last scan
  bool read_all_ = false;           // events were lost
  bool settled_ = false;            // long enough since the last look at files that are still open
  base::Loop::Handle events_ = base::Loop::none();
  base::Loop::Handle scan_timer_ = base::Loop::none();
  base::Loop::Handle settle_timer_ = base::Loop::none();
  base::Loop::Handle directory_timer_ = base::Loop::none();
};

}  // namespace fairlead::kube
