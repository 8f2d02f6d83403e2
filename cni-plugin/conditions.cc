#include "cni-plugin/conditions.h"

#include <array>
#include <optional>
#include <string_view>

#include "base/strings.h"
#include "cni-plugin/call.h"
#include "cni-plugin/layout.h"
#include "net/nft/match.h"

namespace fairlead::cni {
namespace {

using base::cat;
using net::Family;
using What = Condition::What;
namespace expr = net::nft::expr;

constexpr char kIptables[] =
    "-s, -d, -i, -m mark --mark, -m addrtype --src-type and --dst-type, -m comment, "
    "-m conntrack --ctstate NEW";
constexpr char kNft[] = "ip or ip6 saddr and daddr, iifname, meta mark, fib saddr or daddr type";

Error unsupported(std::string_view word, std::string_view known) {
  return failure(code::kUnsupportedField, "\"", word, "\" is not supported; known are ", known);
}
Error nonsense(std::string_view what) { return failure(code::kInvalidConfig, what); }

// RTN_* (linux v6.1 include/uapi/linux/rtnetlink.h), by the names of both tools.
constexpr std::array<const char*, 9> kTypes{"unspec",    "unicast",   "local",       "broadcast", "anycast",
                                            "multicast", "blackhole", "unreachable", "prohibit"};

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// Words one after another.
class Reader {
 public:
  explicit Reader(const std::vector<std::string>& words) : words_(words) {}
  bool done() const { return at_ == words_.size(); }
  const std::string& peek() const { return words_[at_]; }
  bool skip(std::string_view word) {
    if (done() || peek() != word) return false;
    ++at_;
    return true;
  }
  Result<std::string> next() {
    if (done()) return nonsense(cat(words_.empty() ? "it" : cat("\"", words_.back(), "\""), " has nothing behind it"));
    return words_[at_++];
  }

