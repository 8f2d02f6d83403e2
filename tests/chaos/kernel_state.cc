#include "tests/chaos/kernel_state.h"

#include <algorithm>
#include <iterator>

#include "base/strings.h"

namespace fairlead::tests::chaos {

using base::cat;

std::string hex(const void* data, std::size_t size) { return base::hex({static_cast<const char*>(data), size}); }

std::vector<std::string> differences(const KernelState& soaked, const KernelState& fresh) {
  std::vector<std::string> only;
  const auto add = [&](const std::vector<std::string>& here, const std::vector<std::string>& there, const char* what) {
    std::vector<std::string> found;
    std::set_difference(here.begin(), here.end(), there.begin(), there.end(), std::back_inserter(found));
    for (const std::string& line : found) only.push_back(cat(what, line));
  };
  add(soaked.lines, fresh.lines, "only here: ");
  add(fresh.lines, soaked.lines, "only in the fresh one: ");
  add(fresh.lingering, soaked.lingering, "only in the fresh one: ");
  return only;
}

Result<KernelState> kernel_state(const std::string& dataplane, testbed::Testbed& bed, unsigned node) {
  Result<KernelState> state = Error(cat("no way to read what dataplane \"", dataplane, "\" wrote"));
  if (dataplane == "nftables") state = nftables_state(bed, node);
  if (dataplane == "iptables") state = iptables_state(bed, node);
  if (dataplane == "ebpf") state = ebpf_state(bed, node);
  if (!state) return state;
  std::sort(state->lines.begin(), state->lines.end());
  std::sort(state->lingering.begin(), state->lingering.end());
  return state;
}

std::vector<std::string> iptables_lines(std::string_view saved) {
  std::vector<std::string> out;
  std::string table;
  for (std::string_view line : base::split(saved, '\n')) {
    line = base::trim(line);
    if (line.empty() || line.front() == '#' || line == "COMMIT") continue;
    if (line.front() == '*') {
      table = line.substr(1);
      continue;
    }
    // ":CHAIN POLICY [packets:bytes]"; rules have no counters unless asked for.
    if (line.front() == ':') line = line.substr(0, line.find(" ["));
    out.push_back(cat(table, " ", line));
  }
  return out;
}

Result<KernelState> iptables_state(testbed::Testbed& bed, unsigned node) {
  KernelState state;
  for (const char* tool : {"iptables-save", "ip6tables-save"}) {
    const base::ProcessOutput saved = TRY(bed.run(cat("node", node), {tool}));
    if (saved.exit_code != 0) return Error(cat(tool, ": ", saved.err));
    for (const std::string& line : iptables_lines(saved.out)) state.lines.push_back(cat(tool, " ", line));
  }
  return state;
}

}  // namespace fairlead::tests::chaos
