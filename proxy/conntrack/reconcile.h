// reconcile: one pass over the connection tables, and the deletes that follow from it.
#pragma once

#include <cstddef>
#include <vector>

#include "base/clock.h"
#include "net/conntrack/kernel.h"
#include "proxy/conntrack/review.h"

namespace fairlead::proxy::conntrack {

// Of one family.
struct Pass {
  net::Family family = net::Family::V4;
  std::size_t deleted = 0;
  base::Duration took{};
};

// Every family of the review is one Pass. `local`: the addresses of the kernel's network namespace. A table that
// changes its shape while it is read is read again, up to five times; what came by then has to do. Takes about 2 us for
// each entry of a protocol in question and as much for each delete; memory for some thousand entries.
// An Error is one of the kernel; the rest of the review was not done.
Result<std::vector<Pass>> reconcile(net::conntrack::Kernel& kernel, const base::Clock& clock, const Review& review,
                                    const std::vector<net::Ip>& local);

}  // namespace fairlead::proxy::conntrack
