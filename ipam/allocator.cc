#include "ipam/allocator.h"

namespace fairlead::ipam {
namespace {

std::optional<Pick> pick_between(const Range& range, const Held& held, Number from, Number to) {
  if (from > to) return std::nullopt;
  std::optional<Number> free = held.first_free(from, to);
  if (free == to_number(range.gateway)) free = *free == to ? std::nullopt : held.first_free(*free + 1, to);
  if (!free) return std::nullopt;
  return Pick{to_ip(*free), &range};
}

}  // namespace

std::optional<Pick> pick(const RangeSet& set, const Held& held, const std::optional<net::Ip>& last) {
  const Range* const current = last ? range_of(set, *last) : nullptr;
  const std::size_t first = current == nullptr ? 0 : static_cast<std::size_t>(current - set.data());
  if (current != nullptr && *last != current->end) {
    if (auto found = pick_between(*current, held, to_number(*last) + 1, to_number(current->end))) return found;
  }
  for (std::size_t i = current == nullptr ? 0 : 1; i < set.size(); ++i) {
    const Range& range = set[(first + i) % set.size()];
    if (auto found = pick_between(range, held, to_number(range.start), to_number(range.end))) return found;
  }
  if (current == nullptr) return std::nullopt;
  return pick_between(*current, held, to_number(current->start), to_number(*last));
}

Number held_in(const RangeSet& set, const Held& held) {
  Number sum = 0;
  for (const Range& range : set) {
    sum += held.count(to_number(range.start), to_number(range.end));
    const Number gateway = to_number(range.gateway);
    if (range.contains(range.gateway)) sum -= held.count(gateway, gateway);
  }
  return sum;
}

}  // namespace fairlead::ipam
