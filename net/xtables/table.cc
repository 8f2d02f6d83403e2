#include "net/xtables/table.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/strings.h"

namespace fairlead::net::xtables {
namespace {

using base::cat;

// ipt_entry and ip6t_entry: an ipt_ip or ip6t_ip6, then nfcache, target_offset, next_offset, comefrom and counters.
struct Shape {
  std::size_t header;  // of ipt_ip: 84, of ip6t_ip6: 136
  std::size_t nfcache() const { return header; }
  std::size_t target_offset() const { return header + 4; }
  std::size_t next_offset() const { return header + 6; }
  std::size_t comefrom() const { return header + 8; }
  std::size_t counters() const { return (header + 12 + 7) / 8 * 8; }
  std::size_t entry() const { return counters() + 16; }
};
Shape shape(Family family) { return {family == Family::V4 ? 84U : 136U}; }

constexpr std::size_t kExtension = 32;  // xt_entry_match, xt_entry_target: size, name, revision
constexpr std::size_t kName = 2;        // where the name stands in it
constexpr std::size_t kNameSize = 29;
constexpr std::size_t kStandard = 40;  // xt_standard_target
constexpr std::size_t kErrorTarget = 64;
constexpr std::size_t kErrorName = 30;
constexpr std::int32_t kAccept = -2;  // -NF_ACCEPT - 1
constexpr std::int32_t kReturn = -5;  // XT_RETURN
constexpr std::array<const char*, kHooks> kHookNames{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"};

template <typename T>
T get(std::string_view bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <typename T>
void put(std::string& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}
std::string_view text_at(std::string_view bytes, std::size_t at, std::size_t most) {
  const std::string_view field = bytes.substr(at, most);
  return field.substr(0, field.find('\0'));
}

std::size_t target_of(std::string_view entry, Family family) {
  return get<std::uint16_t>(entry, shape(family).target_offset());
}
std::string_view target_name(std::string_view entry, Family family) {
  return text_at(entry, target_of(entry, family) + kName, kNameSize);
}
bool is_standard(std::string_view entry, Family family) { return target_name(entry, family).empty(); }
std::int32_t verdict_of(std::string_view entry, Family family) {
  return get<std::int32_t>(entry, target_of(entry, family) + kExtension);
}
void set_verdict(std::string& entry, Family family, std::int32_t verdict) {
  put(entry, target_of(entry, family) + kExtension, verdict);
}
// The chain whose head this is, "ERROR" at the end of a table.
std::optional<std::string> head_of(std::string_view entry, Family family) {
  if (target_name(entry, family) != "ERROR") return std::nullopt;
  return std::string(text_at(entry, target_of(entry, family) + kExtension, kErrorName));
}

Error broken(std::size_t at, std::string_view what) { return Error(cat("table of x_tables, byte ", at, ": ", what)); }

// One entry with everything that is in it, as far as its sizes can be trusted.
Result<std::string_view> entry_at(std::string_view bytes, std::size_t at, Family family) {
  const Shape s = shape(family);
  const std::string_view rest = bytes.substr(at);
  if (rest.size() < s.entry()) return broken(at, "an entry is cut off");
  const std::size_t target = get<std::uint16_t>(rest, s.target_offset());
  const std::size_t next = get<std::uint16_t>(rest, s.next_offset());
  if (next > rest.size() || next % 8 != 0) return broken(at, cat("its entry is ", next, " bytes long"));
  if (target < s.entry() || target + kExtension > next) return broken(at, cat("its target is at ", target));
  const std::string_view entry = rest.substr(0, next);
  const std::size_t size = get<std::uint16_t>(entry, target);
  if (size < kExtension || target + size > next) return broken(at, cat("its target is ", size, " bytes long"));
  const std::string_view name = text_at(entry, target + kName, kNameSize);
  const std::size_t needed = name.empty() ? kExtension + 4 : name == "ERROR" ? kExtension + kErrorName : kExtension;
  if (size < needed) return broken(at, cat("its target \"", name, "\" is only ", size, " bytes long"));
  return entry;
}

struct Parsed {
  std::vector<std::size_t> offsets;           // of every entry
  std::map<std::size_t, std::string> begins;  // offset of a user chain's first rule -> its name
};

std::string extension(std::string_view name, std::uint8_t revision, std::string_view data, std::size_t size) {
  std::string out(size, '\0');
  put(out, 0, static_cast<std::uint16_t>(size));
  name.copy(out.data() + kName, kNameSize - 1);
  out[kExtension - 1] = static_cast<char>(revision);
  data.copy(out.data() + kExtension, size - kExtension);
  return out;
}
std::string number_bytes(std::uint32_t number) { return {reinterpret_cast<const char*>(&number), sizeof number}; }

std::string entry_of(Family family, const std::string& matches, const std::string& target) {
  const Shape s = shape(family);
  std::string out(s.entry(), '\0');
  put(out, s.target_offset(), static_cast<std::uint16_t>(s.entry() + matches.size()));
  put(out, s.next_offset(), static_cast<std::uint16_t>(s.entry() + matches.size() + target.size()));
  return out + matches + target;
}
std::string standard(std::int32_t verdict) {
  return extension("", 0, number_bytes(static_cast<std::uint32_t>(verdict)), kStandard);
}
std::string comment_match(const std::string& comment) {
  return extension("comment", 0, comment.substr(0, 255), kExtension + 256);
}
Rule head(Family family, const std::string& name) {
  Rule rule;
  rule.bytes = entry_of(family, "", extension("ERROR", 0, name.substr(0, kErrorName - 1), kErrorTarget));
  return rule;
}
Rule plain(Family family, std::int32_t verdict) {
  Rule rule;
  rule.bytes = entry_of(family, "", standard(verdict));
  return rule;
}

// What the kernel fills in by itself.
std::string bare(const Rule& rule, Family family) {
  const Shape s = shape(family);
  std::string bytes = rule.bytes;
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(s.nfcache()), 4, '\0');
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(s.comefrom()), 4, '\0');
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(s.counters()), 16, '\0');
  if (is_standard(bytes, family) && (rule.falls_through || !rule.jump.empty())) set_verdict(bytes, family, 0);
  return bytes;
}

Result<Parsed> find_entries(Family family, std::string_view bytes) {
  Parsed out;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::string_view entry = TRY(entry_at(bytes, at, family));
    out.offsets.push_back(at);
    at += entry.size();
    if (const auto name = head_of(entry, family); name && at < bytes.size()) out.begins.emplace(at, *name);
  }
  return out;
}

