// Loop: one thread's descriptors, timers and signals, over libevent (docs/adr/0003-libevent.md).
//
// All calls belong to the loop's thread except post() and stop(). A Handle keeps its registration alive; dropping it
// cancels, also from inside its own callback. Handles must not outlive the Loop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/result.h"

struct event_base;

namespace fairlead::base {

enum class Interest : unsigned { Read = 1, Write = 2, ReadWrite = 3 };
struct Ready {
  bool readable = false;
  bool writable = false;
};

class Loop {
 public:
  using Callback = std::function<void()>;
  using FdCallback = std::function<void(Ready)>;

  class Registration;
  using Handle = std::unique_ptr<Registration, void (*)(Registration*)>;
  static Handle none() {
    return Handle(nullptr, [](Registration*) {});
  }

  static Result<std::unique_ptr<Loop>> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();   // until stop()
  void stop();  // from any thread or callback
  // Runs what is ready, waiting at most `limit` for something; for tests that wait for a condition.
  void run_once(std::chrono::milliseconds limit);

  [[nodiscard]] Handle watch(int fd, Interest interest, FdCallback callback);  // level-triggered; does not own fd
  [[nodiscard]] Handle after(Duration delay, Callback callback);               // once
  [[nodiscard]] Handle every(Duration period, Callback callback);
  [[nodiscard]] Handle on_signal(int signal_number, Callback callback);
  void post(Callback callback);  // runs on the loop's thread; any thread may call

  event_base* native() { return base_; }  // for libevent's own HTTP server (agent/http_server.cc)

 private:
  Loop() = default;
  struct Mailbox;
  event_base* base_ = nullptr;
  std::unique_ptr<Mailbox> mailbox_;
};

}  // namespace fairlead::base
