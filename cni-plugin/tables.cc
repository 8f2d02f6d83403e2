#include "cni-plugin/tables.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <ostream>

#include "base/strings.h"
#include "cni-plugin/firewalld.h"
#include "cni-plugin/legacy_forward.h"
#include "cni-plugin/marks.h"

namespace fairlead::cni {
namespace {

// A transaction of somebody else between our question and our change makes us ask again. Each takes the kernel longer
// than ours, so this many in a row are no coincidence.
constexpr int kMaxAttempts = 1000;

using Build = std::function<Status(nft::Batch&)>;

// `build` fills a batch from what it reads; what it reads is still true when the batch takes effect.
Status transact(nft::Client& client, const Build& build) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const std::uint32_t generation = TRY(client.generation());
    nft::Batch batch;
    TRY(build(batch));
    const Status done = client.commit(batch, generation);
    if (done || done.error().errno_value() != ERESTART) return done;
  }
  return failure(code::kTryAgain, "nftables: somebody else keeps changing the ruleset");
}

void add(nft::Batch& batch, SetId set, nft::Element element, const std::string& comment) {
  batch.push_back(nft::AddElements{table_of(set), set_of(set).name, {element}, comment});
}
void remove(nft::Batch& batch, SetId set, nft::Element element) {
  element.data_size = 0;
  batch.push_back(nft::DeleteElements{table_of(set), set_of(set).name, {element}});
}

Result<std::vector<nft::NotedElement>> elements_of(nft::Client& client, SetId set) {
  return client.elements(table_of(set), set_of(set).name);
}

std::uint32_t number_at(const nft::Element& element, std::size_t at) {
  std::uint32_t number = 0;
  element.key_view().substr(at).copy(reinterpret_cast<char*>(&number), sizeof number);
  return number;
}

// Those that the elements in the kernel rely on; for a table whose rules are gone.
Result<std::set<Extra>> extras_in_use(nft::Client& client) {
  std::set<Extra> extras;
  for (const net::Family f : {net::Family::V4, net::Family::V6}) {
    for (const auto& [set, kind] :
         {std::pair(SetId::Near4, Extra::Kind::Near), {SetId::Sources4, Extra::Kind::Source}}) {
      for (const auto& noted : TRY(elements_of(client, of_family(set, f)))) {
        extras.insert({kind, f, number_at(noted.element, noted.element.key_size - 4U)});
      }
    }
  }
  return extras;
}

bool has_rule(const std::vector<nft::DumpedRule>& rules, const nft::Rule& rule) {
  return std::find(rules.begin(), rules.end(), nft::DumpedRule{rule.chain, rule.comment}) != rules.end();
}

void by_chain(std::vector<nft::DumpedRule>& rules) {
  std::stable_sort(rules.begin(), rules.end(), [](const auto& a, const auto& b) { return a.chain < b.chain; });
}

bool stands(const nft::TableId& table, std::vector<nft::DumpedRule> rules) {
  std::erase_if(rules, [](const nft::DumpedRule& rule) { return holds_extras(rule.chain); });
  std::vector<nft::DumpedRule> expected = standing_rules(table);
  by_chain(rules);
  by_chain(expected);
  return rules == expected;
}

std::set<nft::TableId> tables_of(const Claims& claims) {
  std::set<nft::TableId> tables;
  for (const Claim& claim : claims.elements) tables.insert(table_of(claim.set));
  return tables;
}

// What is missing of `table` and of its rules for `extras`.
Status complete(nft::Client& client, const nft::TableId& table, std::set<Extra> extras, nft::Batch& batch) {
  std::vector<nft::DumpedRule> rules = TRY(client.rules(table));
  if (!stands(table, rules)) {
    batch = create_table(table);
    rules.clear();
    if (table == kTable) extras.merge(TRY(extras_in_use(client)));
  }
  for (const Extra& extra : extras) {
    for (nft::Rule& rule : rules_of(extra)) {
      if (!has_rule(rules, rule)) batch.push_back(nft::AddRule{table, std::move(rule)});
    }
  }
  return {};
}

