// Install: the kernel objects of one instance: pinned maps, pinned programs, and the links that attach them.
//
//   <bpf_root>/<instance>/v2/<map>               the maps; v2 is bpf::LAYOUT_VERSION
//   <bpf_root>/<instance>/v2/programs/<program>
//   <bpf_root>/<instance>/links/<program>        cgroup links
//   <bpf_root>/<instance>/links/tc-...           what the attacher keeps (attach.h)
//
// A restart takes everything from there; programs of another build are swapped under the links, in one step each, so
// that no packet and no connect meets a gap. The map "build" tells which build is attached. libbpf stays in here.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "net/links.h"
#include "proxy/dataplane/dataplane.h"
#include "proxy/dataplane/ebpf/attach.h"

namespace fairlead::proxy::dataplane::ebpf {

std::string links_dir(const Options& options);

class Install {
 public:
  // Opens what is pinned, makes what is missing. Attaches nothing. Without an attacher: the one for this kernel.
  static Result<std::unique_ptr<Install>> open(const Options& options, std::unique_ptr<Attacher> attacher = nullptr);

  int map_fd(std::string_view name) const;  // REQUIRES a map of bpf/map_defs.h
  std::uint32_t max_entries(std::string_view map) const;

  // Nothing of this instance was attached when it was opened, and attach() has not been called.
  bool fresh() const { return fresh_; }

  // Attaches socket load balancing to the cgroup; `links` is who gets the tc programs, and only they. With
  // `check_all` every attachment is looked at, else only interfaces not seen before.
  void attach(const std::vector<net::Link>& links, bool check_all, Report& report);

  // Removes every trace of the instance, whether or not it was opened. Safe when there is none.
  static Status remove(const Options& options);

 private:
  struct Named {
    std::string name;
    base::Fd fd;
  };

  explicit Install(const Options& options);
  Result<bool> open_pinned();
  Status load();
  Status carry_over() const;
  int program_fd(std::string_view name) const;
  bool attach_sockets(Report& report);
  bool attach_link(const net::Link& link, Report& report);
  void count(const Writes& writes, Report& report) const;
  void let_go() const;
  void forget_links(const std::vector<net::Link>& links, Report& report);
  Status write_build(bool done, Report* report);

  Options options_;
  std::string root_;
  std::string maps_dir_;
  std::string programs_dir_;
  std::string links_dir_;
  std::vector<Named> maps_;
  std::vector<Named> programs_;
  std::set<std::uint32_t> attached_;  // ifindexes
  bool fresh_ = false;                // this process made the first install: not counted as kernel writes
  bool sockets_attached_ = false;
  std::unique_ptr<Attacher> attacher_;
};

// What open() would need, tested by doing it unpinned.
Probe probe_kernel(const Options& options);

}  // namespace fairlead::proxy::dataplane::ebpf
