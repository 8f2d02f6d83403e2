// Worker: the thread that owns the Dataplane. Work comes in through a Mailbox, Outcomes go out as posts to the loop
// that thinks. Nothing else is shared.
//
// The thread opens the dataplane itself, so that this happens while the sources are still listing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "agent/applier.h"
#include "agent/mailbox.h"
#include "agent/work.h"
#include "base/clock.h"
#include "base/loop.h"

namespace fairlead::agent {

class Worker {
 public:
  struct Setup {
    std::function<Result<std::unique_ptr<proxy::dataplane::Dataplane>>()> open;  // on the worker's thread
    std::function<void()> after_first_replace;                                   // on the worker's thread
    // On the worker's thread, where the dataplane translates by conntrack; nullptr for nobody.
    std::function<std::unique_ptr<Applier::Listener>()> listener{};
  };
  // All called on `reports`' thread.
  struct Reports {
    std::function<void(Outcome)> outcome;
    std::function<void(Error)> open_failed;  // nothing else follows
    std::function<void()> wants_all;         // put a Work with `all` into inbox()
  };

  static Result<std::unique_ptr<Worker>> create(base::Loop& reports_loop, const base::Clock& clock, Backoff backoff,
                                                Setup setup, Reports reports);
  ~Worker();  // stops
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  Mailbox<Work>& inbox() { return *inbox_; }
  void start();
  void stop();  // after the call in progress; what still waits in the inbox stays undone

 private:
  Worker(base::Loop& reports_loop, const base::Clock& clock, Backoff backoff, Setup setup, Reports reports)
      : reports_loop_(reports_loop),
        clock_(clock),
        backoff_(backoff),
        setup_(std::move(setup)),
        reports_(std::move(reports)) {}
  class Run;

  base::Loop& reports_loop_;
  const base::Clock& clock_;
  const Backoff backoff_;
  const Setup setup_;
  const Reports reports_;
  std::unique_ptr<base::Loop> loop_;  // the worker's own
  std::unique_ptr<Mailbox<Work>> inbox_;
  std::thread thread_;
};

}  // namespace fairlead::agent
