#include "proxy/dataplane/ebpf/install.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "base/strings.h"
#include "datapath.skel.h"
#include "proxy/dataplane/ebpf/layout.h"
#include "proxy/dataplane/ebpf/pins.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

constexpr int kHandshakeMs = 20;

struct SocketProgram {
  const char* name;
  bpf_attach_type type;
};
constexpr SocketProgram kSocketPrograms[] = {
    {"sock_connect4", BPF_CGROUP_INET4_CONNECT},         {"sock_connect6", BPF_CGROUP_INET6_CONNECT},
    {"sock_sendmsg4", BPF_CGROUP_UDP4_SENDMSG},          {"sock_sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
    {"sock_recvmsg4", BPF_CGROUP_UDP4_RECVMSG},          {"sock_recvmsg6", BPF_CGROUP_UDP6_RECVMSG},
    {"sock_getpeername4", BPF_CGROUP_INET4_GETPEERNAME}, {"sock_getpeername6", BPF_CGROUP_INET6_GETPEERNAME},
};
constexpr const char* kPacketPrograms[] = {"tc_ingress", "tc_egress"};

// Maps whose layout is that of an older version still: what they hold is carried over, above all established flows.
struct Unchanged {
  const char* map;
  int since;
};
constexpr Unchanged kUnchanged[] = {{"flows", 1}, {"fragments", 1}};

std::string program_name(bool ingress) { return kPacketPrograms[ingress ? 0 : 1]; }

using ObjectPtr = std::unique_ptr<datapath, decltype(&datapath__destroy)>;

bool is_filesystem(const std::string& path, std::uint32_t magic) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 && static_cast<std::uint32_t>(info.f_type) == magic;
}

Status check_places(const Options& options) {
  if (!is_filesystem(options.bpf_root, BPF_FS_MAGIC))
    return Error(base::cat(options.bpf_root, " is not a bpffs mount"));
  if (!is_filesystem(options.cgroup, CGROUP2_SUPER_MAGIC))
    return Error(base::cat(options.cgroup, " is not in cgroup2"));
  return {};
}

// FNV-1a with two offsets: tells builds apart, guards against nothing else.
bpf::build build_of_this_binary() {
  std::size_t size = 0;
  const auto* bytes = static_cast<const unsigned char*>(datapath__elf_bytes(&size));
  bpf::build build{{0xcbf29ce484222325ULL, 0x84222325cbf29ce4ULL}};
  for (std::size_t i = 0; i < size; ++i) {
    for (auto& hash : build.hash) hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
  }
  return build;
}

// Room for the key of any map, of any layout.
using MapKey = std::array<unsigned char, 256>;

// Deletes the rows of a pinned map whose keys are `wanted`; a map that is not there has none.
void empty_map(const std::string& pin, bool (*wanted)(const MapKey&)) {
  const base::Fd map(::bpf_obj_get(pin.c_str()));
  bpf_map_info info{};
  std::uint32_t size = sizeof info;
  MapKey key{};
  if (!map || ::bpf_obj_get_info_by_fd(map.get(), &info, &size) != 0 || info.key_size > key.size()) return;
  std::vector<MapKey> keys;
  for (const MapKey* previous = nullptr; ::bpf_map_get_next_key(map.get(), previous, key.data()) == 0;) {
    if (keys.size() == info.max_entries) break;  // somebody else is writing
    keys.push_back(key);
    previous = &key;
  }
  for (const MapKey& row : keys) {
    if (wanted(row)) ::bpf_map_delete_elem(map.get(), row.data());
  }
}

}  // namespace

std::string links_dir(const Options& options) { return base::cat(options.bpf_root, "/", options.instance, "/links"); }

Install::Install(const Options& options)
    : options_(options),
      root_(base::cat(options.bpf_root, "/", options.instance)),
      maps_dir_(base::cat(root_, "/v", static_cast<int>(bpf::LAYOUT_VERSION))),
      programs_dir_(maps_dir_ + "/programs"),
      links_dir_(links_dir(options)) {}

