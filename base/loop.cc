#include "base/loop.h"

#include <event2/event.h>
#include <event2/thread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace fairlead::base {

// Owned by its Handle. A callback may drop its own Handle, so the function object is kept alive while it runs.
class Loop::Registration {
 public:
  explicit Registration(std::shared_ptr<FdCallback> callback) : callback_(std::move(callback)) {}
  ~Registration() {
    if (event_ != nullptr) event_free(event_);
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  void start(event_base* base, int fd, short what, const timeval* timeout) {
    event_ = event_new(base, fd, what, &Registration::fire, this);
    if (event_ != nullptr) event_add(event_, timeout);
  }

 private:
  static void fire(int, short what, void* self) {
    const std::shared_ptr<FdCallback> callback = static_cast<Registration*>(self)->callback_;
    (*callback)(Ready{(what & EV_READ) != 0, (what & EV_WRITE) != 0});
  }

  std::shared_ptr<FdCallback> callback_;
  event* event_ = nullptr;
};

struct Loop::Mailbox {
  Fd wake;
  std::mutex mutex;  // guards `pending`: the one hand-over point between threads
  std::vector<Callback> pending;
  Handle watch = Loop::none();
};

namespace {

timeval to_timeval(Duration duration) {
  const auto us = std::chrono::ceil<std::chrono::microseconds>(duration).count();
  return {static_cast<time_t>(us / 1000000), static_cast<suseconds_t>(us % 1000000)};
}

}  // namespace

Result<std::unique_ptr<Loop>> Loop::create() {
  evthread_use_pthreads();
  std::unique_ptr<Loop> loop(new Loop());
  loop->base_ = event_base_new();
  if (loop->base_ == nullptr) return Error("cannot create an event loop");
  loop->mailbox_ = std::make_unique<Mailbox>();
  loop->mailbox_->wake = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->mailbox_->wake) return Error::from_errno("eventfd", errno);
  Mailbox* box = loop->mailbox_.get();
  box->watch = loop->watch(box->wake.get(), Interest::Read, [box](Ready) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = ::read(box->wake.get(), &count, sizeof count);
    std::vector<Callback> batch;
    {
      const std::lock_guard lock(box->mutex);
      batch.swap(box->pending);
    }
    for (const Callback& callback : batch) callback();
  });
  return loop;
}

Loop::~Loop() {
  mailbox_.reset();
  if (base_ != nullptr) event_base_free(base_);
}

void Loop::run() { event_base_loop(base_, EVLOOP_NO_EXIT_ON_EMPTY); }
void Loop::stop() { event_base_loopbreak(base_); }

void Loop::run_once(std::chrono::milliseconds limit) {
  const Handle alarm = after(limit, [] {});
  event_base_loop(base_, EVLOOP_ONCE);
}

Loop::Handle Loop::watch(int fd, Interest interest, FdCallback callback) {
  short what = EV_PERSIST;
  const auto bits = static_cast<unsigned>(interest);
  if ((bits & static_cast<unsigned>(Interest::Read)) != 0) what = static_cast<short>(what | EV_READ);
  if ((bits & static_cast<unsigned>(Interest::Write)) != 0) what = static_cast<short>(what | EV_WRITE);
  Handle handle(new Registration(std::make_shared<FdCallback>(std::move(callback))),
                [](Registration* registration) { delete registration; });
  handle->start(base_, fd, what, nullptr);
  return handle;
}

Loop::Handle Loop::after(Duration delay, Callback callback) {
  Handle handle(new Registration(std::make_shared<FdCallback>([run = std::move(callback)](Ready) { run(); })),
                [](Registration* registration) { delete registration; });
  const timeval timeout = to_timeval(delay);
  handle->start(base_, -1, EV_TIMEOUT, &timeout);
  return handle;
}

Loop::Handle Loop::every(Duration period, Callback callback) {
  Handle handle(new Registration(std::make_shared<FdCallback>([run = std::move(callback)](Ready) { run(); })),
                [](Registration* registration) { delete registration; });
  const timeval timeout = to_timeval(period);
  handle->start(base_, -1, EV_PERSIST, &timeout);
  return handle;
}

Loop::Handle Loop::on_signal(int signal_number, Callback callback) {
  Handle handle(new Registration(std::make_shared<FdCallback>([run = std::move(callback)](Ready) { run(); })),
                [](Registration* registration) { delete registration; });
  handle->start(base_, signal_number, EV_SIGNAL | EV_PERSIST, nullptr);
  return handle;
}

void Loop::post(Callback callback) {
  {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->pending.push_back(std::move(callback));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(mailbox_->wake.get(), &one, sizeof one);
}

}  // namespace fairlead::base
