#include "cni-plugin/lifecycle.h"

#include <algorithm>

#include "cni-plugin/delegate.h"

namespace fairlead::cni {
namespace {

using base::cat;
using base::Value;

// The configurations apart from what the chain had come to.
bool same_config(const Call& a, const Call& b) {
  const auto without_previous = [](const Call& call) {
    Value config = call.config;
    auto& members = *config.as_object();
    const auto is_previous = [](const auto& member) { return member.first == "prevResult"; };
    members.erase(std::remove_if(members.begin(), members.end(), is_previous), members.end());
    return config;
  };
  return a.args == b.args && without_previous(a) == without_previous(b);
}

struct Attempt {
  Result<std::string> result;
  bool leaves_nothing = false;  // it failed, and could be undone
};

Attempt add_or_undo(const Plugin& plugin, const Call& call, const World& world) {
  const auto add = [&]() -> Result<std::string> {
    const NetResult result = TRY(plugin.add(call, world));
    return base::to_json(TRY(to_json(result, call.version)));
  };
  Attempt attempt{add()};
  if (attempt.result) return attempt;
  attempt.leaves_nothing = attempt.result.error().code() == code::kAlreadyAttached;
  if (attempt.leaves_nothing) return attempt;
  const Status undone = plugin.del(as_del(call), world);
  attempt.leaves_nothing = undone.has_value();
  if (!undone) attempt.result = joined({attempt.result.error(), undone.error().with_context("undoing it")}).error();
  return attempt;
}

Error stands_already(const Attachment& attachment) {
  return failure(code::kInvalidEnvironment, "CNI_CONTAINERID=\"", attachment.container_id, "\" has CNI_IFNAME=\"",
                 attachment.ifname, "\" in network ", attachment.network, " already; a DEL must come first");
}

bool stands(const Record& record, const World& world) {
  return record.state == State::Ready && !is_dead(record, world);
}

// The same plugin may stand twice in a chain (two sets of sysctls); the record of the first is that of both.
bool is_next_in_chain(const Plugin& plugin, const Record& record, const Call& call, const World& world) {
  if (!call.previous) return false;
  const auto recorded = del_of(plugin, record, world);
  return recorded && !same_config(*recorded, call);
}

}  // namespace

Status joined(const std::vector<Error>& errors) {
  if (errors.empty()) return {};
  std::string message = errors.front().message();
  for (std::size_t i = 1; i < errors.size(); ++i) message += "; " + errors[i].message();
  return Error(std::move(message), errors.front().errno_value()).with_code(errors.front().code());
}

Status finish(const Plugin& plugin, Entry& entry, const World& world) {
  TRY(entry.set_state(State::Deleting));
  const Call call = TRY(del_of(plugin, *entry.record(), world));
  TRY(plugin.del(call, world));
  return entry.remove();
}

Result<std::string> add_attachment(const Plugin& plugin, const Call& call, const World& world, std::string& notes) {
  if (!plugin.leaves_traces) return add_or_undo(plugin, call, world).result;
  if (plugin.has_ipam && has_ipam(call)) TRY(find_ipam(call));
  Entry entry = TRY(Entry::open(record_path(world, plugin.name, call.attachment)));
  notes += entry.warning();
  const bool second = entry.record() && stands(*entry.record(), world);
  if (second && !is_next_in_chain(plugin, *entry.record(), call, world)) return stands_already(call.attachment);
  if (entry.record() && !second) TRY_CONTEXT(finish(plugin, entry, world), "what an earlier ADD left");
  if (second) {
    TRY(entry.set_state(State::Adding));
  } else {
    const Record fresh = TRY(record_of(call, world));
    TRY(entry.create(fresh));
  }

  Attempt attempt = add_or_undo(plugin, call, world);
  if (attempt.result) TRY(entry.set_state(State::Ready));
  if (attempt.leaves_nothing && !second) TRY(entry.remove());
  return std::move(attempt.result);
}

Status delete_attachment(const Plugin& plugin, const Call& call, const World& world, std::string& notes) {
  if (!plugin.leaves_traces) return plugin.del(call, world);
  auto entry = Entry::open(record_path(world, plugin.name, call.attachment));
  if (entry) notes += entry->warning();
  const bool recorded = entry && entry->record();
  if (recorded) TRY(entry->set_state(State::Deleting));
  TRY(plugin.del(call, world));
  if (!entry) return std::move(entry).error();
  if (!recorded) return {};
  const auto told = del_of(plugin, *entry->record(), world);
  const bool knows_netns = told && !told->netns.empty() && told->netns != call.netns;
  if (told && (knows_netns || !same_config(*told, call))) TRY(plugin.del(*told, world));
  return entry->remove();
}

Status release_all_but_valid(const Plugin& plugin, const Call& call, const World& world, std::string& notes) {
  std::vector<Error> errors;
  const auto release = [&](const std::string& path) -> Status {
    Entry entry = TRY(Entry::open(path));
    notes += entry.warning();
    if (!entry.record() || entry.record()->plugin != plugin.name) return {};
    const Attachment attachment = entry.record()->attachment();
    if (attachment.network != call.attachment.network) return {};
    if (std::find(call.valid->begin(), call.valid->end(), attachment) != call.valid->end()) return {};
    TRY_CONTEXT(finish(plugin, entry, world), cat(attachment.container_id, " ", attachment.ifname));
    return {};
  };
  for (const std::string& path : list_records(world, call.attachment.network)) {
    Status released = release(path);
    if (!released) errors.push_back(std::move(released).error());
  }
  return joined(errors);
}

}  // namespace fairlead::cni