Result<std::unique_ptr<Install>> Install::open(const Options& options, std::unique_ptr<Attacher> attacher) {
  ::libbpf_set_print(nullptr);
  TRY(check_places(options));
  std::unique_ptr<Install> install(new Install(options));
  for (const std::string& dir : {install->root_, install->maps_dir_, install->programs_dir_, install->links_dir_}) {
    TRY(make_dir(dir));
  }
  install->fresh_ = list_dir(install->links_dir_).empty();
  if (!TRY(install->open_pinned())) TRY(install->load());
  if (!attacher) attacher = make_attacher(probe_tc_hook(install->program_fd("tc_ingress")), install->links_dir_);
  install->attacher_ = std::move(attacher);
  return install;
}

// ------------------------------------------------------------------------------------------------ maps, programs

// True when the pins are complete and of this very build.
Result<bool> Install::open_pinned() {
  const base::Fd build(::bpf_obj_get((maps_dir_ + "/build").c_str()));
  if (!build) return false;
  bpf::build pinned{};
  const std::uint32_t zero = 0;
  if (::bpf_map_lookup_elem(build.get(), &zero, &pinned) < 0 || !(pinned == build_of_this_binary())) return false;

  const ObjectPtr object(datapath__open(), &datapath__destroy);
  if (!object) return Error::from_errno("open the BPF object", errno);
  const bpf_map* map = nullptr;
  std::vector<Named> maps;
  bpf_object__for_each_map(map, object->obj) {
    const std::string name = ::bpf_map__name(map);
    base::Fd fd(::bpf_obj_get(base::cat(maps_dir_, "/", name).c_str()));
    if (!fd) return false;
    maps.push_back({name, std::move(fd)});
  }
  bpf_program* program = nullptr;
  std::vector<Named> programs;
  bpf_object__for_each_program(program, object->obj) {
    const std::string name = ::bpf_program__name(program);
    base::Fd fd(::bpf_obj_get(base::cat(programs_dir_, "/", name).c_str()));
    if (!fd) return false;
    programs.push_back({name, std::move(fd)});
  }
  maps_ = std::move(maps);
  programs_ = std::move(programs);
  return true;
}

// Loads the programs of this build over the pinned maps, or over new ones.
Status Install::load() {
  const ObjectPtr object(datapath__open(), &datapath__destroy);
  if (!object) return Error::from_errno("open the BPF object", errno);
  ::bpf_map__set_max_entries(object->maps.slots, options_.max_endpoints);
  ::bpf_map__set_max_entries(object->maps.flows, options_.max_flows);
  TRY(carry_over());
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object->obj) {
    const std::string pin = base::cat(maps_dir_, "/", ::bpf_map__name(map));
    ::bpf_map__set_pin_path(map, pin.c_str());
    // A map that stands keeps its size: a new limit takes effect after a removal.
    const base::Fd pinned(::bpf_obj_get(pin.c_str()));
    bpf_map_info info{};
    std::uint32_t size = sizeof info;
    if (pinned && ::bpf_obj_get_info_by_fd(pinned.get(), &info, &size) == 0) {
      ::bpf_map__set_max_entries(map, info.max_entries);
    }
  }
  if (const int rc = datapath__load(object.get()); rc < 0) return Error::from_errno("load the BPF programs", -rc);
  maps_.clear();
  bpf_object__for_each_map(map, object->obj) {
    maps_.push_back({::bpf_map__name(map), base::Fd(::fcntl(::bpf_map__fd(map), F_DUPFD_CLOEXEC, 3))});
  }
  TRY(write_build(false, nullptr));  // a stop from here on is seen by the next start
  programs_.clear();
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object->obj) {
    const std::string name = ::bpf_program__name(program);
    const std::string pin = base::cat(programs_dir_, "/", name);
    ::unlink(pin.c_str());
    if (const int rc = ::bpf_obj_pin(::bpf_program__fd(program), pin.c_str()); rc < 0) {
      return Error::from_errno(base::cat("pin ", pin), -rc);
    }
    programs_.push_back({name, base::Fd(::fcntl(::bpf_program__fd(program), F_DUPFD_CLOEXEC, 3))});
  }
  return {};
}

