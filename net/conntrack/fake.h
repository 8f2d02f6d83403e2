// FakeKernel: a connection table in memory, for tests of whatever cleans it.
#pragma once

#include <vector>

#include "net/conntrack/kernel.h"

namespace fairlead::net::conntrack {

class FakeKernel final : public Kernel {
 public:
  Status list(const Question& question, const std::function<void(const Entry&)>& each) override;
  Result<std::size_t> erase(const std::vector<Entry>& given) override;

  std::vector<Entry> entries;
  std::vector<Question> questions;  // as asked
  unsigned interrupt = 0;           // so many lists hand over only the first half, and say EINTR
  unsigned refuse = 0;              // so many lists are refused with EPERM
  std::size_t largest_erase = 0;    // entries in one call
};

}  // namespace fairlead::net::conntrack
