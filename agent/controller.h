// Controller: the loop thread's part between a source and the worker. Keeps the store, resolves what changed, and
// hands it over; takes outcomes back.
//
// Events of one turn of the loop make one batch. Nothing is handed over before Services and EndpointSlices are both
// complete, and the first batch is everything. It waits for the Node and the ServiceCIDRs too, since a restart would
// take from the kernel what follows from them, but not for long: services do not depend on them. Cost follows the
// change.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "agent/failure_log.h"
#include "agent/health.h"
#include "agent/ledger.h"
#include "agent/mailbox.h"
#include "agent/metrics.h"
#include "agent/service_facts.h"
#include "agent/work.h"
#include "base/clock.h"
#include "base/loop.h"
#include "kube/source.h"
#include "kube/store.h"
#include "proxy/model/resolve.h"

namespace fairlead::agent {

class Controller final : public kube::Sink {
 public:
  struct Parts {
    base::Loop& loop;
    const base::Clock& clock;
    Metrics& metrics;
    Health& health;
    std::function<void(Work)> hand_over;
    std::function<void(const FactBook::Applied&)> facts_applied{};  // when facts() has changed
    base::Duration patience = std::chrono::seconds(5);  // with the Node and ServiceCIDRs, when all else is there
  };
  Controller(Parts parts, const std::string& node_name, const proxy::model::Config& config = {});

  // From the source.
  void upsert(kube::Object object) override;
  void erase(kube::Kind kind, const kube::Key& key) override;
  void replace(kube::Kind kind, std::vector<kube::Object> objects) override;

  // From the worker.
  void done(const Outcome& outcome);
  // Hands over the complete state: what the kernel holds is compared with it, and repaired. Waits for the first sync.
  void send_all();

  const kube::Store& store() const { return store_; }
  const Ledger& ledger() const { return ledger_; }
  const FactBook& facts() const { return facts_; }
  const proxy::model::NodeView& node_view() const { return view_; }

 private:
  void count_event(kube::Kind kind, std::uint64_t n);
  void note_trigger(const kube::EndpointSlice& slice);
  void flush_soon();
  void flush();
  bool may_begin();
  bool look_at_node();
  void send(Work work);
  void log_progress(const Outcome& outcome, bool first_sync);

  Parts parts_;
  kube::Store store_;
  Ledger ledger_;
  FactBook facts_;
  FailureLog failure_log_;
  proxy::model::NodeView view_;
  Origin gathered_;  // of the batch in the making
  bool flush_posted_ = false;
  base::Loop::Handle waiting_ = base::Loop::none();  // for the Node and the ServiceCIDRs
  bool waited_ = false;
  bool first_sent_ = false;
  bool node_known_ = false;
};

}  // namespace fairlead::agent
