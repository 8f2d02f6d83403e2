// A state directory and a run directory of their own, on a tmpfs, and what tests of them have in common.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ipam/store.h"
#include "ipam/temporary_test.h"

namespace fairlead::ipam {

inline net::Ip ip(std::string_view text) { return *net::Ip::parse(text); }

// One set of one whole subnet each.
inline std::vector<RangeSet> sets_of(const std::vector<std::string>& subnets) {
  std::vector<std::vector<RangeSpec>> specs;
  for (const std::string& subnet : subnets) specs.push_back({{"r", subnet, {}, {}, {}}});
  return *complete(specs);
}

using Tree = std::map<std::string, std::string>;

// The reservations of a state directory, and what they say.
inline Tree reservations_in(const std::string& path) {
  Tree found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(path, none)) {
    const std::string name = entry.path().filename();
    if (!net::Ip::parse(name)) continue;
    found[name] = "";
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    found[name].assign(std::istreambuf_iterator<char>(in), {});
  }
  return found;
}

// "10.1.0.2/24 fd00::2/64", or the error's text.
inline std::string add(const Place& place, const std::string& id, const std::vector<RangeSet>& sets,
                       const std::vector<net::Ip>& wanted = {}) {
  auto store = Store::open(place);
  if (!store) return store.error().message();
  const auto leases = store->allocate({id, "eth0"}, sets, wanted);
  if (!leases) return leases.error().message();
  std::string text;
  for (const Lease& lease : *leases) text += (text.empty() ? "" : " ") + lease.address.to_string();
  return text;
}

// "" or the error's text.
inline std::string del(const Place& place, const std::string& id) {
  auto store = Store::open_existing(place);
  if (!store) return store.error().message();
  const Status status = *store ? (*store)->release({id, "eth0"}) : Status();
  return status ? "" : status.error().message();
}

// Of which the files that are dated from `from` on can be.
inline Boot boot_since(std::string id, std::int64_t from) {
  constexpr std::int64_t kForever = std::int64_t{1} << 40;
  return {std::move(id), {from, kForever}};
}

class PlaceTest : public ::testing::Test {
 protected:
  PlaceTest() {
    place_ = {temporary_.path() + "/networks", "n", temporary_.path() + "/run", boot_since("boot-1", 1000)};
  }
  Tree reservations() const { return reservations_in(place_.directory()); }

  TemporaryDirectory temporary_{"/dev/shm"};
  Place place_;
};

}  // namespace fairlead::ipam
