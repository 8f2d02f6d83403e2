// BpfMap: a pinned map read and cut by plain system calls, so that what is tested is not what tests.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace fairlead::tests::chaos {

class BpfMap {
 public:
  using Bytes = std::vector<std::uint8_t>;

  static Result<BpfMap> open(const std::string& pin);
  std::uint32_t key_size() const { return key_size_; }
  // Every element there is, by one walk.
  Status each(const std::function<void(const Bytes& key, const Bytes& value)>& visit) const;
  std::optional<Bytes> find(const Bytes& key) const;
  Status erase(const Bytes& key) const;

 private:
  BpfMap(base::Fd fd, std::uint32_t key_size, std::uint32_t value_size)
      : fd_(std::move(fd)), key_size_(key_size), value_size_(value_size) {}
  base::Fd fd_;
  std::uint32_t key_size_;
  std::uint32_t value_size_;
};

}  // namespace fairlead::tests::chaos