// Only where an iptables-nft has made that chain: without it nothing is dropped that we would have to let through.
Status open_forward(nft::Client& client, net::Family family, const std::string& admin_chain, nft::Batch& batch) {
  const nft::TableId table = filter_table(family);
  if (!TRY(client.has_chain(table, kForwardChain))) return {};
  const ForwardRules wanted = forward_rules(admin_chain);
  const auto forward = TRY(client.rules(table, kForwardChain));
  const auto ours = TRY(client.rules(table, kCniForwardChain));
  nft::Batch rules;
  if (!has_rule(ours, wanted.admin)) rules.push_back(nft::AddRule{table, wanted.admin, true});
  if (!has_rule(ours, wanted.accept)) rules.push_back(nft::AddRule{table, wanted.accept});
  if (!has_rule(forward, wanted.jump)) rules.push_back(nft::AddRule{table, wanted.jump, true});
  if (rules.empty()) return {};
  batch.push_back(nft::AddChain{table, {kCniForwardChain, {}}});
  batch.push_back(nft::AddChain{table, {admin_chain, {}}});
  batch.insert(batch.end(), rules.begin(), rules.end());
  return {};
}

// Whether `claims` has elements of the family whose set of addresses to forward is `set`.
bool opens(const Claims& claims, net::Family family) {
  const SetId set = of_family(SetId::Open4, family);
  return !claims.admin_chain.empty() && std::any_of(claims.elements.begin(), claims.elements.end(),
                                                    [&](const Claim& claim) { return claim.set == set; });
}

// By the chains it makes, with nftables and with iptables-nft: nobody is asked over D-Bus on a host without.
Result<bool> has_firewalld(nft::Client& client) {
  const nft::TableId own{net::Family::V4, "firewalld", nft::TableId::Layer::Inet};
  if (TRY(client.has_chain(own, "filter_FORWARD"))) return true;
  return TRY(client.has_chain(filter_table(net::Family::V4), "FORWARD_ZONES"));
}

Result<bool> asks_firewalld(nft::Client& client, const Claims& claims) {
  if (claims.firewalld_zone.empty() || claims.needs_firewalld) return !claims.firewalld_zone.empty();
  return has_firewalld(client);
}

std::optional<net::Ip> opened_pod(SetId set, const nft::Element& element) {
  if (set != SetId::Open4 && set != SetId::Open6) return std::nullopt;
  return ip_of(element.key_view());
}

std::vector<net::Ip> opened_pods(const Claims& claims) {
  std::vector<net::Ip> pods;
  for (const Claim& claim : claims.elements) {
    if (const auto pod = opened_pod(claim.set, claim.element)) pods.push_back(*pod);
  }
  return pods;
}

using Goes = std::function<bool(const std::string&)>;  // by an element's comment

// While the elements still say whose they are.
Status leave_firewalld(nft::Client& client, Parts parts, const Goes& goes) {
  if ((parts & static_cast<Parts>(Part::Firewall)) == 0) return {};
  if (!TRY(has_firewalld(client))) return {};
  std::vector<net::Ip> pods;
  Status read = transact(client, [&](nft::Batch&) -> Status {
    pods.clear();
    for (const SetId set : {SetId::Open4, SetId::Open6}) {
      for (const auto& noted : TRY(elements_of(client, set))) {
        if (goes(noted.comment)) pods.push_back(*opened_pod(set, noted.element));
      }
    }
    return {};
  });
  TRY(std::move(read));
  return remove_sources(pods);
}

std::string comment_for(SetId set, const Attachment& attachment) {
  return is_shared(set) ? std::string() : comment_of(attachment);
}

Status put_element(nft::Client& client, const Attachment& attachment, const Claim& claim, nft::Batch& batch) {
  const std::string comment = comment_for(claim.set, attachment);
  const auto found = TRY(client.find(table_of(claim.set), set_of(claim.set).name, claim.element));
  if (found && found->element == claim.element && found->comment == comment) return {};
  if (found) remove(batch, claim.set, claim.element);
  add(batch, claim.set, claim.element, comment);
  return {};
}

std::string bridge_of(const nft::Element& fence_user) { return std::string(fence_user.key_view().substr(0, 16)); }

