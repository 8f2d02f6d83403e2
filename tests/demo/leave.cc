// The end: what fairleadctl says, what is cleaned up, or how to look inside what stays.

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "tests/datapath/remains.h"
#include "tests/demo/interrupt.h"
#include "tests/demo/show.h"

namespace fairlead::demo {
namespace {

using base::cat;
namespace fs = std::filesystem;

// What a testbed has in the system, found without its help.
struct Remains {
  std::size_t namespaces = 0;
  std::size_t processes = 0;
  std::size_t cgroups = 0;
  std::size_t mounts = 0;
  bool operator==(const Remains&) const = default;
  std::string to_string() const {
    return cat(namespaces, " namespaces, ", processes, " processes, ", cgroups, " cgroups, ", mounts, " mounts");
  }
};

std::size_t lines_in(const std::string& path, std::string_view with = "") {
  const auto text = base::read_file(path);
  std::size_t count = 0;
  if (!text) return 0;
  for (const std::string_view line : base::split(*text, '\n')) {
    if (!line.empty() && line.find(with) != std::string_view::npos) ++count;
  }
  return count;
}

Remains count_remains(const std::string& prefix) {
  Remains remains;
  std::error_code ignored;
  const std::string directory = testbed::run_dir(prefix);
  for (const auto& entry : fs::directory_iterator(directory + "/netns", ignored)) {
    (void)entry;
    ++remains.namespaces;
  }
  if (const auto root = testbed::cgroup2_root()) {
    const std::string top = cat(*root, "/", prefix);
    if (fs::exists(top, ignored)) {
      ++remains.cgroups;
      remains.processes += lines_in(top + "/cgroup.procs");
    }
    for (const auto& entry : fs::recursive_directory_iterator(top, ignored)) {
      if (!entry.is_directory(ignored)) continue;
      ++remains.cgroups;
      remains.processes += lines_in(entry.path().string() + "/cgroup.procs");
    }
  }
  remains.mounts =
      lines_in("/proc/self/mounts", cat(" ", directory, " ")) + lines_in("/proc/self/mounts", cat(" ", directory, "/"));
  return remains;
}

std::string shell_word(const std::string& text) {
  return text.find_first_of(" \t\"'$") == std::string::npos ? text : cat("'", text, "'");
}

void print_how_to_look(Show& show) {
  Cluster& cluster = *show.cluster;
  testbed::Testbed& bed = cluster.testbed();
  const Subject& subject = cluster.subject();
  std::string pod_cgroup;
  for (const testbed::Place* pod : cluster.pods()) {
    if (pod->name == "pod3a") pod_cgroup = pod->cgroup;
  }
  const std::string probe = shell_word(testbed::program_path("fairlead-probe"));
  const std::string ctl = shell_word(testbed::program_path("fairleadctl"));
  const std::string enter = cat(probe, " enter --net ", bed.dir(), "/netns/pod3a --cgroup ", pod_cgroup, " --");
  const Remains remains = count_remains(bed.prefix());
  show.screen.step(cat("kept as ", bed.prefix(), ": ", remains.to_string()));
  std::cout << "\n  # a shell in a pod (enter its cgroup too: the socket hooks of eBPF look at that)\n  " << enter
            << " bash\n\n  # ask the service\n  " << enter << " " << probe << " connect --count 3 --to "
            << subject.cluster_ip(net::Family::V4).to_string()
            << "\n\n  # a node, or the client, by nsenter\n  nsenter --net=" << bed.dir()
            << "/netns/node1 ip -brief address\n  nsenter --net=" << bed.dir()
            << "/netns/node1 nft list tables\n\n  # the agent of node1\n  " << ctl << " --socket " << bed.node_dir(1)
            << "/agent.sock"
            << " services\n  tail " << bed.log_path("agent-node1") << "\n\n  # change what the agents follow\n  "
            << cluster.source().how_to_edit() << "\n\n  # remove it all\n  ./dev demo --remove\n";
}

}  // namespace

Status look_with_fairleadctl(Show& show) {
  const std::string ctl = testbed::program_path("fairleadctl");
  const std::string socket = show.cluster->agent(1).status_socket();
  for (const char* command : {"services", "status"}) {
    TRY(Interrupt::check());
    show.screen.step(cat("on node1: fairleadctl ", command));
    const std::string text = TRY(base::run_checked({ctl, "--socket", socket, command}));
    std::cout << "\n";
    show.screen.verbatim(text);
  }
  return {};
}

Status leave(Show& show) {
  if (!show.cluster) return {};
  const std::string prefix = show.cluster->testbed().prefix();
  if (show.options.keep && show.cluster->has_source()) {
    TRY(show.cluster->testbed().keep());
    print_how_to_look(show);
    std::cout << std::flush;
    (void)show.cluster.release();  // its destructors would kill the servers and agents
    return {};
  }
  const Remains before = count_remains(prefix);
  show.cluster.reset();
  const Remains left = count_remains(prefix);
  show.screen.step(cat("removed ", before.to_string(), left == Remains{} ? "; nothing is left" : ""));
  if (left == Remains{}) return {};
  return Error(cat("left behind: ", left.to_string(), "\nhint: ./dev demo --remove"));
}

Status remove_kept(Screen& screen) {
  std::size_t removed = 0;
  for (const std::string& prefix : TRY(testbed::sweep(testbed::Kept::Remove))) {
    screen.step(cat("removed ", prefix));
    ++removed;
  }
  if (removed == 0) screen.step("nothing was kept");
  return {};
}

}  // namespace fairlead::demo
