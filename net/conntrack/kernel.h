// Kernel: the seam between users of connection tracking and netlink. net/conntrack/netlink.h is the real one,
// net/conntrack/fake.h a table in memory.
//
// One thread. Nothing here locks the table: packets go on while it is read, and entries come and go meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "net/conntrack/entry.h"

namespace fairlead::net::conntrack {

struct Question {
  Family family = Family::V4;
  std::uint8_t protocol = kUdp;
  bool unanswered = false;  // only what no packet of the reply direction was seen of
  bool operator==(const Question&) const = default;
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  // Hands over one entry at a time, so that a table of any size takes no memory; `each` may call erase(). An entry may
  // come twice. EINTR: the table changed its shape meanwhile, and some may not have come.
  virtual Status list(const Question& question, const std::function<void(const Entry&)>& each) = 0;
  // Exactly these, by original tuple, zone and id. Returns how many there were; one that is gone is no error.
  virtual Result<std::size_t> erase(const std::vector<Entry>& entries) = 0;
};

}  // namespace fairlead::net::conntrack
