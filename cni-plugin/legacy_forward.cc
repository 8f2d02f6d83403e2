#include "cni-plugin/legacy_forward.h"

#include <algorithm>

#include "cni-plugin/layout.h"
#include "net/xtables/kernel.h"

namespace fairlead::cni {
namespace {

namespace xtables = net::xtables;

constexpr char kFilter[] = "filter";

bool has_rule(const xtables::Chain& chain, const xtables::Rule& rule, net::Family family) {
  return std::any_of(chain.rules.begin(), chain.rules.end(),
                     [&](const xtables::Rule& other) { return other.same(rule, family); });
}

}  // namespace

bool add_forward_rules(xtables::Table& table, const std::string& admin_chain) {
  if (table.find(kForwardChain) == nullptr) return false;
  const ForwardRules wanted = forward_rules(admin_chain);
  const net::Family family = table.family;
  bool changed = false;
  const auto ensure = [&](const std::string& name, bool first, xtables::Rule rule) {
    xtables::Chain& chain = table.find_or_add(name);
    if (has_rule(chain, rule, family)) return;
    chain.rules.insert(first ? chain.rules.begin() : chain.rules.end(), std::move(rule));
    changed = true;
  };
  for (const std::string& name : {admin_chain, std::string(kCniForwardChain)}) {
    changed = changed || table.find(name) == nullptr;
    table.find_or_add(name);
  }
  ensure(kCniForwardChain, true, xtables::jump_rule(family, admin_chain, wanted.admin.comment));
  ensure(kCniForwardChain, false, xtables::accept_marked(family, kForwardMark, wanted.accept.comment));
  ensure(kForwardChain, true, xtables::jump_rule(family, kCniForwardChain, wanted.jump.comment));
  return changed;
}

Status check_legacy_forward(net::Family family, const std::string& admin_chain) {
  if (!xtables::has_table(family, kFilter)) return {};
  xtables::Table table = TRY(xtables::read_table(family, kFilter));
  if (add_forward_rules(table, admin_chain)) return Error("iptables-legacy: a rule of CNI-FORWARD is missing");
  return {};
}

Status open_legacy_forward(net::Family family, const std::string& admin_chain) {
  if (check_legacy_forward(family, admin_chain)) return {};
  TRY_CONTEXT(xtables::change_table(family, kFilter,
                                    [&](xtables::Table& table) { return add_forward_rules(table, admin_chain); }),
              "iptables-legacy");
  return {};
}

}  // namespace fairlead::cni
