// Kernel: the seam between nftables users and netlink. net/nft/netlink.h is the real one, net/nft/fake.h a kernel in
// memory with the same rules about what exists, and with faults to order.
//
// One call at a time, from any thread. A commit is one transaction: all of it or nothing, and packets see either the
// old or the new state.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "net/nft/types.h"

namespace fairlead::net::nft {

// Why a transaction was refused. Nothing of it is in force.
struct Refusal {
  Error error;
  std::optional<std::size_t> command;  // the first one at fault; empty: the transaction as a whole
  std::optional<std::size_t> element;  // of that command, when the kernel told
};

// What happened to the tables since the last question, except by this object's own commits.
struct ForeignChanges {
  std::set<TableId> tables;
  bool lost = false;  // messages were dropped (ENOBUFS): anything may have changed
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  virtual std::optional<Refusal> commit(const Batch& batch) = 0;

  // commit() in two steps: the first may be taken while another thread waits for an earlier batch.
  struct Prepared {
    explicit Prepared(Batch of) : batch(std::move(of)) {}
    virtual ~Prepared() = default;
    const Batch batch;
  };
  virtual std::unique_ptr<Prepared> prepare(Batch batch) { return std::make_unique<Prepared>(std::move(batch)); }
  virtual std::optional<Refusal> commit_prepared(const Prepared& prepared) { return commit(prepared.batch); }
  // The kernel's verdict on a batch that never takes effect (as `nft --check`).
  virtual std::optional<Refusal> check(const Batch& batch) = 0;

  // Empty when there is no such table.
  virtual Result<std::optional<TableDump>> dump(const TableId& table) = 0;
  virtual Status dump_elements(const TableId& table, const std::string& set,
                               const std::function<void(const Element&)>& each) = 0;
  // The elements with these keys: an Error (ENOENT) when one is missing. Costs two microseconds each, whereas a dump
  // costs 44 bytes of a 32 kB packet each and a walk over the whole set for every packet.
  virtual Status find_elements(const TableId& table, const std::string& set, const std::vector<Element>& keys,
                               const std::function<void(const Element&)>& each) = 0;
  virtual Status dump_verdicts(const TableId& table, const std::string& set,
                               const std::function<void(const VerdictElement&)>& each) = 0;

  // Readable when somebody else changed an nftables table of this namespace.
  virtual int notification_fd() const = 0;
  virtual ForeignChanges read_notifications() = 0;
};

}  // namespace fairlead::net::nft
