// What a record says, without the file it stands in.
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "cni-plugin/fields.h"
#include "cni-plugin/journal.h"
#include "net/netns.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // linux v5.14 include/uapi/asm-generic/socket.h
#endif

namespace fairlead::cni {
namespace {

using base::cat;
using base::Value;

constexpr std::string_view kStates[] = {"adding", "ready", "deleting"};

std::optional<State> parse_state(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kStates); ++i) {
    if (kStates[i] == text) return static_cast<State>(i);
  }
  return std::nullopt;
}

Result<std::string> required(const Fields& fields, std::string_view key) {
  const auto text = TRY(fields.text(key));
  if (!text || text->empty()) return fields.error(key, "is missing");
  return *text;
}

// As text: JSON's numbers end at 2^53 for many readers.
Result<std::uint64_t> number(const Fields& fields, std::string_view key) {
  const std::string text = TRY(required(fields, key));
  const auto value = base::parse_number<std::uint64_t>(text);
  if (!value) return fields.error(key, cat("must be a decimal number, not \"", text, "\""));
  return *value;
}

}  // namespace

std::string_view to_string(State state) { return kStates[static_cast<std::size_t>(state)]; }

Result<NetnsIdentity> identify_netns(const std::string& path) {
  const auto netns = net::Netns::open(path);
  if (!netns) {
    const int why = netns.error().errno_value();
    if (why == ENOENT || why == ENOTDIR || why == EINVAL) return NetnsIdentity();
    return netns.error();
  }
  NetnsIdentity identity{netns->inode(), 0};
  const auto ask_cookie = [&identity]() -> Status {
    const base::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return Error::from_errno("socket", errno);
    socklen_t size = sizeof identity.cookie;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &identity.cookie, &size) == 0) return {};
    identity.cookie = 0;
    if (errno != ENOPROTOOPT) return Error::from_errno("SO_NETNS_COOKIE", errno);
    return {};  // the inode must do
  };
  TRY_CONTEXT(netns->run(ask_cookie), path);
  return identity;
}

Home own_home() {
  const auto inode = [](const char* path) -> std::uint64_t {
    struct stat info {};
    return ::stat(path, &info) == 0 ? info.st_ino : 0;
  };
  return {inode("/proc/thread-self/ns/mnt"), inode("/proc/thread-self/ns/net")};
}

Attachment Record::attachment() const {
  const auto variable = [this](const char* name) {
    const auto at = environment.find(name);
    return at == environment.end() ? std::string() : at->second;
  };
  return {network, variable("CNI_CONTAINERID"), variable("CNI_IFNAME")};
}

Result<Record> record_of(const Call& call, const World& world) {
  const NetnsIdentity netns = TRY_CONTEXT(identify_netns(call.netns), "CNI_NETNS");
  Record record{.boot_id = world.boot_id,
                .plugin = call.plugin,
                .network = call.attachment.network,
                .netns = netns,
                .home = own_home(),
                .environment = environment_of(call),
                .stdin_text = call.stdin_text};
  record.environment.erase("CNI_COMMAND");
  return record;
}

std::string to_json(const Record& record) {
  Value out;
  out.set("state", Value(to_string(record.state)));
  out.set("plugin", Value(record.plugin));
  out.set("network", Value(record.network));
  out.set("bootId", Value(record.boot_id));
  out.set("netnsInode", Value(cat(record.netns.inode)));
  out.set("netnsCookie", Value(cat(record.netns.cookie)));
  out.set("mountNamespace", Value(cat(record.home.mount_namespace)));
  out.set("networkNamespace", Value(cat(record.home.network_namespace)));
  Value environment{Value::Object()};
  for (const auto& [name, value] : record.environment) environment.set(name, Value(value));
  out.set("environment", std::move(environment));
  out.set("stdin", Value(record.stdin_text));
  return base::to_json(out);
}

Result<Record> parse_record(std::string_view text) {
  const Value json = TRY(base::parse_json(text));
  const Fields fields = TRY(Fields::of(json));
  Record record;
  const std::string written = TRY(required(fields, "state"));
  const auto state = parse_state(written);
  if (!state) return fields.error("state", cat("must be adding, ready or deleting, not \"", written, "\""));
  record.state = *state;
  record.plugin = TRY(required(fields, "plugin"));
  record.network = TRY(required(fields, "network"));
  record.boot_id = TRY(fields.text("bootId")).value_or("");
  record.netns.inode = TRY(number(fields, "netnsInode"));
  record.netns.cookie = TRY(number(fields, "netnsCookie"));
  record.home.mount_namespace = TRY(number(fields, "mountNamespace"));
  record.home.network_namespace = TRY(number(fields, "networkNamespace"));
  const Fields environment = TRY(fields.object("environment"));
  for (const char* name :
       {"CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_NETNS_OVERRIDE", "CNI_ARGS", "CNI_PATH"}) {
    if (auto value = TRY(environment.text(name))) record.environment.emplace(name, *std::move(value));
  }
  record.stdin_text = TRY(required(fields, "stdin"));
  return record;
}

bool of_another_boot(const Record& record, const World& world) {
  return !record.boot_id.empty() && !world.boot_id.empty() && record.boot_id != world.boot_id;
}

Result<std::string> why_dead(const Record& record, const World& world) {
  if (of_another_boot(record, world)) return std::string("it is of another boot");
  const auto path = record.environment.find("CNI_NETNS");
  // Made for something that never was a namespace here: nothing is known of its life.
  if (record.netns == NetnsIdentity() || path == record.environment.end()) return std::string();
  if (TRY(identify_netns(path->second)) == record.netns) return std::string();
  return cat("its network namespace ", path->second, " is gone");
}

bool is_dead(const Record& record, const World& world) {
  const auto reason = why_dead(record, world);
  return reason && !reason->empty();
}

Result<Call> del_of(const Plugin& plugin, const Record& record, const World& world) {
  Environment environment = record.environment;
  environment["CNI_COMMAND"] = to_string(Verb::Del);
  Call named = TRY(read_environment(plugin, environment));
  Call call = TRY(read_config(plugin, std::move(named), record.stdin_text));
  if (is_dead(record, world)) call.netns.clear();
  return call;
}

}  // namespace fairlead::cni
