// delta(have, want): what to write and what to delete so that a keyed set of kernel objects becomes another.
// Both maps are ordered, so the result is deterministic and costs one pass.
#pragma once

#include <map>
#include <utility>
#include <vector>

namespace fairlead::base {

template <typename Key, typename Value>
struct Delta {
  std::vector<std::pair<Key, Value>> upserted;  // absent before, or different
  std::vector<Key> deleted;
  bool empty() const { return upserted.empty() && deleted.empty(); }
};

template <typename Key, typename Value>
Delta<Key, Value> delta(const std::map<Key, Value>& have, const std::map<Key, Value>& want) {
  Delta<Key, Value> result;
  auto old_it = have.begin();
  auto new_it = want.begin();
  while (old_it != have.end() || new_it != want.end()) {
    if (new_it == want.end() || (old_it != have.end() && old_it->first < new_it->first)) {
      result.deleted.push_back((old_it++)->first);
    } else if (old_it == have.end() || new_it->first < old_it->first) {
      result.upserted.push_back(*new_it++);
    } else {
      if (!(old_it->second == new_it->second)) result.upserted.push_back(*new_it);
      ++old_it;
      ++new_it;
    }
  }
  return result;
}

}  // namespace fairlead::base
