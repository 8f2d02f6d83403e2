// FamilyState: everything wanted of one family, service by service, and what is believed to be there. Pure bookkeeping;
// one service more or less costs that service, and each look-up tree it has another entry in.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/iptables/tables.h"

namespace fairlead::proxy::dataplane::iptables {

// Two services may claim one frontend: the smaller key has it, and the other takes over when that is gone.
struct Conflict {
  model::Key loser;
  model::Key owner;
  FrontendKey frontend;
  bool operator==(const Conflict&) const = default;
};

class FamilyState {
 public:
  FamilyState(net::Family family, const Settings& settings);

  net::Family family() const { return family_; }
  // Forgets all services; what is believed stays.
  void begin(const model::NodeState& node);
  void upsert(const model::ServiceState& state);
  void erase(const model::Key& service);

  void believe(Saved saved);
  // The input for one iptables-restore: filter before nat, so that what is refused is refused before it is no longer
  // translated.
  Update update();
  void settle();  // it is in force

  // Wants nothing.
  void clear();
  std::string text();                     // the input that would fill empty tables
  std::vector<RuleCount> counts() const;  // what the last input that was settled wrote, and all there is
  std::vector<Conflict> conflicts_of(const model::Key& service) const;
  std::vector<Conflict> conflicts() const;
  // Whose rule a line of input is; nothing when it is no single service's.
  std::optional<model::Key> owner_of(std::string_view line) const;

 private:
  struct Installed {
    std::vector<ChainId> chains;  // sorted
    std::vector<FrontendKey> frontends;
    std::vector<net::Ip> local_endpoints;
    std::uint16_t health_check = 0;
  };

  TableState& in(Table table) { return tables_.at(table); }
  void claim(const FrontendKey& key, const model::Key& service, Dispatch dispatch);
  void release(const FrontendKey& key, const model::Key& service);
  void settle_claim(const FrontendKey& key);
  void count_local(const std::vector<net::Ip>& endpoints, int by);
  void count_health_check(std::uint16_t port, int by);
  void rebuild_trees();
  void append_conflicts(const FrontendKey& key, std::vector<Conflict>& out) const;

  net::Family family_;
  Settings settings_;
  model::NodeState node_;
  std::map<Table, TableState> tables_;
  std::map<model::Key, Installed> services_;
  std::map<FrontendKey, std::map<model::Key, Dispatch>> claims_;
  Frontends frontends_;                     // what the first claimant wants
  std::map<net::Ip, std::uint32_t> local_;  // endpoints of this node: by how many services
  std::map<std::uint16_t, std::uint32_t> health_checks_;
  std::set<TreeId> stale_;
  bool health_checks_stale_ = true;
  std::map<TreeId, std::set<std::string>> tree_chains_;
  std::unordered_map<std::string, model::Key> owners_;  // of service chains
  std::map<Table, std::uint32_t> last_written_;
  std::map<Table, std::uint32_t> being_written_;
};

}  // namespace fairlead::proxy::dataplane::iptables
