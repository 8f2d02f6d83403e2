#include "tests/chaos/plan.h"

#include <utility>

#include "base/strings.h"

namespace fairlead::tests::chaos {
namespace {

using apiserver::Break;
using apiserver::Faults;
using base::cat;

constexpr unsigned kMeanPauseMs = 25;
constexpr unsigned kStorm = 40;  // events at most

// Of a thousand actions; the rest are changes. At some 40 actions a second an agent dies every four seconds.
struct Share {
  ActionKind kind;
  unsigned of_thousand;
};
constexpr Share kShares[] = {{ActionKind::Kill, 5},   {ActionKind::Terminate, 2}, {ActionKind::Break, 10},
                             {ActionKind::Fault, 4},  {ActionKind::Compact, 1},   {ActionKind::Restore, 1},
                             {ActionKind::Damage, 1}, {ActionKind::Storm, 12}};

struct NamedBreak {
  const char* name;
  Break what;
};
constexpr NamedBreak kBreaks[] = {{"half a frame, then FIN", Break::CutMidFrame},
                                  {"half an event, then the end", Break::CutMidEvent},
                                  {"garbage instead of frames", Break::GarbageFrames},
                                  {"garbage instead of events", Break::GarbageEvents},
                                  {"an event too large", Break::OversizedEvent},
                                  {"an event of an unknown type", Break::UnknownEvent},
                                  {"connections reset", Break::Reset},
                                  {"GOAWAY", Break::GoAway},
                                  {"GOAWAY, streams go on", Break::GoAwayLater},
                                  {"watches end", Break::EndWatches},
                                  {"watches expire", Break::ExpireWatches},
                                  {"watches throttled", Break::ThrottleWatches},
                                  {"watches fail", Break::FailWatches}};

struct NamedFaults {
  const char* name;
  void (*set)(Faults&);
};
constexpr NamedFaults kFaults[] = {
    {"nobody listens", [](Faults& f) { f.refuse = true; }},
    {"connections hang", [](Faults& f) { f.hang = true; }},
    {"streams stall", [](Faults& f) { f.stall = true; }},
    {"10 kB/s", [](Faults& f) { f.bytes_per_second = 10'000; }},
    {"429", [](Faults& f) { f.error_count = 5; }},
    {"500", [](Faults& f) { f.error_count = 5, f.error_code = 500; }},
    {"503 for lists", [](Faults& f) { f.error_count = 5, f.error_code = 503, f.error_verb = "list"; }},
    {"no WatchList", [](Faults& f) { f.watch_list_off = true; }},
    {"older versions", [](Faults& f) { f.lower_versions = true; }},
    {"403", [](Faults& f) { f.forbid = true; }},
};

ActionKind kind_of(Random& random) {
  unsigned at = random.below(1000);
  for (const Share& share : kShares) {
    if (at < share.of_thousand) return share.kind;
    at -= share.of_thousand;
  }
  return ActionKind::Change;
}

std::string describe(const std::vector<Event>& events) {
  if (events.empty()) return "";
  std::string text = cat(events.front().kind, ": ", events.front().text);
  if (events.size() > 1) text += cat(" and ", events.size() - 1, " more");
  return text;
}

}  // namespace

std::string_view to_string(ActionKind kind) {
  constexpr std::string_view kNames[] = {"change",    "storm",        "kill",         "terminate", "API breaks",
                                         "API fault", "API compacts", "API restored", "damage"};
  return kNames[static_cast<std::size_t>(kind)];
}

Plan::Plan(std::uint64_t seed, Universe universe)
    : history_(seed, universe), random_(~seed), nodes_(static_cast<unsigned>(universe.nodes.size())) {}

Action Plan::next() {
  Action action;
  action.kind = kind_of(random_);
  action.node = 1 + random_.below(nodes_);
  fill(action);
  action.text = cat(to_string(action.kind), action.text.empty() ? "" : ": ", action.text);
  action.pause_ms = random_.below(std::size_t{2} * kMeanPauseMs);
  return action;
}

void Plan::fill(Action& action) {
  const auto happen = [&](unsigned count) {
    for (unsigned i = 0; i < count; ++i) action.events.push_back(history_.next());
  };
  switch (action.kind) {
    case ActionKind::Change:
    case ActionKind::Storm:
      happen(action.kind == ActionKind::Change ? 1 : 2 + random_.below(kStorm));
      action.text = describe(action.events);
      return;
    case ActionKind::Kill:
    case ActionKind::Terminate:
      happen(1 + random_.below(kStorm));
      action.delay_ms = random_.below(16);
      action.lasting_ms = random_.coin() ? 0 : random_.below(1500);
      action.text = cat("agent of node", action.node, " ", action.delay_ms, " ms after ", describe(action.events),
                        ", back after ", action.lasting_ms, " ms");
      return;
    case ActionKind::Break: {
      const NamedBreak& named = kBreaks[random_.below(std::size(kBreaks))];
      action.what = named.what;
      action.text = named.name;
      return;
    }
    case ActionKind::Fault: {
      const NamedFaults& named = kFaults[random_.below(std::size(kFaults))];
      named.set(action.faults);
      action.lasting_ms = 200 + random_.below(2500);
      action.text = cat(named.name, " for ", action.lasting_ms, " ms");
      return;
    }
    case ActionKind::Damage:
      action.choice = random_.below(1000);
      action.text = cat("on node", action.node);
      return;
    case ActionKind::Compact:
    case ActionKind::Restore: return;
  }
}

}  // namespace fairlead::tests::chaos
