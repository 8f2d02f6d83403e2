#include "net/conntrack/fake.h"

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "net/conntrack/message.h"

namespace fairlead::net::conntrack {

Status FakeKernel::list(const Question& question, const std::function<void(const Entry&)>& each) {
  questions.push_back(question);
  if (refuse > 0) {
    --refuse;
    return Error::from_errno("list", EPERM);
  }
  const std::vector<Entry> now = entries;  // `each` may erase
  const std::size_t end = interrupt > 0 ? now.size() / 2 : now.size();
  for (std::size_t i = 0; i < end; ++i) {
    if (matches(question, now[i])) each(now[i]);
  }
  if (interrupt == 0) return {};
  --interrupt;
  return Error::from_errno("list", EINTR);
}

Result<std::size_t> FakeKernel::erase(const std::vector<Entry>& given) {
  largest_erase = std::max(largest_erase, given.size());
  const auto key = [](const Entry& e) { return std::tie(e.protocol, e.original, e.zone, e.id); };
  std::size_t erased = 0;
  for (const Entry& entry : given) {
    erased += std::erase_if(entries, [&](const Entry& other) { return key(other) == key(entry); });
  }
  return erased;
}

}  // namespace fairlead::net::conntrack
