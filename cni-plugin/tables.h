// Tables: the elements of attachments in the nftables of layout.h. Each call is one transaction, which creates what is
// missing of the standing chains on the way, so that a table somebody flushed is no error and comes back with the next
// pod. Every element carries the mark of its attachment: whose it is is read from the kernel, never from memory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cni-plugin/call.h"
#include "cni-plugin/layout.h"
#include "net/nft/client.h"

namespace fairlead::cni {

struct Claim {
  SetId set;
  nft::Element element;
  bool operator==(const Claim&) const = default;
};

// What an attachment puts into the tables. Plugins make theirs apart (masquerade.h, portmap.h, ...); append() makes one
// transaction of them.
struct Claims {
  std::vector<Claim> elements;
  std::set<Extra> extras;
  std::string admin_chain;       // of forward_rules(); empty: nothing has to be forwarded past iptables
  std::string firewalld_zone;    // empty: firewalld is not asked
  bool needs_firewalld = false;  // an Error where it does not run; else it is asked where it has its chains
  bool operator==(const Claims&) const = default;
};
void append(Claims& to, Claims more);
std::ostream& operator<<(std::ostream& out, const Claims& claims);

class Tables {
 public:
  // Of the calling thread's present network namespace.
  static Result<Tables> open();
  // Empty where the kernel has no nf_tables: nobody can have put anything there.
  static Result<std::optional<Tables>> open_if_any();

  // An element that another attachment has is taken over: the newest pod with an address or a port is the one that
  // lives. No error when all of it is there.
  Status put(const Attachment& attachment, const Claims& claims);
  // Takes away what it has in `parts` and returns it.
  Result<std::vector<Claim>> take(const Attachment& attachment, Parts parts);
  // An Error names the first thing that is missing.
  Status check(const Attachment& attachment, const Claims& claims);
  // Takes away what attachments of `network` have that are not in `living`.
  Status sweep(const std::string& network, const std::vector<Attachment>& living, Parts parts);
  // The comments of all elements, for tests of leaks: "<mark>:<digest of the network>", empty for shared ones.
  Result<std::vector<std::string>> comments();

  // When all is done: no waiting for the kernel to forget what anybody took (nft::close_elsewhere).
  void leave() && { std::move(client_).leave(); }

 private:
  explicit Tables(nft::Client client) : client_(std::move(client)) {}
  nft::Client client_;
};

// In the user data of an element.
std::string comment_of(const Attachment& attachment);

// For plugins that do nothing else in a transaction: the same on a connection of its own.
Status put_claims(const Call& call, const Claims& claims);
Result<std::vector<Claim>> take_claims(const Call& call, Parts parts);  // nothing where there is no nf_tables
Status check_claims(const Call& call, const Claims& claims);
Status sweep_claims(const Call& call, Parts parts);  // GC

}  // namespace fairlead::cni
