// FakeKernel: nftables tables in memory behind the Kernel seam, with the kernel's rules about what must and must not
// exist and its all-or-nothing transactions, plus faults to order. For tests; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "net/nft/kernel.h"

namespace fairlead::net::nft {

struct FakeTable {
  TableDump objects;
  std::map<std::string, std::set<Element>> elements;
  std::map<std::string, std::map<std::uint32_t, VerdictElement>> verdicts;
  bool operator==(const FakeTable&) const = default;
};

// What outlives a process: share it between the FakeKernels of one test to play a restart.
struct FakeNamespace {
  std::map<TableId, FakeTable> tables;
  std::uint64_t commits = 0;  // transactions that took effect
  std::uint64_t writes = 0;   // commands and elements of those

  // Faults.
  std::optional<std::uint64_t> fail_command;  // the nth command from now, counted from 0, is refused once
  std::optional<std::uint64_t> fail_again;    // as `fail_command`, counted from when that has happened
  int fail_errno = ENOMEM;
  unsigned fail_dumps = 0;                       // so many more dump()s fail
  std::optional<std::uint64_t> die_after;        // after so many more commits every one fails, as for a killed process
  std::optional<std::string> refuse_element_of;  // every addition to this set whose key holds `refuse_bytes` fails
  std::string refuse_bytes;

  // As another process would: `change` edits the tables, listeners hear of `table`.
  ForeignChanges unread;
  void edit(const TableId& table) { unread.tables.insert(table); }
  void flush_ruleset();
};

class FakeKernel final : public Kernel {
 public:
  explicit FakeKernel(std::shared_ptr<FakeNamespace> ns) : ns_(std::move(ns)) {}

  std::optional<Refusal> commit(const Batch& batch) override;
  std::optional<Refusal> check(const Batch& batch) override;
  Result<std::optional<TableDump>> dump(const TableId& table) override;
  Status dump_elements(const TableId& table, const std::string& set,
                       const std::function<void(const Element&)>& each) override;
  Status find_elements(const TableId& table, const std::string& set, const std::vector<Element>& keys,
                       const std::function<void(const Element&)>& each) override;
  Status dump_verdicts(const TableId& table, const std::string& set,
                       const std::function<void(const VerdictElement&)>& each) override;
  int notification_fd() const override { return -1; }
  ForeignChanges read_notifications() override;

 private:
  std::shared_ptr<FakeNamespace> ns_;
};

}  // namespace fairlead::net::nft
