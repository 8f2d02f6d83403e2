// Client: nftables for a process that comes, changes a few elements and goes (the CNI binary): no notifications, no
// libmnl. Somebody else may change the same tables at the same time: what was read stays true until commit() when its
// generation is handed over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/netlink_message.h"
#include "net/nft/types.h"

namespace fairlead::net::nft {

struct NotedElement {
  Element element;
  std::string comment;
  bool operator==(const NotedElement&) const = default;
};

class Client {
 public:
  // Of the calling thread's present network namespace.
  static Result<Client> open();

  // Of this namespace's whole ruleset; every commit of anybody starts another.
  Result<std::uint32_t> generation();

  Result<bool> has_chain(const TableId& table, const std::string& chain);
  // In order; of one chain, or of all. None when there is no such table.
  Result<std::vector<DumpedRule>> rules(const TableId& table, const std::string& chain = {});
  // None when there is no such set.
  Result<std::vector<NotedElement>> elements(const TableId& table, const std::string& set);
  // Empty when there is no such set, or nothing under that key.
  Result<std::optional<NotedElement>> find(const TableId& table, const std::string& set, const Element& key);

  // All of it or nothing. ERESTART: the ruleset is no longer of that generation (0: any is right).
  Status commit(const Batch& batch, std::uint32_t generation = 0);

 private:
  explicit Client(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
  std::uint32_t sequence_ = 1U << 30;  // of batches, away from the socket's own
};

}  // namespace fairlead::net::nft
