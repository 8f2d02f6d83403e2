#include "proxy/dataplane/nftables/codes.h"

#include <algorithm>

#include "base/strings.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

struct Flag {
  std::uint32_t bit;
  std::string_view suffix;
};
constexpr Flag kFlags[] = {{kMasquerade, "_masq"},
                           {kOffCluster, "_offcluster"},
                           {kNodePort, "_nodeport"},
                           {kLocal, "_local"},
                           {kShort, "_short"}};

}  // namespace

bool balances(std::uint32_t code) {
  constexpr std::uint32_t kBoth = kMasquerade | kOffCluster;
  return (code & kArgument) != 0 && (code & (kReject | kPick)) == 0 && (code & kBoth) != kBoth;
}

std::uint32_t slots_of(std::uint32_t code) { return balances(code) && (code & kSticky) == 0 ? code & kArgument : 0; }

std::string chain_of(std::uint32_t code) {
  if ((code & kPick) != 0) return base::cat("c", code & kArgument);
  std::string name = base::cat((code & kSticky) != 0 ? "t" : "n", code & kArgument);
  for (const Flag& flag : kFlags) {
    if ((code & flag.bit) != 0) name += flag.suffix;
  }
  return name;
}

std::optional<std::uint32_t> code_of_chain(const std::string& chain) {
  const std::size_t head = std::string_view("ntc").find(chain.empty() ? ' ' : chain[0]);
  if (head == std::string_view::npos) return std::nullopt;
  const std::size_t end = std::min(chain.find('_'), chain.size());
  const auto argument = base::parse_number<std::uint32_t>(std::string_view(chain).substr(1, end - 1));
  if (!argument || *argument > kArgument) return std::nullopt;
  constexpr std::uint32_t kHeads[] = {0, kSticky, kPick};
  std::uint32_t code = kHeads[head] | *argument;
  for (const Flag& flag : kFlags) {
    if (chain.find(flag.suffix, end) != std::string::npos) code |= flag.bit;
  }
  const bool valid = (code & kPick) != 0 ? *argument != 0 : balances(code);
  return valid && chain_of(code) == chain ? std::optional(code) : std::nullopt;
}

// FNV-1a (draft-eastlake-fnv), and a finish that takes names which differ in a digit far apart.
std::uint32_t stable_hash(std::string_view text) {
  std::uint32_t hash = 2166136261;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619;
  hash = (hash ^ hash >> 16) * 0x85ebca6b;
  hash = (hash ^ hash >> 13) * 0xc2b2ae35;
  return hash ^ hash >> 16;
}

std::string describe_code(std::uint32_t code) {
  if (balances(code)) return base::cat("goto ", chain_of(code));
  return code == kReject ? "reject" : code == kDrop ? "drop" : base::cat("unknown code ", code);
}

}  // namespace fairlead::proxy::dataplane::nftables