// The fences whose last user goes.
Status release_fences(nft::Client& client, const std::vector<nft::NotedElement>& leaving,
                      const std::vector<nft::NotedElement>& staying, nft::Batch& batch) {
  std::set<std::string> bridges;
  for (const auto& user : leaving) bridges.insert(bridge_of(user.element));
  for (const auto& user : staying) bridges.erase(bridge_of(user.element));
  for (const std::string& bridge : bridges) {
    for (const auto& [set, key] : {std::pair(SetId::Fences, bridge), {SetId::FenceLoops, bridge + bridge}}) {
      const nft::Element element = element_of(key);
      if (TRY(client.find(table_of(set), set_of(set).name, element))) remove(batch, set, element);
    }
  }
  return {};
}

// Removes the elements of `parts` that `goes` picks by their comment.
Status take_elements(nft::Client& client, Parts parts, const Goes& goes, nft::Batch& batch, std::vector<Claim>& taken) {
  taken.clear();
  for (const SetId set : kSets) {
    if ((parts & static_cast<Parts>(part_of(set))) == 0 || is_shared(set)) continue;
    std::vector<nft::NotedElement> all = TRY(elements_of(client, set));
    const auto staying = std::partition(all.begin(), all.end(), [&](const auto& e) { return goes(e.comment); });
    const std::vector<nft::NotedElement> leaving(all.begin(), staying);
    for (const auto& noted : leaving) {
      remove(batch, set, noted.element);
      taken.push_back({set, noted.element});
    }
    if (set == SetId::FenceUsers) TRY(release_fences(client, leaving, {staying, all.end()}, batch));
  }
  return {};
}

}  // namespace

void append(Claims& to, Claims more) {
  to.elements.insert(to.elements.end(), more.elements.begin(), more.elements.end());
  to.extras.merge(more.extras);
  if (!more.admin_chain.empty()) to.admin_chain = std::move(more.admin_chain);
  if (!more.firewalld_zone.empty()) to.firewalld_zone = std::move(more.firewalld_zone);
  to.needs_firewalld = to.needs_firewalld || more.needs_firewalld;
}

std::ostream& operator<<(std::ostream& out, const Claims& claims) {
  for (const Claim& claim : claims.elements) {
    out << set_of(claim.set).name << " " << base::hex(claim.element.key_view()) << " : "
        << base::hex(claim.element.data_view()) << "\n";
  }
  for (const Extra& extra : claims.extras) {
    for (const nft::Rule& rule : rules_of(extra)) out << rule.chain << " " << rule.comment << "\n";
  }
  return out << claims.admin_chain << " " << claims.firewalld_zone << (claims.needs_firewalld ? "!" : "");
}

std::string comment_of(const Attachment& attachment) {
  return base::cat(element_mark(attachment), ":", digest(attachment.network));
}

Result<Tables> Tables::open() { return Tables(TRY(nft::Client::open())); }

Result<std::optional<Tables>> Tables::open_if_any() {
  auto client = nft::Client::open();
  // linux v6.1 net/netlink/af_netlink.c netlink_create: no nfnetlink.
  if (!client && client.error().errno_value() == EPROTONOSUPPORT) return std::optional<Tables>();
  Tables tables(TRY(std::move(client)));
  const auto generation = tables.client_.generation();
  // linux v6.1 net/netfilter/nfnetlink.c nfnetlink_rcv_msg: no nf_tables.
  const int refused = generation ? 0 : generation.error().errno_value();
  if (refused == EINVAL || refused == EOPNOTSUPP) return std::optional<Tables>();
  if (!generation) return generation.error();
  return std::optional(std::move(tables));
}