Status Install::carry_over() const {
  for (const Unchanged& unchanged : kUnchanged) {
    const std::string pin = base::cat(maps_dir_, "/", unchanged.map);
    if (base::Fd(::bpf_obj_get(pin.c_str()))) continue;
    for (int version = bpf::LAYOUT_VERSION - 1; version >= unchanged.since; --version) {
      const base::Fd old(::bpf_obj_get(base::cat(root_, "/v", version, "/", unchanged.map).c_str()));
      if (!old) continue;
      if (const int rc = ::bpf_obj_pin(old.get(), pin.c_str()); rc < 0) {
        return Error::from_errno(base::cat("pin ", pin), -rc);
      }
      break;
    }
  }
  return {};
}

int Install::map_fd(std::string_view name) const {
  for (const Named& map : maps_) {
    if (map.name == name) return map.fd.get();
  }
  return -1;
}

std::uint32_t Install::max_entries(std::string_view map) const {
  bpf_map_info info{};
  std::uint32_t size = sizeof info;
  return ::bpf_obj_get_info_by_fd(map_fd(map), &info, &size) == 0 ? info.max_entries : 0;
}

int Install::program_fd(std::string_view name) const {
  for (const Named& program : programs_) {
    if (program.name == name) return program.fd.get();
  }
  return -1;
}

// Map "build": zero while programs are being changed, this build when all of them are attached.
Status Install::write_build(bool done, Report* report) {
  const std::uint32_t zero = 0;
  const bpf::build want = done ? build_of_this_binary() : bpf::build{};
  bpf::build have{};
  if (::bpf_map_lookup_elem(map_fd("build"), &zero, &have) == 0 && have == want) return {};
  if (report != nullptr && !fresh_) ++report->kernel_writes;
  if (const int rc = ::bpf_map_update_elem(map_fd("build"), &zero, &want, BPF_ANY); rc < 0) {
    return Error::from_errno("write the build", -rc);
  }
  return {};
}

// ------------------------------------------------------------------------------------------------ attachment

void Install::attach(const std::vector<net::Link>& links, bool check_all, Report& report) {
  if (check_all) {
    attached_.clear();
    sockets_attached_ = false;
  }
  forget_links(links, report);
  bool complete = sockets_attached_ || attach_sockets(report);
  sockets_attached_ = complete;
  for (const net::Link& link : links) {
    if (attached_.count(link.index) > 0) continue;
    if (attach_link(link, report)) {
      attached_.insert(link.index);
    } else {
      complete = false;
    }
  }
  if (!complete) return;
  if (const Status written = write_build(true, &report); !written)
    report.failures.push_back({{}, written.error(), "map build"});
  for (const std::string& name : list_dir(root_)) {  // maps of another layout, now that nothing uses them
    const std::string path = base::cat(root_, "/", name);
    if (name[0] != 'v' || path == maps_dir_) continue;
    if (const Status gone = remove_tree(path); !gone) report.failures.push_back({{}, gone.error(), path});
  }
  fresh_ = false;
}

