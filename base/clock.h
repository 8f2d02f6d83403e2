// Clock: the only door to time, so that tests own it.
#pragma once

#include <chrono>

namespace fairlead::base {

using Instant = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;
using Duration = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;    // monotonic
  virtual WallTime wall() const = 0;  // for people and for timestamps on the wire
};

class SystemClock final : public Clock {
 public:
  Instant now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override { return std::chrono::system_clock::now(); }
};

class FakeClock final : public Clock {
 public:
  Instant now() const override { return Instant(elapsed_); }
  WallTime wall() const override { return WallTime(std::chrono::duration_cast<WallTime::duration>(elapsed_)); }
  void advance(Duration by) { elapsed_ += by; }

 private:
  Duration elapsed_ = std::chrono::hours(24);
};

}  // namespace fairlead::base
