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

Result<Selection> select_first_usable(const std::vector<Module>& table, const Options& options) {
  Selection selection;
  for (const Module& module : table) {
    selection.probes.push_back({module.name, module.probe(options)});
    if (!selection.probes.back().probe.usable) continue;
    selection.module = module;
    return selection;
  }
  return Error(base::cat("no dataplane is usable: ", reasons_of(selection.probes)));
}

}  // namespace

Result<Selection> select(std::string_view choice, const std::vector<Module>& table, const Options& options) {
  if (choice == "auto") return select_first_usable(table, options);
  for (const Module& module : table) {
    if (choice != module.name) continue;
    return Selection{.module = module, .probes = {{module.name, {.usable = true, .reason = "asked for by name"}}}};
  }
  return Error(base::cat("no dataplane is called \"", choice, "\": allowed are ", names_of(table)));
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