Status Tables::put(const Attachment& attachment, const Claims& claims) {
  // Before the elements by which they let anything through.
  for (const net::Family f : {net::Family::V4, net::Family::V6}) {
    if (opens(claims, f)) TRY(open_legacy_forward(f, claims.admin_chain));
  }
  Status put = transact(client_, [&](nft::Batch& batch) -> Status {
    for (const nft::TableId& table : tables_of(claims)) {
      nft::Batch missing;
      TRY(complete(client_, table, table == kTable ? claims.extras : std::set<Extra>(), missing));
      batch.insert(batch.end(), missing.begin(), missing.end());
    }
    for (const Claim& claim : claims.elements) TRY(put_element(client_, attachment, claim, batch));
    for (const net::Family f : {net::Family::V4, net::Family::V6}) {
      if (opens(claims, f)) TRY(open_forward(client_, f, claims.admin_chain, batch));
    }
    return {};
  });
  TRY(std::move(put));
  if (!TRY(asks_firewalld(client_, claims))) return {};
  return add_sources(opened_pods(claims), claims.firewalld_zone, claims.needs_firewalld);
}

Result<std::vector<Claim>> Tables::take(const Attachment& attachment, Parts parts) {
  std::vector<Claim> taken;
  const std::string comment = comment_of(attachment);
  const Goes goes = [&](const std::string& of) { return of == comment; };
  TRY(leave_firewalld(client_, parts, goes));
  TRY(transact(client_, [&](nft::Batch& batch) { return take_elements(client_, parts, goes, batch, taken); }));
  return taken;
}

Status Tables::check(const Attachment& attachment, const Claims& claims) {
  nft::Batch missing;
  for (const nft::TableId& table : tables_of(claims)) {
    TRY(complete(client_, table, table == kTable ? claims.extras : std::set<Extra>(), missing));
    if (!missing.empty()) return Error(base::cat("nftables: rules are missing: ", describe(missing.back())));
  }
  for (const Claim& claim : claims.elements) {
    TRY(put_element(client_, attachment, claim, missing));
    if (!missing.empty()) return Error(base::cat("nftables: an element is missing: ", describe(missing.back())));
  }
  for (const net::Family f : {net::Family::V4, net::Family::V6}) {
    if (opens(claims, f)) TRY(open_forward(client_, f, claims.admin_chain, missing));
  }
  if (!missing.empty()) return Error(base::cat("iptables: a rule is missing: ", describe(missing.back())));
  for (const net::Family f : {net::Family::V4, net::Family::V6}) {
    if (opens(claims, f)) TRY(check_legacy_forward(f, claims.admin_chain));
  }
  if (!TRY(asks_firewalld(client_, claims))) return {};
  return check_sources(opened_pods(claims), claims.firewalld_zone, claims.needs_firewalld);
}

Status Tables::sweep(const std::string& network, const std::vector<Attachment>& living, Parts parts) {
  std::set<std::string> kept;
  for (const Attachment& attachment : living) kept.insert(comment_of(attachment));
  const std::string of_network = base::cat(":", digest(network));
  std::vector<Claim> taken;
  const Goes goes = [&](const std::string& of) { return of.ends_with(of_network) && !kept.contains(of); };
  TRY(leave_firewalld(client_, parts, goes));
  return transact(client_, [&](nft::Batch& batch) { return take_elements(client_, parts, goes, batch, taken); });
}

Result<std::vector<std::string>> Tables::comments() {
  std::vector<std::string> all;
  for (const SetId set : kSets) {
    for (const auto& noted : TRY(elements_of(client_, set))) all.push_back(noted.comment);
  }
  return all;
}

Status put_claims(const Call& call, const Claims& claims) {
  Tables tables = TRY(Tables::open());
  Status done = tables.put(call.attachment, claims);
  std::move(tables).leave();
  return done;
}

Result<std::vector<Claim>> take_claims(const Call& call, Parts parts) {
  auto tables = TRY(Tables::open_if_any());
  if (!tables) return std::vector<Claim>();
  auto taken = tables->take(call.attachment, parts);
  std::move(*tables).leave();
  return taken;
}

Status check_claims(const Call& call, const Claims& claims) {
  Tables tables = TRY(Tables::open());
  Status done = tables.check(call.attachment, claims);
  std::move(tables).leave();
  return done;
}

Status sweep_claims(const Call& call, Parts parts) {
  if (!call.valid) return {};
  auto tables = TRY(Tables::open_if_any());
  if (!tables) return {};
  Status done = tables->sweep(call.attachment.network, *call.valid, parts);
  std::move(*tables).leave();
  return done;
}

}  // namespace fairlead::cni
