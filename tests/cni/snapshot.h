// Snapshot: what plugins leave in a host and its containers, as lines that can be compared and read.
//
// What is chance (names of veths, hardware addresses) is masked by what it belongs to, so that two hosts compare. Not
// in it: link-local IPv6 (of the hardware address, and late), nftables (nft_sizes()), the local routing table.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cni/host.h"

namespace fairlead::cnitest {

using Lines = std::vector<std::string>;  // sorted

// Text by chance -> what stands for it; grows with every snapshot of a host, and is good for results of plugins too.
class Masks {
 public:
  // Whatever stands in `given` was chosen by the test and stays.
  explicit Masks(std::string given = "") : given_(std::move(given)) {}
  void add(const std::string& text, const std::string& mask);
  std::string apply(std::string text) const;

 private:
  std::string given_;
  std::map<std::string, std::string> masks_;
};

struct Scope {
  std::vector<std::string> containers;
  std::vector<std::string> folders;  // whose files count, with their content
  std::vector<std::string> sysctls;  // "net/ipv4/ip_forward", of the host
  std::vector<std::string> container_sysctls;
};

Result<Lines> snapshot(const CniHost& host, const Scope& scope, Masks& masks);

// How much stands in nftables: "nft rules of inet t: 3", "nft elements of inet t s: 1". Quick.
Result<Lines> nft_sizes(const CniHost& host);

// "- only in a", "+ only in b".
Lines difference(const Lines& a, const Lines& b);
std::string to_string(const Lines& lines);

}  // namespace fairlead::cnitest