bool Install::attach_sockets(Report& report) {
  const base::Fd cgroup(::open(options_.cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info {};
  if (!cgroup || ::fstat(cgroup.get(), &info) != 0) {
    report.failures.push_back({{}, Error::from_errno("open", errno), base::cat("cgroup ", options_.cgroup)});
    return false;
  }
  bool complete = true;
  for (const SocketProgram& program : kSocketPrograms) {
    // The id of a cgroup is its inode number (linux v6.1 kernel/cgroup/cgroup.c cgroup_id, 64-bit machines).
    Writes writes;
    const Status attached = ensure_link({.pin = base::cat(links_dir_, "/", program.name),
                                         .program = program_fd(program.name),
                                         .type = program.type,
                                         .target = info.st_ino,
                                         .target_fd = cgroup.get()},
                                        writes);
    count(writes, report);
    if (attached) continue;
    complete = false;
    report.failures.push_back(
        {{}, attached.error().with_context(base::cat("attach ", program.name)), base::cat("cgroup ", options_.cgroup)});
  }
  return complete;
}

bool Install::attach_link(const net::Link& link, Report& report) {
  for (const bool ingress : {true, false}) {
    Writes writes;
    const Status attached = attacher_->attach(link, ingress, program_fd(program_name(ingress)), writes);
    count(writes, report);
    if (attached || attached.error().errno_value() == ENODEV) continue;  // ENODEV: it went away meanwhile
    report.failures.push_back(
        {{}, attached.error().with_context(base::cat("attach ", program_name(ingress))), "interface " + link.name});
    return false;
  }
  return true;
}

// What the first install makes is not counted: nobody's state is changed by it.
void Install::count(const Writes& writes, Report& report) const {
  report.kernel_writes += writes.changed + (fresh_ ? 0 : writes.made);
}

void Install::forget_links(const std::vector<net::Link>& links, Report& report) {
  std::set<std::uint32_t> ours;
  for (const net::Link& link : links) ours.insert(link.index);
  Writes writes;
  for (ForgetFailure& failure : attacher_->forget_others(ours, writes)) {
    report.failures.push_back({{}, failure.error.with_context("detach"), base::cat("interface ", failure.ifindex)});
  }
  count(writes, report);
  for (auto at = attached_.begin(); at != attached_.end();)
    at = ours.count(*at) > 0 ? std::next(at) : attached_.erase(at);
}

// New flows pass us by from here on, while those that have just begun find every hook for a moment longer: a dataplane
// that is there to follow takes over without cutting handshakes in two. What drops or refuses strangers goes first.
void Install::let_go() const {
  for (const std::string& name : list_dir(root_)) {
    const std::string maps = base::cat(root_, "/", name, "/");
    empty_map(maps + "networks", [](const MapKey&) { return true; });
    empty_map(maps + "frontends", [](const MapKey& key) {
      bpf::frontend_key frontend{};
      std::memcpy(&frontend, key.data(), sizeof frontend);
      return frontend.port == 0 && frontend.proto == 0;
    });
    empty_map(maps + "frontends", [](const MapKey&) { return true; });
  }
  ::poll(nullptr, 0, kHandshakeMs);
}

Status Install::remove(const Options& options) {
  ::libbpf_set_print(nullptr);
  const Install names(options);
  struct stat info {};
  if (::stat(names.root_.c_str(), &info) != 0 && errno == ENOENT) return {};
  names.let_go();
  // Whichever of them attached; and what only a pin holds, such as the cgroup links, goes with the pin.
  for (const TcHook hook : {TcHook::Tcx, TcHook::Clsact}) {
    Writes writes;
    for (const ForgetFailure& failure : make_attacher(hook, names.links_dir_)->forget_others({}, writes)) {
      return failure.error.with_context(base::cat("interface ", failure.ifindex));
    }
  }
  TRY(remove_tree(names.links_dir_));
  return remove_tree(names.root_);
}

// ------------------------------------------------------------------------------------------------ probe

Probe probe_kernel(const Options& options) {
  ::libbpf_set_print(nullptr);
  if (const Status places = check_places(options); !places) return {false, places.error().message()};
  const ObjectPtr object(datapath__open(), &datapath__destroy);
  if (!object) return {false, Error::from_errno("open the BPF object", errno).message()};
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object->obj) {
    if (::bpf_map__max_entries(map) > 64) ::bpf_map__set_max_entries(map, 64);
  }
  if (const int rc = datapath__load(object.get()); rc < 0) {
    return {false, Error::from_errno("the kernel refuses the BPF programs", -rc).message()};
  }
  const bool tcx = probe_tc_hook(::bpf_program__fd(object->progs.tc_ingress)) == TcHook::Tcx;
  return {true, base::cat(tcx ? "tcx" : "clsact (no tcx)", ", cgroup sock_addr, bpf_set_retval")};
}

}  // namespace fairlead::proxy::dataplane::ebpf
