// FileWatch: word that a file may have changed: written, replaced, or behind a symbolic link that was, as in the volume
// of a ConfigMap. Loop thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/loop.h"
#include "base/result.h"

namespace fairlead::agent {

class FileWatch {
 public:
  // `touched` means "look again": several events make one call, and there may be one without a change.
  static Result<std::unique_ptr<FileWatch>> open(base::Loop& loop, std::string path, std::function<void()> touched);

 private:
  FileWatch(base::Loop& loop, std::string path, std::function<void()> touched)
      : loop_(loop), path_(std::move(path)), touched_(std::move(touched)) {}
  Status start();
  void watch_file();
  void drain();

  base::Loop& loop_;
  const std::string path_;
  const std::function<void()> touched_;
  base::Fd inotify_;
  int directory_watch_ = -1;
  base::Loop::Handle events_ = base::Loop::none();
  base::Loop::Handle timer_ = base::Loop::none();
};

}  // namespace fairlead::agent
