// View: the frontends and endpoints whose flows have to be looked after, kept from one batch of changes to the next.
// Says after each batch what has to be reviewed: nothing, when it was about other protocols. Pure.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "proxy/conntrack/review.h"
#include "proxy/model/service_state.h"

namespace fairlead::proxy::conntrack {

class View {
 public:
  // `half_open`: TCP and SCTP too, where the connection is not established yet.
  explicit View(bool half_open) : half_open_(half_open) {}

  // After what the arguments say was brought to the kernel. `failed`: services that may not be there as a whole; they
  // are reviewed again with the attempt that follows, even if it says the same.
  Review replace(const model::NodeState& node, const std::vector<model::ServiceState>& services,
                 const std::set<model::Key>& failed);  // everything there is, and what is gone
  Review apply(const model::Changes& changes, const std::set<model::Key>& failed);
  // After the rules were found damaged and were repaired: flows that began meanwhile may be wrong.
  Review everything() const;

 private:
  using Frontends = std::map<Place, std::vector<Target>>;
  // Of two Services that claim one frontend, the first by name has it (docs/adr/0006).
  using Claims = std::map<model::Key, std::vector<Target>>;

  Frontends frontends_of(const model::ServiceState& state) const;
  // `state` without frontends: the service is gone.
  void put(const model::Key& key, Frontends state, bool failed, Review& review);
  Review nothing() const;

  const bool half_open_;
  NodePortAddresses node_ports_;
  std::map<Place, Claims> claims_;
  std::map<model::Key, std::vector<Place>> places_;  // what each service claims
  std::set<model::Key> unsure_;                      // failed when last tried
};

}  // namespace fairlead::proxy::conntrack
