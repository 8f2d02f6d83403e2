// Sessions: which group of sticky clients belongs to which port with affinity. Pure bookkeeping; one operation costs
// the service's own ports.
//
// A group's number comes from the port's name, so that a restart finds the same one; where two names fall together the
// kernel's own elements tell who has which.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "proxy/dataplane/nftables/claims.h"
#include "proxy/dataplane/nftables/plan.h"

namespace fairlead::proxy::dataplane::nftables {

// What the kernel holds from before a start; both empty when every port there is has been seen.
struct Adopted {
  std::function<std::optional<std::uint32_t>(const FrontendKey&)> group_of;  // that a frontend refers to
  std::function<bool(const GroupKey&)> is_used;  // some frontend refers to it, whose port may be yet to come
};

class Sessions {
 public:
  void upsert(const model::ServiceState& state, GroupEdits& edits, const Adopted& adopted);
  void erase(const model::Key& service, GroupEdits& edits);
  // For the ports last given to upsert(), while `service` lives.
  GroupOf groups_of(const model::Key& service) const;

 private:
  struct Port {
    model::Key service;
    std::string name;
    model::Protocol protocol = model::Protocol::Tcp;
    net::Family family = net::Family::V4;
    auto operator<=>(const Port&) const = default;
  };
  static Port port_of(const model::Key& service, const model::PortState& port);
  std::optional<std::uint32_t> choose(const Port& id, const model::PortState& port, const Adopted& adopted) const;

  std::map<Port, std::uint32_t> groups_;
  std::set<GroupKey> taken_;
};

}  // namespace fairlead::proxy::dataplane::nftables
