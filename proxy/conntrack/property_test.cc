// Random batches: what a View says has to be reviewed is what differs between two fresh looks at everything.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "proxy/conntrack/test_flows.h"
#include "proxy/conntrack/view.h"

namespace fairlead::proxy::conntrack {
namespace {

using namespace test;
using Frontends = std::map<Place, Wanted>;

int below(int limit) { return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0, limit)); }

// Few names, addresses and ports, so that services contend for frontends.
model::ServiceState random_service() {
  std::vector<model::PortState> ports;
  for (int i = below(3); i > 0; --i) {
    std::vector<model::Frontend> frontends;
    if (below(2) == 0) frontends.push_back(frontend("10.96.0." + std::to_string(1 + below(2)), 53));
    if (below(2) == 0) frontends.push_back(node_port(30053));
    std::vector<model::Endpoint> serving;
    for (int n = 0; n < 2; ++n) {
      if (below(2) == 0) serving.push_back(endpoint("10.244.0." + std::to_string(n), 53));
    }
    ports.push_back(port(below(4) == 0 ? Protocol::Tcp : Protocol::Udp, frontends, serving));
  }
  return service("svc" + std::to_string(below(3)), ports);
}

using States = std::map<model::Key, model::ServiceState>;

Frontends fresh(const States& states) {
  std::vector<model::ServiceState> all;
  for (const auto& [key, state] : states) all.push_back(state);
  return View(false).replace({}, all, {}).frontends;
}

// What changed from one to the other; a frontend that is missing afterwards is gone.
Frontends difference(const Frontends& before, const Frontends& after) {
  Frontends out;
  for (const auto& [place, wanted] : before) {
    if (!after.contains(place)) out.emplace(place, Wanted{.gone = true});
  }
  for (const auto& [place, wanted] : after) {
    const auto was = before.find(place);
    if (was == before.end() || was->second != wanted) out.emplace(place, wanted);
  }
  return out;
}

TEST(ViewProperty, AReviewIsWhatDiffersBetweenTwoFreshLooks) {
  const bool held = rc::check("review == difference", [] {
    View view(false);
    States states;
    (void)view.replace({}, {}, {});
    for (int i = 1 + below(30); i > 0; --i) {
      const Frontends before = fresh(states);
      model::Changes changes;
      model::ServiceState state = random_service();
      if (below(4) == 0) {
        changes.deleted.push_back(state.key);
        states.erase(state.key);
      } else {
        states.insert_or_assign(state.key, state);
        changes.upserted.push_back(std::move(state));
      }
      const Frontends after = fresh(states);
      RC_ASSERT(view.apply(changes, {}).frontends == difference(before, after));
      RC_ASSERT(view.everything().frontends == after);
    }
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace fairlead::proxy::conntrack
