#include "proxy/dataplane/ebpf/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>

#include "base/fd.h"
#include "base/strings.h"
#include "proxy/dataplane/ebpf/pins.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

// linux v6.6 include/uapi/linux/bpf.h; the headers of Debian 12 do not have them.
constexpr int kTcxIngress = 46;
constexpr int kTcxEgress = 47;
// Our filter among others on a clsact qdisc.
constexpr std::uint32_t kFilterHandle = 0xfa1;
constexpr std::uint32_t kFilterPriority = 0xfa1;

// bpf_link_info as of linux v6.6, as far as we read it: Debian's header lacks tcx.
struct LinkInfo {
  std::uint32_t type;
  std::uint32_t id;
  std::uint32_t program;
  std::uint32_t pad;
  union {
    struct {
      std::uint64_t id;
    } cgroup;
    struct {
      std::uint32_t ifindex;
      std::uint32_t attach_type;
    } tcx;
  };
  char rest[64];
};

bool is_tcx(int attach_type) { return attach_type == kTcxIngress || attach_type == kTcxEgress; }

std::uint32_t program_id(int fd) {
  bpf_prog_info info{};
  std::uint32_t size = sizeof info;
  return ::bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

constexpr std::string_view kPinStem = "tc-";

// The interface of pin "tc-<ifindex>-<suffix>"; nothing when it is another pin.
std::optional<std::uint32_t> ifindex_of(std::string_view pin, std::string_view suffix) {
  if (pin.substr(0, kPinStem.size()) != kPinStem) return std::nullopt;
  const auto parts = base::split(pin.substr(kPinStem.size()), '-');
  if (parts.size() != 2 || parts[1] != suffix) return std::nullopt;
  return base::parse_number<std::uint32_t>(parts[0]);
}

// ------------------------------------------------------------------------------------------------ tcx

constexpr const char* direction(bool ingress) { return ingress ? "ingress" : "egress"; }

class TcxAttacher final : public Attacher {
 public:
  explicit TcxAttacher(std::string links) : links_(std::move(links)) {}

  Status attach(const net::Link& link, bool ingress, int program, Writes& writes) override {
    return ensure_link({.pin = base::cat(links_, "/", kPinStem, link.index, "-", direction(ingress)),
                        .program = program,
                        .type = ingress ? kTcxIngress : kTcxEgress,
                        .target = link.index,
                        .target_fd = static_cast<int>(link.index)},
                       writes);
  }

  std::vector<ForgetFailure> forget_others(const std::set<std::uint32_t>& ours, Writes& writes) override {
    std::vector<ForgetFailure> failures;
    for (const std::string& name : list_dir(links_)) {
      for (const bool ingress : {true, false}) {
        const auto ifindex = ifindex_of(name, direction(ingress));
        if (!ifindex || ours.count(*ifindex) > 0) continue;
        ++writes.changed;
        if (Status gone = remove_tree(base::cat(links_, "/", name)); !gone) {
          failures.push_back({*ifindex, gone.error()});
        }
      }
    }
    return failures;
  }

 private:
  std::string links_;
};

// ------------------------------------------------------------------------------------------------ clsact

bpf_tc_hook hook_of(std::uint32_t ifindex, int point) {
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = static_cast<int>(ifindex);
  hook.attach_point = static_cast<bpf_tc_attach_point>(point);
  return hook;
}

// Whether the dump in `message` has ended, and whether it listed a filter.
struct DumpPart {
  bool ended = false;
  bool filter = false;
};
DumpPart read_part(const char* data, std::size_t size) {
  DumpPart part;
  auto left = static_cast<unsigned>(size);
  for (const auto* header = reinterpret_cast<const nlmsghdr*>(data); NLMSG_OK(header, left);
       header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type == RTM_NEWTFILTER) part.filter = true;
    if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) part.ended = true;
  }
  return part;
}

// Whether anybody has a filter in one direction; true as well when the kernel does not say.
bool has_filters(std::uint32_t ifindex, bool ingress) {
  const base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const timeval patience{2, 0};
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) return true;
  struct {
    nlmsghdr header;
    tcmsg body;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETTFILTER;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.tcm_ifindex = static_cast<int>(ifindex);
  request.body.tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
  if (::send(fd.get(), &request, sizeof request, 0) != sizeof request) return true;
  alignas(nlmsghdr) std::array<char, 32768> buffer{};
  for (;;) {
    const ssize_t got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return true;
    const DumpPart part = read_part(buffer.data(), static_cast<std::size_t>(got));
    if (part.filter) return true;
    if (part.ended) return false;
  }
}

class ClsactAttacher final : public Attacher {
 public:
  explicit ClsactAttacher(std::string links) : links_(std::move(links)) {}

