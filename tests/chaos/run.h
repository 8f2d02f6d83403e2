// Run: the part of a soak in which things go wrong. Carries out actions, keeps the clock, reads the loads, samples the
// agents. One thread.
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/chaos/memory.h"
#include "tests/chaos/plan.h"
#include "tests/chaos/soak.h"
#include "tests/chaos/stage.h"

namespace fairlead::tests::chaos {

class Run {
 public:
  using Clock = std::chrono::steady_clock;
  using Progress = std::function<void(const std::string&)>;

  Run(const SoakOptions& options, Stage& stage, std::vector<Loading> loads, Progress progress);

  Status act(const Action& action);
  // Lets time pass: timers fire, loads and agents are looked at.
  Status pass(std::chrono::milliseconds time);
  // Everything is healed and every agent runs.
  Status heal();
  // The loads' final counts.
  Status end_loads();
  void append_checks(SoakResult& result) const;
  // From here on no agent is killed, so that its memory can be watched.
  void spare_agents() { spare_agents_ = true; }
  enum class Weight { Usual, Notable };
  void say(const std::string& what, Weight weight = Weight::Notable);

 private:
  struct Remark {
    Clock::time_point at;
    Weight weight;
    std::string text;
  };
  struct Watched {
    Loading loading;
    std::uint64_t failed = 0;   // though nothing excused it
    std::uint64_t excused = 0;  // around a damage
  };
  struct Life {
    bool down = false;                  // by our own hand
    Clock::time_point started{};        // the present life
    std::vector<MemorySample> samples;  // of the present life
    std::uint64_t deaths = 0;           // by itself
  };

  double seconds() const;
  void after(std::chrono::milliseconds time, std::function<Status()> what);
  Status stop_agent(const Action& action);
  Status launch(unsigned node);
  Status meddle(const Action& action);
  Status fire_timers();
  void read_loads();
  void take(Watched& watched, const testbed::LoadReport& report);
  void keep_evidence(const std::string& what);
  void look_at_agents();
  Status tick();
  std::string progress_line() const;

  SoakOptions options_;
  Stage& stage_;
  std::vector<Watched> loads_;
  Progress progress_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point next_sample_ = begin_;
  Clock::time_point next_line_ = begin_ + std::chrono::seconds(10);
  Clock::time_point excused_until_{};
  Clock::time_point damaged_{};
  std::multimap<Clock::time_point, std::function<Status()>> timers_;
  std::array<Life, kNodes + 1> lives_;  // by node; 0 is nobody
  bool spare_agents_ = false;
  std::map<std::string, std::uint64_t> counts_;
  std::deque<Remark> recent_;  // of the last seconds
  std::vector<std::string> evidence_;
};

}  // namespace fairlead::tests::chaos
