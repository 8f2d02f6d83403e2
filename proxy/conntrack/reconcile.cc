#include "proxy/conntrack/reconcile.h"

#include <algorithm>
#include <cerrno>
#include <set>

namespace fairlead::proxy::conntrack {
namespace {

using model::Protocol;
using net::conntrack::Entry;
using net::conntrack::Kernel;
using net::conntrack::Question;

constexpr std::size_t kAtOnce = 1024;  // stale entries held before they are deleted
constexpr int kMaxAttempts = 5;        // kubernetes v1.36 pkg/proxy/conntrack

std::set<Protocol> protocols_of(const Review& review, net::Family family) {
  std::set<Protocol> out;
  for (const auto& [place, wanted] : review.frontends) {
    if (place.family == family) out.insert(place.protocol);
  }
  return out;
}

// Of an established connection of TCP or SCTP nothing is deleted.
Question question(net::Family family, Protocol protocol) {
  return {family, static_cast<std::uint8_t>(protocol), protocol != Protocol::Udp};
}

// Reads the answers to one question once, and deletes what is stale on the way. Adds to `deleted`.
Status sweep(Kernel& kernel, const Question& about, const Judge& judge, std::size_t& deleted) {
  std::vector<Entry> stale;
  std::optional<Error> failed;
  const auto erase = [&] {
    auto erased = kernel.erase(stale);
    stale.clear();
    if (erased) {
      deleted += *erased;
    } else if (!failed) {
      failed = erased.error();
    }
  };
  const Status listed = kernel.list(about, [&](const Entry& entry) {
    if (!judge.stale(entry)) return;
    stale.push_back(entry);
    if (stale.size() == kAtOnce) erase();
  });
  if (!stale.empty()) erase();
  if (failed) return *failed;
  return listed;
}

}  // namespace

Result<std::vector<Pass>> reconcile(Kernel& kernel, const base::Clock& clock, const Review& review,
                                    const std::vector<net::Ip>& local) {
  const Judge judge(review, local);
  std::vector<Pass> out;
  for (const net::Family family : {net::Family::V4, net::Family::V6}) {
    const std::set<Protocol> protocols = protocols_of(review, family);
    if (protocols.empty()) continue;
    const base::Instant start = clock.now();
    Pass pass{.family = family};
    for (const Protocol protocol : protocols) {
      Status done;
      for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
        done = sweep(kernel, question(family, protocol), judge, pass.deleted);
        if (done || done.error().errno_value() != EINTR) break;
      }
      if (!done && done.error().errno_value() != EINTR) return done.error();
    }
    pass.took = clock.now() - start;
    out.push_back(pass);
  }
  return out;
}

}  // namespace fairlead::proxy::conntrack