Status resolve_jump(Rule& rule, std::size_t at, const Parsed& parsed, Family family) {
  if (!is_standard(rule.bytes, family)) return {};
  const std::int32_t verdict = verdict_of(rule.bytes, family);
  if (verdict < 0) return {};
  const auto to = static_cast<std::size_t>(verdict);
  if (to == at + rule.bytes.size()) {
    rule.falls_through = true;
    return {};
  }
  const auto chain = parsed.begins.find(to);
  if (chain == parsed.begins.end()) return broken(at, cat("it jumps to ", to, ", where no chain begins"));
  rule.jump = chain->second;
  return {};
}

}  // namespace

bool Rule::same(const Rule& other, Family family) const {
  return jump == other.jump && falls_through == other.falls_through && bare(*this, family) == bare(other, family);
}

Result<Table> Table::parse(Family family, const Places& places, std::string_view bytes) {
  Table table;
  table.family = family;
  const Parsed parsed = TRY(find_entries(family, bytes));
  table.rules_read = static_cast<std::uint32_t>(parsed.offsets.size());
  bool open = false;  // whether the last chain waits for its end
  for (std::uint32_t i = 0; i < table.rules_read; ++i) {
    const std::size_t at = parsed.offsets[i];
    Rule rule;
    rule.bytes = TRY(entry_at(bytes, at, family));
    rule.was = i;
    const bool last = i + 1 == table.rules_read;
    if (const auto name = head_of(rule.bytes, family)) {
      const bool ended = table.chains.empty() || table.chains.back().hook || !open;
      if (!ended) {
        // A user chain's last rule is its end.
        Chain& before = table.chains.back();
        if (before.rules.empty()) return broken(at, cat("chain ", before.name, " has no end"));
        before.end = std::move(before.rules.back());
        before.rules.pop_back();
      } else if (open) {
        return broken(at, "a chain of a hook has no policy");
      }
      if (last) return table;
      table.chains.push_back({*name, std::nullopt, {}, {}});
      open = true;
      continue;
    }
    for (std::size_t hook = 0; hook < kHooks; ++hook) {
      if ((places.valid_hooks >> hook & 1) == 0 || places.hook_entry[hook] != at) continue;
      if (open) return broken(at, "a chain of a hook begins within another");
      table.chains.push_back({kHookNames[hook], hook, {}, {}});
      open = true;
    }
    if (!open) return broken(at, "a rule belongs to no chain");
    TRY(resolve_jump(rule, at, parsed, family));
    Chain& chain = table.chains.back();
    if (chain.hook && places.underflow[*chain.hook] == at) {
      chain.end = std::move(rule);
      open = false;
    } else {
      chain.rules.push_back(std::move(rule));
    }
  }
  return broken(bytes.size(), "its end is missing");
}

