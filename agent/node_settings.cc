#include "agent/node_settings.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <ostream>
#include <utility>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"

namespace fairlead::agent {
namespace {

using base::cat;

constexpr std::string_view kConntrack = "/proc/sys/net/netfilter/nf_conntrack_";
constexpr std::string_view kHashSize = "/sys/module/nf_conntrack/parameters/hashsize";
constexpr std::int64_t kScaledLimit = 1'048'576;  // kubernetes v1.36 cmd/kube-proxy/app/conntrack.go
constexpr std::int64_t kEntriesPerBucket = 4;

NodeSetting conntrack(std::string_view name, std::int64_t value, Bound bound = Bound::Exactly) {
  return {.file = cat(kConntrack, name), .value = value, .bound = bound, .essential = true};
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const NodeSetting& setting) {
  return out << setting.file << (setting.bound == Bound::AtLeast ? " >= " : " = ") << setting.value;
}

std::vector<NodeSetting> conntrack_settings(const KubeProxyConfiguration& configuration, unsigned cpus) {
  std::vector<NodeSetting> out;
  if (configuration.conntrack_max_per_core > 0) {
    const std::int64_t scaled = std::int64_t{configuration.conntrack_max_per_core} * cpus;
    const std::int64_t max = std::max(std::min(scaled, kScaledLimit), std::int64_t{configuration.conntrack_min});
    out.push_back(conntrack("max", max, Bound::AtLeast));
    out.push_back({.file = std::string(kHashSize),
                   .value = max / kEntriesPerBucket,
                   .bound = Bound::AtLeast,
                   .essential = false});
  }
  const auto add_timeout = [&](std::string_view name, base::Duration timeout) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout).count();
    if (seconds > 0) out.push_back(conntrack(name, seconds));
  };
  if (configuration.conntrack_tcp_be_liberal) out.push_back(conntrack("tcp_be_liberal", 1));
  add_timeout("tcp_timeout_established", configuration.conntrack_tcp_established_timeout);
  add_timeout("tcp_timeout_close_wait", configuration.conntrack_tcp_close_wait_timeout);
  add_timeout("udp_timeout", configuration.conntrack_udp_timeout);
  add_timeout("udp_timeout_stream", configuration.conntrack_udp_stream_timeout);
  return out;
}

std::vector<NodeSetting> to_write(const std::vector<NodeSetting>& wanted,
                                  const std::map<std::string, std::int64_t>& present) {
  std::vector<NodeSetting> out;
  for (const NodeSetting& setting : wanted) {
    const auto now = present.find(setting.file);
    if (now == present.end() || now->second == setting.value) continue;
    if (setting.bound == Bound::AtLeast && now->second > setting.value) continue;
    out.push_back(setting);
  }
  return out;
}

Result<std::string> KernelFiles::read(const std::string& file) { return base::read_file(file, 4096); }

Status KernelFiles::write(const std::string& file, const std::string& text) {
  const base::Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(file, errno);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Error::from_errno(file, errno);
  }
  return {};
}

Result<Tuned> tune(NodeFiles& files, const std::vector<NodeSetting>& wanted) {
  Tuned out;
  std::optional<Error> fatal;
  std::map<std::string, std::int64_t> present;
  for (const NodeSetting& setting : wanted) {
    const auto text = files.read(setting.file);
    const auto number = text ? base::parse_number<std::int64_t>(base::trim(*text)) : std::nullopt;
    if (number) {
      present[setting.file] = *number;
    } else if (!text && text.error().errno_value() == ENOENT) {
      out.absent.push_back(setting.file);
    } else if (!text) {
      out.warnings.push_back(text.error().message());
    } else {
      out.warnings.push_back(cat(setting.file, ": holds no number"));
    }
  }
  for (const NodeSetting& setting : to_write(wanted, present)) {
    const Status written = files.write(setting.file, cat(setting.value));
    if (written) {
      out.written.push_back(setting);
      continue;
    }
    Error error(
        cat("cannot set ", setting.value, " where ", present[setting.file], " is: ", written.error().message()));
    if (!setting.essential) {
      out.warnings.push_back(error.message());
    } else if (!fatal) {
      fatal = std::move(error);
    }
  }
  if (fatal) return *fatal;
  return out;
}

}  // namespace fairlead::agent
