#include "tests/datapath/probe/load.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "tests/datapath/probe/connect.h"

namespace fairlead::testbed::probe {
namespace {

using Clock = std::chrono::steady_clock;

class Load {
 public:
  explicit Load(const LoadSpec& spec) : spec_(spec) {
    ask_.to = spec.to;
    ask_.style = spec.style;
    ask_.timeout_ms = spec.timeout_ms;
  }

  void work(unsigned worker) {
    const auto interval = std::chrono::nanoseconds(std::chrono::seconds(1)) * spec_.parallel / spec_.rate;
    auto due = Clock::now() + interval * worker / spec_.parallel;
    Connection connection(ask_);
    while (wait_until(due)) {
      count(spec_.long_lived ? over(connection) : over_new_connection());
      // After a stall the missed requests are not made up for: the rate is an upper limit.
      due = std::max(due + interval, Clock::now() - interval);
    }
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    wake_.notify_all();
  }

  LoadReport report() {
    const std::lock_guard lock(mutex_);
    LoadReport result = report_;
    std::vector<std::uint32_t> sorted = latencies_;
    std::sort(sorted.begin(), sorted.end());
    if (!sorted.empty()) {
      result.p50_us = sorted[sorted.size() / 2];
      result.p99_us = sorted[sorted.size() * 99 / 100];
      result.max_us = sorted.back();
    }
    return result;
  }

 private:
  bool wait_until(Clock::time_point due) {
    std::unique_lock lock(mutex_);
    wake_.wait_until(lock, due, [this] { return stopped_; });
    return !stopped_;
  }

  Attempt over_new_connection() {
    connected();
    return attempt(ask_);
  }

  Attempt over(Connection& connection) {
    Attempt result;
    const auto start = Clock::now();
    if (!connection.is_open()) {
      connected();
      result.error = connection.open();
    }
    if (result.error.empty()) result.error = connection.ask(result);
    // A socket of datagrams outlives a lost one and a refusal.
    const bool lost = connection.datagrams() && (result.error == "timeout" || result.error == "refused");
    if (!result.error.empty() && !lost) connection.close();
    result.latency_us =
        static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
    return result;
  }

  void connected() {
    const std::lock_guard lock(mutex_);
    ++report_.connections;
  }

  void count(const Attempt& result) {
    const std::lock_guard lock(mutex_);
    ++report_.requests;
    if (result.error.empty()) {
      ++report_.answered;
      ++report_.answers[result.answer];
      ++report_.reached[result.local];
      latencies_.push_back(result.latency_us);
    } else {
      ++report_.errors[result.error];
    }
  }

  LoadSpec spec_;
  ConnectSpec ask_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  LoadReport report_;
  std::vector<std::uint32_t> latencies_;
};

// Milliseconds until the earlier of the next report and the end; -1: no limit.
int wait_ms(const LoadSpec& spec, Clock::time_point end) {
  auto limit = Clock::duration::max();
  if (spec.seconds != 0) limit = end - Clock::now();
  if (spec.report_every_ms != 0)
    limit = std::min<Clock::duration>(limit, std::chrono::milliseconds(spec.report_every_ms));
  if (limit == Clock::duration::max()) return -1;
  return std::max(0, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count()));
}

}  // namespace

LoadReport run_load(const LoadSpec& spec, const std::function<void(const LoadReport&)>& report) {
  Load load(spec);
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < spec.parallel; ++i) workers.emplace_back([&load, i] { load.work(i); });
  const auto end = Clock::now() + std::chrono::seconds(spec.seconds);
  while (spec.seconds == 0 || Clock::now() < end) {
    pollfd input{spec.seconds == 0 ? STDIN_FILENO : -1, POLLIN, 0};  // with a time limit, stdin may be anything
    if (::poll(&input, 1, wait_ms(spec, end)) > 0) {
      char ignored[256];
      if (::read(STDIN_FILENO, ignored, sizeof ignored) <= 0) break;
    }
    if (spec.report_every_ms != 0) report(load.report());
  }
  load.stop();
  for (std::thread& worker : workers) worker.join();
  return load.report();
}

}  // namespace fairlead::testbed::probe
