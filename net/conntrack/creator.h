// Creator: connections that no packet made, for tests.
#pragma once

#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "net/conntrack/entry.h"

namespace fairlead::net::conntrack {

class Creator {
 public:
  static Result<Creator> open();                     // for the calling thread's network namespace
  Status create(const std::vector<Entry>& entries);  // for ten minutes

 private:
  explicit Creator(base::Fd socket) : socket_(std::move(socket)) {}
  base::Fd socket_;
};

}  // namespace fairlead::net::conntrack
