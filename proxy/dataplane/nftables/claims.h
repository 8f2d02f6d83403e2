// Claims: which service owns which frontend. Two services may claim one; the smaller key gets it, and the other takes
// over when it is gone. Pure bookkeeping; one operation costs the service's own frontends.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/dataplane/nftables/plan.h"

namespace fairlead::proxy::dataplane::nftables {

// What should become of frontends and groups; empty: it goes.
using FrontendEdits = std::map<FrontendKey, std::optional<Wanted>>;
using GroupEdits = std::map<GroupKey, std::optional<WantedGroup>>;
struct Edits {
  FrontendEdits frontends;
  GroupEdits groups;
  bool empty() const { return frontends.empty() && groups.empty(); }
};

struct Conflict {
  model::Key loser;
  model::Key owner;
  FrontendKey frontend;
  bool operator==(const Conflict&) const = default;
};

class Claims {
 public:
  // Tells what an uncontested frontend holds now. Only asked when a second service claims it, so that what is kept
  // for everybody need not be kept twice. Not asked for frontends in `edits`.
  using Current = std::function<Wanted(const FrontendKey&)>;

  void upsert(const model::ServiceState& state, const GroupOf& group_of, FrontendEdits& edits, const Current& current);
  void erase(const model::Key& service, FrontendEdits& edits);

  // Empty when nobody wants it.
  const model::Key* owner(const FrontendKey& frontend) const;
  // Every conflict `service` takes part in; or all there are.
  std::vector<Conflict> conflicts_of(const model::Key& service) const;
  std::vector<Conflict> conflicts() const;

 private:
  void claim(const FrontendKey& frontend, const model::Key& service, Wanted wanted, FrontendEdits& edits,
             const Current& current);
  void release(const FrontendKey& frontend, const model::Key& service, FrontendEdits& edits);
  void settle(const FrontendKey& frontend, FrontendEdits& edits);
  void append_conflicts(const FrontendKey& frontend, std::vector<Conflict>& out) const;

  std::map<model::Key, std::vector<FrontendKey>> services_;
  std::unordered_map<FrontendKey, const model::Key*> owners_;  // keys live in services_
  std::map<FrontendKey, std::map<model::Key, Wanted>> contested_;
};

}  // namespace fairlead::proxy::dataplane::nftables