 private:
  const std::vector<std::string>& words_;
  std::size_t at_ = 0;
};

Result<net::Prefix> read_prefix(const std::string& word, Family family) {
  const auto address = net::Ip::parse(word);
  const auto prefix = address ? Result<net::Prefix>(net::Prefix::host(*address)) : net::Prefix::parse(word);
  if (prefix && prefix->family() == family) return *prefix;
  return nonsense(cat("\"", word, "\" is no IPv", family == Family::V4 ? 4 : 6, " address or prefix (ADDRESS/BITS)"));
}

Result<std::uint32_t> read_number(std::string_view word) {
  const bool hex = word.starts_with("0x") || word.starts_with("0X");
  std::uint64_t number = 0;
  const std::string_view digits = hex ? word.substr(2) : word;
  for (const char c : digits) {
    const auto digit = std::string_view("0123456789abcdef").find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
    if (digit == std::string_view::npos || (!hex && digit > 9) || number > 0xffffffffU) number = 1ULL << 40;
    if (number < 1ULL << 40) number = number * (hex ? 16U : 10U) + digit;
  }
  if (digits.empty() || number > 0xffffffffU) return nonsense(cat("\"", word, "\" is no number of 32 bits"));
  return static_cast<std::uint32_t>(number);
}

Result<std::uint32_t> read_type(const std::string& word) {
  for (std::uint32_t i = 0; i < kTypes.size(); ++i) {
    if (lower(word) == kTypes[i]) return i;
  }
  return nonsense(
      cat("\"", word, "\" is none of the address types ", base::join({kTypes.begin(), kTypes.end()}, ", ")));
}

Result<Condition> of_address(What what, bool negated, const std::string& word, Family family) {
  return Condition{.what = what, .negated = negated, .prefix = TRY(read_prefix(word, family)), .input = {}};
}
Result<Condition> of_type(What what, bool negated, const std::string& word) {
  return Condition{.what = what, .negated = negated, .prefix = {}, .input = {}, .value = TRY(read_type(word))};
}
// `any`: the letter that stands for any ending.
Result<Condition> of_input(bool negated, std::string word, char any) {
  Condition out{.what = What::Input, .negated = negated, .prefix = {}, .input = std::move(word)};
  out.any_ending = out.input.size() > 1 && out.input.back() == any;
  if (out.any_ending) out.input.pop_back();
  if (out.input.empty() || out.input.size() > 15)
    return nonsense(cat("\"", out.input, "\" is no name of an interface (1 to 15 letters)"));
  return out;
}
Result<Condition> of_mark(bool negated, std::string_view value, std::string_view mask) {
  return Condition{.what = What::Mark,
                   .negated = negated,
                   .prefix = {},
                   .input = {},
                   .value = TRY(read_number(value)),
                   .mask = mask.empty() ? ~0U : TRY(read_number(mask))};
}

// One option of iptables with its value; none where it says nothing.
Result<std::optional<Condition>> iptables_option(Reader& words, bool negated, Family family) {
  using Found = std::optional<Condition>;
  const std::string option = TRY(words.next());
  const std::string value = TRY(words.next());
  if (option == "-s" || option == "--source" || option == "--src")
    return Found(TRY(of_address(What::Source, negated, value, family)));
  if (option == "-d" || option == "--destination" || option == "--dst")
    return Found(TRY(of_address(What::Destination, negated, value, family)));
  if (option == "-i" || option == "--in-interface") return Found(TRY(of_input(negated, value, '+')));
  if (option == "--src-type") return Found(TRY(of_type(What::SourceType, negated, value)));
  if (option == "--dst-type") return Found(TRY(of_type(What::DestinationType, negated, value)));
  if (option == "--mark") {
    const std::size_t slash = value.find('/');
    if (slash == value.npos) return Found(TRY(of_mark(negated, value, "")));
    TRY(read_number(value.substr(slash + 1)));
    return Found(TRY(of_mark(negated, value.substr(0, slash), value.substr(slash + 1))));
  }
  if (option == "-m" || option == "--match") {
    if (value == "mark" || value == "addrtype" || value == "comment" || value == "conntrack") return Found();
    return unsupported(cat(option, " ", value), kIptables);
  }
  if (option == "--comment" && !negated) return Found();
  // The first packet of a connection is the only one that is ever asked.
  if (option == "--ctstate" && value == "NEW" && !negated) return Found();
  return unsupported(cat(negated ? "! " : "", option, " ", value), kIptables);
}

bool negation(Reader& words) { return words.skip("!=") || (words.skip("=="), false); }

Result<Condition> nft_mark(Reader& words) {
  std::string mask;
  if (words.skip("&") || words.skip("and")) mask = TRY(words.next());
  const bool negated = negation(words);
  return of_mark(negated, TRY(words.next()), mask);
}

Result<Condition> nft_expression(Reader& words, Family family) {
  const std::string first = TRY(words.next());
  if (first == "ip" || first == "ip6" || first == "fib") {
    const std::string field = TRY(words.next());
    const bool source = field == "saddr";
    const bool is_type = first == "fib";
    if ((!source && field != "daddr") || (is_type && !words.skip("type")))
      return unsupported(cat(first, " ", field), kNft);
    const bool negated = negation(words);
    const std::string value = TRY(words.next());
    if (is_type) return of_type(source ? What::SourceType : What::DestinationType, negated, value);
    if ((first == "ip") != (family == Family::V4))
      return nonsense(cat("\"", first, "\" is the other family; that has a list of its own"));
    return of_address(source ? What::Source : What::Destination, negated, value, family);
  }
  const std::string what = first == "meta" ? TRY(words.next()) : first;
  if (what == "mark") return nft_mark(words);
  if (what != "iifname") return unsupported(first == "meta" ? cat("meta ", what) : what, kNft);
  const bool negated = negation(words);
  std::string name = TRY(words.next());
  if (name.size() > 1 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
  return of_input(negated, std::move(name), '*');
}

std::string value_of(const Condition& c) {
  switch (c.what) {
    case What::Source:
    case What::Destination: return c.prefix.to_string();
    case What::Input: return cat("\"", c.input, c.any_ending ? "*" : "", "\"");
    case What::Mark: return cat(c.value);
    default: return kTypes[c.value];
  }
}

std::string subject_of(const Condition& c) {
  const char* ip = c.prefix.family() == Family::V4 ? "ip " : "ip6 ";
  switch (c.what) {
    case What::Source: return cat(ip, "saddr");
    case What::Destination: return cat(ip, "daddr");
    case What::Input: return "iifname";
    case What::Mark: return cat("mark & ", c.mask);
    case What::SourceType: return "fib saddr type";
    default: return "fib daddr type";
  }
}

std::vector<net::nft::Expr> one(const Condition& c, Family f) {
  using namespace net::nft::match;
  const bool equal = !c.negated;
  switch (c.what) {
    case What::Source:
    case What::Destination:
      return {c.what == What::Source ? source(f, 0) : destination(f, 0),
              expr::Mask{0, mask_of(f, c.prefix.length), std::string(address_size(f), '\0')},
              expr::Compare{0, equal, bytes_of(c.prefix.address)}};
    case What::Input:
      // In the output hook there is none; its name is empty then (linux v6.1 net/netfilter/nft_meta.c).
      return {expr::LoadMeta{expr::MetaKey::InputName, 0},
              expr::Compare{0, equal, c.any_ending ? c.input : interface_bytes(c.input)}};
    case What::Mark:
      return {expr::LoadMeta{expr::MetaKey::Mark, 0}, expr::Mask{0, bytes_of(c.mask), bytes_of(0U)},
              expr::Compare{0, equal, bytes_of(c.value)}};
    default: return {expr::LoadAddressType{c.what == What::SourceType, 0}, expr::Compare{0, equal, bytes_of(c.value)}};
  }
}

}  // namespace

Result<Conditions> parse_conditions(const std::vector<std::string>& words, net::Family family) {
  Conditions out;
  if (words.empty()) return out;
  if (words.front() == "!" || words.front().starts_with("-")) {
    for (Reader reader(words); !reader.done();) {
      const bool negated = reader.skip("!");
      const auto found = TRY(iptables_option(reader, negated, family));
      if (found) out.push_back(*found);
    }
    return out;
  }
  std::vector<std::string> split;
  for (const std::string& word : words) {
    for (const std::string_view part : base::split(word, ' ')) {
      if (!part.empty()) split.emplace_back(part);
    }
  }
  for (Reader reader(split); !reader.done();) out.push_back(TRY(nft_expression(reader, family)));
  return out;
}

std::string to_string(const Conditions& conditions) {
  std::vector<std::string> texts;
  for (const Condition& c : conditions) texts.push_back(cat(subject_of(c), c.negated ? " != " : " == ", value_of(c)));
  return base::join(texts, " ");
}

std::vector<net::nft::Expr> exprs_of(const Conditions& conditions, net::Family family) {
  std::vector<net::nft::Expr> out;
  for (const Condition& c : conditions) {
    const auto more = one(c, family);
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

}  // namespace fairlead::cni
