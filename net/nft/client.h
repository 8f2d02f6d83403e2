// Client: nftables for a process that comes, changes a few elements and goes (the CNI binary): no notifications, no
// libmnl. Somebody else may change the same tables at the same time: what was read stays true until commit() when its
// generation is handed over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
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

// Closes an nfnetlink socket without waiting. When something was deleted from nftables a moment ago, by whomever, the
// kernel lets a closing socket wait for a grace period of RCU, some 5 to 30 ms, and everybody's commits with it (linux
// v6.1 net/netfilter/nf_tables_api.c nft_rcv_nl_event); also at a process' end. So a child that has nothing else open
// closes it a moment later. It is a zombie for as long as this process lives.
void close_elsewhere(NetlinkSocket socket);

class Client {
 public:
  // Of the calling thread's present network namespace.
  static Result<Client> open();

  // Of this namespace's whole ruleset; every commit of anybody starts another.
  Result<std::uint32_t> generation();

  Result<bool> has_chain(const TableId& table, const std::string& chain);
  // In order; of one chain, or of all. None when there is no such table.
  Result<std::vector<DumpedRule>> rules(const TableId& table, const std::string& chain = {});
  // In order of their keys. None when there is no such set. Of one generation, unless it is another one afterwards.
  Result<std::vector<NotedElement>> elements(const TableId& table, const std::string& set);
  // Empty when there is no such set, or nothing under that key.
  Result<std::optional<NotedElement>> find(const TableId& table, const std::string& set, const Element& key);

  // All of it or nothing. ERESTART: the ruleset is no longer of that generation (0: any is right), also of an empty one.
  Status commit(const Batch& batch, std::uint32_t generation = 0);

  void leave() && { close_elsewhere(std::move(socket_)); }

 private:
  Status still(std::uint32_t generation);
  explicit Client(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
  std::uint32_t sequence_ = 1U << 30;  // of batches, away from the socket's own
};

}  // namespace fairlead::net::nft
