// Mailbox: one slot by which a thread hands values to another. What is put while the reader is busy is merged into
// one value, so a slow reader never has a queue. fd() turns readable when something waits.
//
// put() may be called by any thread, take() by the reader. Cost: a lock held for one merge, and one eventfd write.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::agent {

// T has merge(T& earlier, T&& later), found by argument-dependent lookup.
template <typename T>
class Mailbox {
 public:
  static Result<std::unique_ptr<Mailbox>> create() {
    base::Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return Error::from_errno("eventfd", errno);
    return std::unique_ptr<Mailbox>(new Mailbox(std::move(wake)));
  }

  int fd() const { return wake_.get(); }

  void put(T value) {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_) {
        merge(*waiting_, std::move(value));
      } else {
        waiting_ = std::move(value);
      }
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
  }

  std::optional<T> take() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = ::read(wake_.get(), &count, sizeof count);
    const std::lock_guard lock(mutex_);
    return std::exchange(waiting_, std::nullopt);
  }

 private:
  explicit Mailbox(base::Fd wake) : wake_(std::move(wake)) {}
  base::Fd wake_;
  std::mutex mutex_;  // guards waiting_
  std::optional<T> waiting_;
};

}  // namespace fairlead::agent
