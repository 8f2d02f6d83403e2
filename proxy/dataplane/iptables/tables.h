// tables: one table of one family as it should be and as it is believed to be; the difference as input of
// iptables-restore. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "proxy/dataplane/iptables/plan.h"

namespace fairlead::proxy::dataplane::iptables {

// What a chain holds, without holding it.
struct Digest {
  std::uint64_t hash = 0;
  std::uint32_t rules = 0;
  bool operator==(const Digest&) const = default;
};
// `rules`: one per line, each with its newline.
Digest digest_of(std::string_view rules);

// What iptables-save says of one table, as far as it can be ours.
struct SavedTable {
  std::map<std::string, Digest> chains;                    // of ours
  std::map<std::string, std::vector<std::string>> shared;  // built-in chains and kFirewall: their rules
  std::uint32_t foreign_rules = 0;                         // in nobody's chain that Kubernetes knows
  bool operator==(const SavedTable&) const = default;
};
using Saved = std::map<Table, SavedTable>;
// The Error names the line. Tables and chains of others are passed over.
Result<Saved> parse_save(std::string_view text);

struct Update {
  std::string input;           // "*nat\n...COMMIT\n"; empty: nothing differs
  std::uint32_t rules = 0;     // written
  std::uint32_t commands = 0;  // lines that change something
};

class TableState {
 public:
  explicit TableState(Table table, bool short_transactions = false)
      : table_(table), short_transactions_(short_transactions) {}

  // The wanted content of a chain; rules as to_string() prints them.
  void set(const std::string& chain, const Rules& rules);
  void erase(const std::string& chain);
  void set_jumps(std::vector<Jump> jumps);
  void set_guard(std::optional<Rule> guard);  // of kFirewall: added where it is missing, never taken away
  // Wants nothing any more; what follows is a new complete state.
  void clear();

  void believe(SavedTable saved);
  Update update() const;
  // The last update() is in force.
  void settle();

  bool clean() const { return dirty_.empty() && !jumps_dirty_; }
  std::uint32_t rules() const;  // believed to be there
  // Everything that is wanted, as input for empty tables.
  std::string text() const;

 private:
  void append_chain(const std::string& name, const std::string& rules, Update& out) const;
  void append_shared(Update& out) const;

  Table table_;
  bool short_transactions_;
  std::map<std::string, std::string> wanted_;
  std::vector<std::pair<std::string, std::string>> jumps_;  // built-in chain, rule
  std::optional<std::string> guard_;
  SavedTable belief_;
  std::set<std::string> dirty_;  // chains that may differ
  bool jumps_dirty_ = true;
};

}  // namespace fairlead::proxy::dataplane::iptables
