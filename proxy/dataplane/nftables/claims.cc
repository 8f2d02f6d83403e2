#include "proxy/dataplane/nftables/claims.h"

#include <algorithm>

namespace fairlead::proxy::dataplane::nftables {

void Claims::upsert(const model::ServiceState& state, const GroupOf& group_of, FrontendEdits& edits,
                    const Current& current) {
  auto wanted = frontends_of(state, group_of);
  if (wanted.empty()) return erase(state.key, edits);
  const auto it = services_.try_emplace(services_.end(), state.key);  // a complete state comes in order
  std::vector<FrontendKey> keys;
  keys.reserve(wanted.size());
  for (const auto& [frontend, ignored] : wanted) keys.push_back(frontend);
  for (const FrontendKey& old : it->second) {
    if (std::find(keys.begin(), keys.end(), old) == keys.end()) release(old, it->first, edits);
  }
  for (auto& [frontend, what] : wanted) claim(frontend, it->first, std::move(what), edits, current);
  it->second = std::move(keys);
}

void Claims::erase(const model::Key& service, FrontendEdits& edits) {
  auto it = services_.find(service);
  if (it == services_.end()) return;
  for (const FrontendKey& frontend : it->second) release(frontend, it->first, edits);
  services_.erase(it);
}

const model::Key* Claims::owner(const FrontendKey& frontend) const {
  auto it = owners_.find(frontend);
  return it == owners_.end() ? nullptr : it->second;
}

void Claims::claim(const FrontendKey& frontend, const model::Key& service, Wanted wanted, FrontendEdits& edits,
                   const Current& current) {
  auto contest = contested_.find(frontend);
  if (contest == contested_.end()) {
    const model::Key* owner = owners_.try_emplace(frontend, &service).first->second;
    if (owner == &service) {
      edits[frontend] = std::move(wanted);
      return;
    }
    auto edit = edits.find(frontend);
    const bool edited = edit != edits.end() && edit->second;
    contest = contested_.try_emplace(frontend).first;
    contest->second.emplace(*owner, edited ? *edit->second : current(frontend));
  }
  contest->second[service] = std::move(wanted);
  settle(frontend, edits);
}

void Claims::release(const FrontendKey& frontend, const model::Key& service, FrontendEdits& edits) {
  auto contest = contested_.find(frontend);
  if (contest == contested_.end()) {
    owners_.erase(frontend);
    edits[frontend].reset();
    return;
  }
  contest->second.erase(service);
  settle(frontend, edits);
  if (contest->second.size() == 1) contested_.erase(contest);
}

void Claims::settle(const FrontendKey& frontend, FrontendEdits& edits) {
  const auto& [key, wanted] = *contested_.at(frontend).begin();
  owners_[frontend] = &services_.find(key)->first;
  edits[frontend] = wanted;
}

void Claims::append_conflicts(const FrontendKey& frontend, std::vector<Conflict>& out) const {
  auto contest = contested_.find(frontend);
  if (contest == contested_.end()) return;
  const auto& claimants = contest->second;
  for (auto it = std::next(claimants.begin()); it != claimants.end(); ++it) {
    out.push_back({.loser = it->first, .owner = claimants.begin()->first, .frontend = frontend});
  }
}

std::vector<Conflict> Claims::conflicts_of(const model::Key& service) const {
  std::vector<Conflict> out;
  auto it = services_.find(service);
  if (it == services_.end() || contested_.empty()) return out;
  for (const FrontendKey& frontend : it->second) append_conflicts(frontend, out);
  return out;
}

std::vector<Conflict> Claims::conflicts() const {
  std::vector<Conflict> out;
  for (const auto& [frontend, claimants] : contested_) append_conflicts(frontend, out);
  return out;
}

}  // namespace fairlead::proxy::dataplane::nftables
