#include "agent/worker.h"

#include <algorithm>
#include <random>
#include <utility>

namespace fairlead::agent {

using proxy::dataplane::Dataplane;

// What lives on the worker's thread, from open() to the end.
class Worker::Run {
 public:
  Run(Worker& worker, std::unique_ptr<Dataplane> dataplane)
      : worker_(worker),
        dataplane_(std::move(dataplane)),
        listener_(dataplane_->translates_by_conntrack() && worker.setup_.listener ? worker.setup_.listener() : nullptr),
        applier_(
            *dataplane_, worker.clock_, worker.backoff_,
            [this] { return std::uniform_real_distribution<double>(0, 1)(random_); }, listener_.get()) {}

  void until_stopped() {
    const auto inbox = worker_.loop_->watch(worker_.inbox_->fd(), base::Interest::Read, [this](base::Ready) {
      if (auto work = worker_.inbox_->take()) report(applier_.apply(std::move(*work)));
    });
    auto notifications = base::Loop::none();
    if (const int fd = dataplane_->notification_fd(); fd >= 0) {
      notifications = worker_.loop_->watch(fd, base::Interest::Read,
                                           [this](base::Ready) { report(applier_.handle_notification()); });
    }
    worker_.loop_->run();
  }

 private:
  void report(std::optional<Outcome> outcome) {
    if (outcome) {
      const bool replaced = outcome->kind == Outcome::Kind::Replace && applier_.replaced();
      worker_.reports_loop_.post([&worker = worker_, done = std::move(*outcome)] { worker.reports_.outcome(done); });
      if (replaced && !std::exchange(replaced_once_, true) && worker_.setup_.after_first_replace) {
        worker_.setup_.after_first_replace();
      }
    }
    retry_timer_ = at(applier_.due(), [this] { report(applier_.retry()); });
    ask_timer_ = at(applier_.all_due(), [this] {
      applier_.asked_for_all();
      worker_.reports_loop_.post([&worker = worker_] { worker.reports_.wants_all(); });
    });
  }

  base::Loop::Handle at(std::optional<base::Instant> when, base::Loop::Callback callback) {
    if (!when) return base::Loop::none();
    return worker_.loop_->after(std::max(*when - worker_.clock_.now(), base::Duration::zero()), std::move(callback));
  }

  Worker& worker_;
  std::unique_ptr<Dataplane> dataplane_;
  std::unique_ptr<Applier::Listener> listener_;  // may be nullptr
  std::minstd_rand random_{std::random_device{}()};
  Applier applier_;
  bool replaced_once_ = false;
  base::Loop::Handle retry_timer_ = base::Loop::none();
  base::Loop::Handle ask_timer_ = base::Loop::none();
};

Result<std::unique_ptr<Worker>> Worker::create(base::Loop& reports_loop, const base::Clock& clock, Backoff backoff,
                                               Setup setup, Reports reports) {
  std::unique_ptr<Worker> worker(new Worker(reports_loop, clock, backoff, std::move(setup), std::move(reports)));
  worker->loop_ = TRY(base::Loop::create());
  worker->inbox_ = TRY(Mailbox<Work>::create());
  return worker;
}

Worker::~Worker() { stop(); }

void Worker::start() {
  thread_ = std::thread([this] {
    auto dataplane = setup_.open();
    if (!dataplane) {
      reports_loop_.post([this, error = dataplane.error()] { reports_.open_failed(error); });
      return;
    }
    Run(*this, std::move(*dataplane)).until_stopped();
  });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  // Through the mailbox of the loop: a stop() before run() would be forgotten.
  loop_->post([this] { loop_->stop(); });
  thread_.join();
}

}  // namespace fairlead::agent
