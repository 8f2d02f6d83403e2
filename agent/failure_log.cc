#include "agent/failure_log.h"

#include <utility>

namespace fairlead::agent {

bool FailureLog::is_due(const std::string& object, const std::string& error) {
  const base::Instant now = clock_.now();
  const auto it = told_.find(object);
  if (it != told_.end() && it->second.error == error && now - it->second.at < kRepeatAfter) return false;
  if (now - window_start_ >= kWindow) {
    window_start_ = now;
    in_window_ = 0;
  }
  if (in_window_ == kLinesPerWindow) {
    ++held_back_;
    return false;
  }
  ++in_window_;
  told_.insert_or_assign(object, Told{error, now});
  return true;
}

bool FailureLog::recovered(const std::string& object) { return told_.erase(object) > 0; }

std::uint64_t FailureLog::take_held_back() { return std::exchange(held_back_, 0); }

}  // namespace fairlead::agent