  Status attach(const net::Link& link, bool ingress, int program, Writes& writes) override {
    const bpf_tc_hook hook = hook_of(link.index, ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    TRY(make_dir(marker(link.index)));  // first, so that no stop leaves a filter nobody remembers
    LIBBPF_OPTS(bpf_tc_opts, have, .handle = kFilterHandle, .priority = kFilterPriority);
    const bool present = ::bpf_tc_query(&hook, &have) == 0;
    if (present && have.prog_id == program_id(program)) return {};
    if (!present) TRY(ensure_qdisc(link.index));
    ++(present ? writes.changed : writes.made);
    LIBBPF_OPTS(bpf_tc_opts, want, .prog_fd = program, .flags = BPF_TC_F_REPLACE, .handle = kFilterHandle,
                .priority = kFilterPriority);
    if (const int rc = ::bpf_tc_attach(&hook, &want); rc < 0) return Error::from_errno("attach the filter", -rc);
    return {};
  }

  std::vector<ForgetFailure> forget_others(const std::set<std::uint32_t>& ours, Writes& writes) override {
    std::vector<ForgetFailure> failures;
    for (const std::string& name : list_dir(links_)) {
      const auto ifindex = ifindex_of(name, "clsact");
      if (!ifindex || ours.count(*ifindex) > 0) continue;
      ++writes.changed;
      Status gone = detach(*ifindex);
      if (gone) gone = remove_tree(marker(*ifindex));
      if (!gone) failures.push_back({*ifindex, gone.error()});
    }
    return failures;
  }

 private:
  std::string marker(std::uint32_t ifindex) const { return base::cat(links_, "/", kPinStem, ifindex, "-clsact"); }

  // A stop right after the qdisc is made leaves it to nobody, and standing: harmless, unlike taking away another's.
  Status ensure_qdisc(std::uint32_t ifindex) const {
    bpf_tc_hook hook = hook_of(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
    const int rc = ::bpf_tc_hook_create(&hook);
    if (rc == -EEXIST) return {};
    if (rc < 0) return Error::from_errno("create the clsact qdisc", -rc);
    return make_dir(marker(ifindex) + "/qdisc");
  }

  Status detach(std::uint32_t ifindex) const {
    for (const bool ingress : {true, false}) {
      const bpf_tc_hook hook = hook_of(ifindex, ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
      LIBBPF_OPTS(bpf_tc_opts, have, .handle = kFilterHandle, .priority = kFilterPriority);
      if (::bpf_tc_query(&hook, &have) != 0) continue;  // gone, with its interface or without
      LIBBPF_OPTS(bpf_tc_opts, ours, .handle = kFilterHandle, .priority = kFilterPriority);
      const int rc = ::bpf_tc_detach(&hook, &ours);
      if (rc < 0 && rc != -ENODEV && rc != -ENOENT) return Error::from_errno("detach the filter", -rc);
    }
    if (!is_dir(marker(ifindex) + "/qdisc")) return {};
    if (has_filters(ifindex, true) || has_filters(ifindex, false)) return {};  // others have come to use it
    // Both points together mean the qdisc (libbpf 1.1 src/netlink.c bpf_tc_hook_destroy).
    bpf_tc_hook hook = hook_of(ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS);
    const int rc = ::bpf_tc_hook_destroy(&hook);
    if (rc < 0 && rc != -ENODEV && rc != -ENOENT && rc != -EINVAL) {  // EINVAL: there is none any more
      return Error::from_errno("remove the clsact qdisc", -rc);
    }
    return {};
  }

  std::string links_;
};

}  // namespace

Status ensure_link(const LinkSpec& spec, Writes& writes) {
  base::Fd link(::bpf_obj_get(spec.pin.c_str()));
  if (link) {
    LinkInfo info{};
    std::uint32_t size = sizeof info;
    const bool known = ::bpf_obj_get_info_by_fd(link.get(), &info, &size) == 0;
    const std::uint64_t attached_to = is_tcx(spec.type) ? info.tcx.ifindex : info.cgroup.id;
    if (known && attached_to == spec.target) {
      if (info.program == program_id(spec.program)) return {};
      ++writes.changed;
      if (::bpf_link_update(link.get(), spec.program, nullptr) == 0) return {};
    }
    ::unlink(spec.pin.c_str());
  }
  ++writes.made;
  link = base::Fd(::bpf_link_create(spec.program, spec.target_fd, static_cast<bpf_attach_type>(spec.type), nullptr));
  if (!link) return Error::from_errno("create the link", errno);
  if (const int rc = ::bpf_obj_pin(link.get(), spec.pin.c_str()); rc < 0) {
    return Error::from_errno(base::cat("pin ", spec.pin), -rc);
  }
  return {};
}

// No interface has this index: a kernel with tcx says so, one without does not know the attach type.
TcHook probe_tc_hook(int program) {
  const int none = 0x7ffffffe;
  const base::Fd link(::bpf_link_create(program, none, static_cast<bpf_attach_type>(kTcxIngress), nullptr));
  return !link && errno == ENODEV ? TcHook::Tcx : TcHook::Clsact;
}

std::unique_ptr<Attacher> make_attacher(TcHook hook, std::string links) {
  if (hook == TcHook::Tcx) return std::make_unique<TcxAttacher>(std::move(links));
  return std::make_unique<ClsactAttacher>(std::move(links));
}

}  // namespace fairlead::proxy::dataplane::ebpf
