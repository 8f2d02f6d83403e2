// Engine: pending edits -> transactions -> kernel, with belief kept in step. The Dataplane of nftables.cc is this plus
// the bookkeeping of services. One thread.
#pragma once

#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/nftables/belief.h"
#include "proxy/dataplane/nftables/claims.h"
#include "proxy/dataplane/nftables/nftables.h"
#include "proxy/dataplane/nftables/sessions.h"

namespace fairlead::proxy::dataplane::nftables {

// Element writes of one transaction, by table and set.
struct Writes {
  std::vector<nft::Element> of[2][std::size(kElementSets)];
  std::vector<nft::Element>& in(std::size_t table, SetId set) { return of[table][static_cast<std::size_t>(set)]; }
};

class Engine {
 public:
  // Names the service behind a frontend, for Failures.
  using OwnerOf = std::function<model::Key(const FrontendKey&)>;

  Engine(std::unique_ptr<nft::Kernel> kernel, const std::string& instance, const Settings& settings,
         const std::vector<net::Family>& families, Tuning tuning, OwnerOf owner_of);

  // For a complete new state: `edits` deletes everything there is. Reads the kernel unless belief is known to hold:
  // every own commit was acknowledged, and of everybody else's the kernel would have told.
  Status load(const model::NodeState& node);
  // Reads the kernel again; `edits` then restores what was believed.
  Status reload();

  // Writes `edits` and what reading the kernel left to do. What cannot be written stays in `edits`, or in belief when
  // that is not trusted any more: then the next flush reads the kernel first, and fails if it cannot.
  void flush(Report& report);
  Status remove();

  Wanted current(const FrontendKey& frontend) const;
  Adopted adopted() const;  // of the kernel as it was read; costs the number of frontends
  bool is_ours(const nft::ForeignChanges& changes) const;
  bool has_family(net::Family family) const;
  nft::Kernel& kernel() { return *kernel_; }
  const nft::Kernel& kernel() const { return *kernel_; }
  const Belief& belief() const { return belief_; }

  Edits edits;

 private:
  // One transaction, and what will be true once it is in force.
  struct Stage {
    nft::Batch batch;
    Writes deletes;
    Writes adds;
    std::size_t weight = 0;
    std::vector<std::pair<FrontendEdits::const_iterator, Installed>> frontends;
    std::vector<std::pair<GroupEdits::const_iterator, InstalledGroup>> groups;
    PerAddressSet<std::unordered_map<net::Ip, std::int64_t>> users;  // change of AddressUse::users
    PerAddressSet<std::vector<std::pair<net::Ip, AddressUse>>> addresses;
    std::set<std::pair<std::size_t, std::uint32_t>> codes;  // table index, code
    std::set<std::pair<std::size_t, RangeLength>> lengths;
    bool last = false;  // nothing is left after it
  };
  Stage stage(bool has_rules) const;
  void stage_tables(Stage& stage) const;
  void stage_rules(Stage& stage) const;
  void stage_frontend(FrontendEdits::const_iterator edit, Stage& stage) const;
  void stage_group(GroupEdits::const_iterator edit, Stage& stage) const;
  void stage_code(std::size_t table, std::optional<std::uint32_t> code, Stage& stage) const;
  void stage_addresses(std::size_t set, Stage& stage) const;
  void settle(Stage&& stage);
  bool shrinks(const GroupKey& key, const std::optional<WantedGroup>& wanted) const;
  bool must_be_one_transaction() const;
  std::size_t table_of(net::Family family) const;
  std::optional<FrontendKey> culprit(const nft::Batch& batch, const nft::Refusal& refusal) const;

  std::unique_ptr<nft::Kernel> kernel_;
  std::vector<nft::TableId> tables_;
  Settings settings_;
  model::NodeState node_;
  std::vector<std::string> node_texts_;  // node_text() of node_, by table
  Tuning tuning_;
  OwnerOf owner_of_;
  Belief belief_;
  bool trusted_ = false;
  bool sweep_ = false;  // belief was read: addresses may be left that nobody uses
};

}  // namespace fairlead::proxy::dataplane::nftables
