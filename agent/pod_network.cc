#include "agent/pod_network.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::Value;

constexpr char kNotSynced[] = "the agent has not finished its first sync";
constexpr char kConfName[] = "10-fairlead.conflist";
// A runtime whose libcni is older than 1.2 reads cniVersion alone, and takes no 1.1.0 there; a newer one takes the
// highest of cniVersions that it knows, and calls STATUS and GC by 1.1.0 (containernetworking SPEC.md "Network
// configuration lists").
constexpr char kVersion[] = "1.0.0";
constexpr const char* kVersions[] = {"0.4.0", "1.0.0", "1.1.0"};

Value list(std::vector<Value> items) { return Value(Value::Array(std::move(items))); }

Value ipam(const std::vector<net::Prefix>& pod_cidrs) {
  std::vector<Value> ranges;
  std::vector<Value> routes;
  for (const net::Prefix& cidr : pod_cidrs) {
    ranges.push_back(list({Value().set("subnet", Value(cidr.to_string()))}));
    routes.push_back(Value().set("dst", Value(cidr.family() == net::Family::V4 ? "0.0.0.0/0" : "::/0")));
  }
  Value out;
  out.set("type", Value("host-local")).set("ranges", list(std::move(ranges))).set("routes", list(std::move(routes)));
  return out;
}

Value plugin(const PodNetworkOptions& options, const PodNetworkFacts& facts) {
  std::vector<Value> exempt;
  for (const net::Prefix& cidr : options.cluster_cidrs) exempt.emplace_back(cidr.to_string());
  Value out;
  out.set("type", Value("fairlead"));
  out.set("agent", Value(options.status_socket));
  out.set("mode", Value(options.link == PodLink::Bridge ? "bridge" : "routed"));
  if (options.link == PodLink::Bridge) {
    out.set("bridge", Value(options.bridge)).set("isGateway", Value(true)).set("hairpinMode", Value(true));
  }
  out.set("ipMasq", Value(true)).set("ipMasqExempt", list(std::move(exempt)));
  out.set("mtu", Value(std::int64_t{options.mtu != 0 ? options.mtu : facts.mtu}));
  out.set("ipam", ipam(facts.pod_cidrs));
  Value capabilities;
  capabilities.set("portMappings", Value(true)).set("bandwidth", Value(true));
  out.set("capabilities", std::move(capabilities));
  return out;
}

bool is_executable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

// A copy beside it, then rename.
Status install(const std::string& content, const std::string& path) {
  const auto present = base::read_file(path);
  if (present && *present == content && is_executable(path)) return {};
  TRY(base::write_file_atomically(path, content, 0755));
  if (::chmod(path.c_str(), 0755) != 0) return Error::from_errno(path, errno);  // whatever the umask says
  return {};
}

}  // namespace

std::uint32_t path_mtu(const net::Links& links, const std::vector<net::Ip>& node_addresses,
                       const std::vector<net::Prefix>& pod_cidrs) {
  const auto mtu_of = [&](std::uint32_t index) -> std::uint32_t {
    for (const net::Link& link : links.links) {
      if (link.index == index && !link.loopback) return link.mtu;
    }
    return 0;
  };
  std::uint32_t of_node = 0;
  std::uint32_t of_any = 0;
  const auto lower = [](std::uint32_t& least, std::uint32_t mtu) {
    if (mtu != 0 && (least == 0 || mtu < least)) least = mtu;
  };
  for (const net::LocalAddress& local : links.addresses) {
    const auto holds = [&](const net::Prefix& cidr) { return cidr.contains(local.address); };
    if (!local.global || std::any_of(pod_cidrs.begin(), pod_cidrs.end(), holds)) continue;
    const bool is_node = std::find(node_addresses.begin(), node_addresses.end(), local.address) != node_addresses.end();
    lower(is_node ? of_node : of_any, mtu_of(local.link));
  }
  return of_node != 0 ? of_node : of_any;
}

Result<std::string> conflist(const PodNetworkOptions& options, const PodNetworkFacts& facts) {
  if (!facts.services_in_kernel) return Error(kNotSynced);
  if (facts.pod_cidrs.empty()) {
    return Error(base::cat("Node \"", facts.node, "\" has no spec.podCIDRs: let the controller manager allocate them ",
                           "(--allocate-node-cidrs), or set them"));
  }
  if (options.mtu == 0 && facts.mtu == 0) return Error("no link of this node has an address: its MTU is not known");
  std::vector<Value> versions;
  for (const char* version : kVersions) versions.emplace_back(version);
  Value out;
  out.set("cniVersion", Value(kVersion)).set("cniVersions", list(std::move(versions)));
  out.set("name", Value(options.network)).set("plugins", list({plugin(options, facts)}));
  return base::to_json(out, base::JsonStyle::Indented) + "\n";
}

PodNetwork::PodNetwork(PodNetworkOptions options) : options_(std::move(options)) {
  // One of an earlier run serves pods until this one knows better: a restart is no reason to call the node unready.
  if (::access(conf_path().c_str(), F_OK) != 0) refusal_ = kNotSynced;
}

std::string PodNetwork::conf_path() const { return base::cat(options_.conf_dir, "/", kConfName); }

Status PodNetwork::install_binary() const {
  if (options_.bin_dir.empty()) return {};
  const std::string content = TRY(base::read_file(options_.binary));
  TRY(install(content, options_.bin_dir + "/fairlead"));
  // A link, so that it is never older than what it leads to. An empty file is what a power cut leaves of one.
  const std::string loopback = options_.bin_dir + "/loopback";
  struct stat present {};
  if (::lstat(loopback.c_str(), &present) == 0 && present.st_size > 0) return {};
  (void)::unlink(loopback.c_str());
  if (::symlink("fairlead", loopback.c_str()) != 0) return Error::from_errno(loopback, errno);
  return {};
}

Result<bool> PodNetwork::update(const PodNetworkFacts& facts) {
  const auto refuse = [&](const Error& error) {
    refusal_ = error.message();
    return error;
  };
  if (!installed_) {
    if (const Status done = install_binary(); !done) return refuse(done.error().with_context("install the CNI binary"));
    installed_ = true;
  }
  const auto present = base::read_file(conf_path());
  if (!facts.services_in_kernel && present) return false;
  PodNetworkFacts known = facts;
  if (known.mtu == 0) known.mtu = mtu_;
  mtu_ = known.mtu;
  const auto wanted = conflist(options_, known);
  if (!wanted) {
    (void)refuse(wanted.error());
    return false;
  }
  const bool same = present && *present == *wanted;
  if (!same) {
    if (const Status written = base::write_file_atomically(conf_path(), *wanted); !written)
      return refuse(written.error());
  }
  refusal_.reset();
  return !same;
}

Status PodNetwork::leave() const {
  if (options_.on_exit == OnExit::Remove) (void)TRY(remove_conflist());
  return {};
}

Result<bool> PodNetwork::remove_conflist() const {
  if (::unlink(conf_path().c_str()) == 0) return true;
  if (errno != ENOENT) return Error::from_errno(conf_path(), errno);
  return false;
}

}  // namespace fairlead::agent