Chain* Table::find(std::string_view name) {
  const auto found = std::find_if(chains.begin(), chains.end(), [&](const Chain& chain) { return chain.name == name; });
  return found == chains.end() ? nullptr : &*found;
}

Chain& Table::find_or_add(const std::string& name) {
  if (Chain* found = find(name)) return *found;
  return chains.emplace_back(Chain{name, std::nullopt, {}, plain(family, kReturn)});
}

Result<Image> lay_out(const Table& table) {
  const Family f = table.family;
  Image image;
  std::vector<const Rule*> order;
  std::vector<Rule> heads;
  heads.reserve(table.chains.size() + 1);
  std::map<std::string, std::size_t> begins;
  std::size_t at = 0;
  const auto place = [&](const Rule& rule) {
    order.push_back(&rule);
    image.was.push_back(rule.was);
    at += rule.bytes.size();
  };
  for (const Chain& chain : table.chains) {
    if (!chain.hook) place(heads.emplace_back(head(f, chain.name)));
    begins.emplace(chain.name, at);
    if (chain.hook) {
      image.places.valid_hooks |= 1U << *chain.hook;
      image.places.hook_entry[*chain.hook] = static_cast<std::uint32_t>(at);
    }
    for (const Rule& rule : chain.rules) place(rule);
    if (chain.hook) image.places.underflow[*chain.hook] = static_cast<std::uint32_t>(at);
    place(chain.end);
  }
  place(heads.emplace_back(head(f, "ERROR")));
  for (const Rule* rule : order) {
    const std::size_t offset = image.bytes.size();
    std::string bytes = rule->bytes;
    if (rule->falls_through) set_verdict(bytes, f, static_cast<std::int32_t>(offset + bytes.size()));
    if (!rule->jump.empty()) {
      const auto to = begins.find(rule->jump);
      if (to == begins.end()) return Error(cat("a rule jumps to ", rule->jump, ", which is not there"));
      set_verdict(bytes, f, static_cast<std::int32_t>(to->second));
    }
    image.bytes += bytes;
  }
  return image;
}

Rule jump_rule(Family family, const std::string& chain, const std::string& comment) {
  Rule rule;
  rule.bytes = entry_of(family, comment_match(comment), standard(0));
  rule.jump = chain;
  return rule;
}

Rule accept_marked(Family family, std::uint32_t mark, const std::string& comment) {
  // xt_mark_mtinfo1: mark, mask, invert
  const std::string marked = extension("mark", 1, number_bytes(mark) + number_bytes(mark), kExtension + 16);
  Rule rule;
  rule.bytes = entry_of(family, marked + comment_match(comment), standard(kAccept));
  return rule;
}

}  // namespace fairlead::net::xtables
