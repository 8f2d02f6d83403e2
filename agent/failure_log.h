// FailureLog: one line per failing object, not per attempt, and never a flood.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "agent/work.h"
#include "base/clock.h"

namespace fairlead::agent {

class FailureLog {
 public:
  static constexpr unsigned kLinesPerWindow = 20;
  static constexpr base::Duration kWindow = std::chrono::seconds(10);
  static constexpr base::Duration kRepeatAfter = std::chrono::minutes(5);

  explicit FailureLog(const base::Clock& clock) : clock_(clock) {}

  // Whether a line about `object` is due: its error is new, or was last told long ago, and the window has room.
  bool is_due(const std::string& object, const std::string& error);
  // Whether `object` had been told of, and is now well.
  bool recovered(const std::string& object);
  // Lines held back since last asked.
  std::uint64_t take_held_back();

 private:
  struct Told {
    std::string error;
    base::Instant at;
  };
  const base::Clock& clock_;
  std::map<std::string, Told> told_;
  base::Instant window_start_{};
  unsigned in_window_ = 0;
  std::uint64_t held_back_ = 0;
};

}  // namespace fairlead::agent
