#include "ipam/ranges.h"

#include <array>

#include "base/strings.h"

namespace fairlead::ipam {
namespace {

bool overlap(const Range& a, const Range& b) {
  return a.subnet.family() == b.subnet.family() && a.start <= b.end && b.start <= a.end;
}

Status check_bound(const RangeSpec& spec, const net::Prefix& subnet, std::string_view field, const net::Ip& value) {
  if (subnet.contains(value)) return {};
  return Error(
      base::cat(spec.path, ".", field, ": ", value.to_string(), " lies outside of the subnet ", subnet.to_string()));
}

Result<net::Prefix> read_subnet(const RangeSpec& spec) {
  const std::string field = base::cat(spec.path, ".subnet");
  const auto written = TRY_CONTEXT(net::InterfaceAddress::parse(spec.subnet), field);
  const net::Prefix subnet = written.subnet();
  const unsigned longest = subnet.address.is_v4() ? 30 : 126;
  if (subnet.length > longest) {
    return Error(base::cat(field, ": ", spec.subnet, " is too small to allocate from; at most /", longest));
  }
  if (subnet.address != written.address) {
    return Error(base::cat(field, ": ", spec.subnet, " has host bits set; the network is ", subnet.to_string()));
  }
  return subnet;
}

}  // namespace

Number to_number(const net::Ip& ip) {
  Number number = 0;
  for (const std::uint8_t byte : ip.bytes()) number = number << 8 | byte;
  return number;
}

net::Ip to_ip(Number number) {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = bytes.size(); i-- > 0; number >>= 8) bytes[i] = static_cast<std::uint8_t>(number);
  return net::Ip::from_bytes(bytes);
}

bool Range::contains(const net::Ip& ip) const {
  // ::/64 has every v4-mapped address among its numbers.
  return ip.family() == subnet.family() && start <= ip && ip <= end;
}

std::string to_string(const Range& range) { return base::cat(range.start.to_string(), "-", range.end.to_string()); }

std::string to_string(const RangeSet& set) {
  std::vector<std::string> parts;
  for (const Range& range : set) parts.push_back(to_string(range));
  return base::join(parts, ",");
}

const Range* range_of(const RangeSet& set, const net::Ip& ip) {
  for (const Range& range : set) {
    if (range.contains(ip)) return &range;
  }
  return nullptr;
}

Number usable(const RangeSet& set) {
  Number sum = 0;
  for (const Range& range : set) {
    const Number between = to_number(range.end) - to_number(range.start);
    sum += between + (range.contains(range.gateway) ? 0 : 1);
  }
  return sum;
}

Result<Range> complete(const RangeSpec& spec) {
  Range range;
  range.subnet = TRY(read_subnet(spec));
  const Number first = to_number(range.subnet.address);
  const unsigned host_bits = (range.subnet.address.is_v4() ? 32U : 128U) - range.subnet.length;
  const Number last = host_bits == 128 ? ~Number{0} : first + ((Number{1} << host_bits) - 1);
  range.gateway = spec.gateway.value_or(to_ip(first + 1));
  range.start = spec.start.value_or(to_ip(first + 1));
  range.end = spec.end.value_or(to_ip(range.subnet.address.is_v4() ? last - 1 : last));
  TRY(check_bound(spec, range.subnet, "rangeStart", range.start));
  TRY(check_bound(spec, range.subnet, "rangeEnd", range.end));
  if (range.gateway.family() != range.subnet.family()) {
    return Error(base::cat(spec.path, ".gateway: ", range.gateway.to_string(), " is no ",
                           net::to_string(range.subnet.family()), " address, as the subnet ", spec.subnet, " needs"));
  }
  if (range.end < range.start) {
    return Error(base::cat(spec.path, ".rangeStart: ", range.start.to_string(), " comes after rangeEnd ",
                           range.end.to_string()));
  }
  return range;
}

Result<std::vector<RangeSet>> complete(const std::vector<std::vector<RangeSpec>>& sets) {
  struct Named {
    const RangeSpec* spec;
    Range range;
  };
  std::vector<Named> seen;
  std::vector<RangeSet> result;
  for (const auto& specs : sets) {
    RangeSet set;
    for (const RangeSpec& spec : specs) {
      const Range range = TRY(complete(spec));
      if (!set.empty() && set.front().subnet.family() != range.subnet.family()) {
        return Error(base::cat(spec.path, ".subnet: ", spec.subnet, " is of another family than ", specs.front().subnet,
                               "; the ranges of one set share one family"));
      }
      for (const Named& other : seen) {
        if (!overlap(other.range, range)) continue;
        return Error(base::cat(spec.path, ": ", to_string(range), " overlaps ", to_string(other.range), " of ",
                               other.spec->path));
      }
      seen.push_back({&spec, range});
      set.push_back(range);
    }
    if (set.empty()) return Error(base::cat("range set ", result.size(), " is empty; it needs one range at least"));
    result.push_back(std::move(set));
  }
  return result;
}

}  // namespace fairlead::ipam
