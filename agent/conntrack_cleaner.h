// ConntrackCleaner: a thread that deletes connections which the rules would not make any more (proxy/conntrack), after
// the dataplane was brought up to date. Programming never waits for it; what piles up meanwhile is one pass.
//
// Belongs to the worker's thread and works in its network namespace.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "agent/applier.h"
#include "agent/mailbox.h"
#include "base/clock.h"
#include "base/loop.h"
#include "net/conntrack/kernel.h"
#include "proxy/conntrack/reconcile.h"
#include "proxy/conntrack/view.h"

namespace fairlead::agent {

class ConntrackCleaner final : public Applier::Listener {
 public:
  struct Setup {
    const base::Clock& clock;
    bool half_open = false;                                                 // of TCP and SCTP too
    std::function<Result<std::unique_ptr<net::conntrack::Kernel>>()> open;  // on the caller's thread
    std::function<Result<std::vector<net::Ip>>()> local_addresses;          // on the cleaner's thread
    std::function<void(const proxy::conntrack::Pass&)> done;                // on the cleaner's thread
    base::Duration retry_first = std::chrono::seconds(1), retry_limit = std::chrono::minutes(1);
  };
  static Result<std::unique_ptr<ConntrackCleaner>> start(Setup setup);
  ~ConntrackCleaner() override;  // after the pass in progress
  ConntrackCleaner(const ConntrackCleaner&) = delete;
  ConntrackCleaner& operator=(const ConntrackCleaner&) = delete;

  void replaced(const Everything& all, const std::vector<proxy::dataplane::Failure>& failures) override;
  void applied(const Changes& changes, const std::vector<proxy::dataplane::Failure>& failures) override;
  void repaired() override;

 private:
  explicit ConntrackCleaner(Setup setup) : setup_(std::move(setup)), view_(setup_.half_open) {}
  class Run;
  void put(proxy::conntrack::Review review);

  const Setup setup_;
  proxy::conntrack::View view_;
  std::unique_ptr<net::conntrack::Kernel> kernel_;  // the cleaner's thread's
  std::unique_ptr<base::Loop> loop_;                // the cleaner's thread's
  std::unique_ptr<Mailbox<proxy::conntrack::Review>> inbox_;
  std::thread thread_;
};

}  // namespace fairlead::agent
