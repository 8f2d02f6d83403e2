#include "agent/conntrack_cleaner.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/strings.h"

namespace fairlead::agent {

namespace log = base::log;
using proxy::conntrack::Pass;
using proxy::conntrack::Review;
using proxy::dataplane::Failure;

namespace {

std::set<Key> services_of(const std::vector<Failure>& failures) {
  std::set<Key> out;
  for (const Failure& failure : failures) {
    if (!failure.service.name.empty()) out.insert(failure.service);
  }
  return out;
}

}  // namespace

// What lives on the cleaner's thread.
class ConntrackCleaner::Run {
 public:
  explicit Run(ConntrackCleaner& cleaner) : cleaner_(cleaner) {}

  void until_stopped() {
    const auto inbox = cleaner_.loop_->watch(cleaner_.inbox_->fd(), base::Interest::Read, [this](base::Ready) {
      if (auto review = cleaner_.inbox_->take()) {
        merge(due_, std::move(*review));
        clean_when_rested();
      }
    });
    cleaner_.loop_->run();
  }

 private:
  // Passes over a large table, one after the other, would keep a processor busy: four fifths of the time it rests.
  static constexpr int kRest = 4;

  void clean_when_rested() {
    const base::Duration rest = rested_at_ - cleaner_.setup_.clock.now();
    if (rest <= base::Duration::zero()) return clean();
    next_ = cleaner_.loop_->after(rest, [this] { clean(); });
  }

  void clean() {
    const base::Instant start = cleaner_.setup_.clock.now();
    const auto passes = attempt();
    const base::Instant end = cleaner_.setup_.clock.now();
    rested_at_ = end + kRest * (end - start);
    if (!passes) {
      // What was to be reviewed stays due; newer words on it are merged into it.
      if (!failing_) log::warn("cannot clean conntrack", {{"err", passes.error().message()}});
      wait_ = failing_ ? std::min(wait_ * 2, cleaner_.setup_.retry_limit) : cleaner_.setup_.retry_first;
      failing_ = true;
      next_ = cleaner_.loop_->after(wait_, [this] { clean(); });
      return;
    }
    if (std::exchange(failing_, false)) log::info("conntrack is cleaned again", {});
    next_ = base::Loop::none();
    due_ = {};
    for (const Pass& pass : *passes) {
      if (pass.deleted > 0) {
        log::info("deleted stale conntrack entries",
                  {{"family", net::to_string(pass.family)}, {"entries", base::cat(pass.deleted)}});
      }
      if (cleaner_.setup_.done) cleaner_.setup_.done(pass);
    }
  }

  Result<std::vector<Pass>> attempt() {
    const auto local = TRY(cleaner_.setup_.local_addresses());
    return proxy::conntrack::reconcile(*cleaner_.kernel_, cleaner_.setup_.clock, due_, local);
  }

  ConntrackCleaner& cleaner_;
  Review due_;
  bool failing_ = false;
  base::Duration wait_{};
  base::Instant rested_at_{};
  base::Loop::Handle next_ = base::Loop::none();  // a pass: a retry, or after a rest
};

Result<std::unique_ptr<ConntrackCleaner>> ConntrackCleaner::start(Setup setup) {
  std::unique_ptr<ConntrackCleaner> cleaner(new ConntrackCleaner(std::move(setup)));
  cleaner->kernel_ = TRY(cleaner->setup_.open());
  cleaner->loop_ = TRY(base::Loop::create());
  cleaner->inbox_ = TRY(Mailbox<Review>::create());
  cleaner->thread_ = std::thread([self = cleaner.get()] { Run(*self).until_stopped(); });
  return cleaner;
}

ConntrackCleaner::~ConntrackCleaner() {
  if (!thread_.joinable()) return;
  loop_->post([this] { loop_->stop(); });  // a stop() before run() would be forgotten
  thread_.join();
}

void ConntrackCleaner::put(Review review) {
  if (!review.empty()) inbox_->put(std::move(review));
}

void ConntrackCleaner::replaced(const Everything& all, const std::vector<Failure>& failures) {
  put(view_.replace(all.node, all.services, services_of(failures)));
}

void ConntrackCleaner::applied(const Changes& changes, const std::vector<Failure>& failures) {
  put(view_.apply(changes, services_of(failures)));
}

void ConntrackCleaner::repaired() { put(view_.everything()); }

}  // namespace fairlead::agent
