#include "proxy/dataplane/select.h"

#include <utility>

#include "base/strings.h"

namespace fairlead::proxy::dataplane {
namespace {

std::string names_of(const std::vector<Module>& table) {
  std::string names = "auto";
  for (const Module& module : table) names += ", " + module.name;
  return names;
}

std::string reasons_of(const std::vector<NamedProbe>& probes) {
  std::vector<std::string> lines;
  for (const NamedProbe& each : probes) lines.push_back(base::cat(each.dataplane, ": ", each.probe.reason));
  return base::join(lines, "; ");
}

}  // namespace

Result<Selection> select(std::string_view choice, const std::vector<Module>& table, const Options& options) {
  Selection selection;
  bool known = false;
  for (const Module& module : table) {
    if (choice != "auto" && choice != module.name) continue;
    known = true;
    selection.probes.push_back({module.name, module.probe(options)});
    if (!selection.probes.back().probe.usable) continue;
    selection.module = module;
    return selection;
  }
  if (!known) return Error(base::cat("no dataplane is called \"", choice, "\": allowed are ", names_of(table)));
  if (choice == "auto") return Error(base::cat("no dataplane is usable: ", reasons_of(selection.probes)));
  return Error(base::cat("cannot use dataplane \"", choice, "\": ", selection.probes.back().probe.reason));
}

std::vector<NamedProbe> probe_all(const std::vector<Module>& table, const Options& options) {
  std::vector<NamedProbe> probes;
  for (const Module& module : table) probes.push_back({module.name, module.probe(options)});
  return probes;
}

Result<Found> remove_traces(const Module& module, const Options& options) {
  if (!module.has_traces(options)) return Found::Nothing;
  TRY(module.remove(options));
  return Found::Removed;
}

}  // namespace fairlead::proxy::dataplane
