#include "cni-plugin/sweep.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/file.h"
#include "cni-plugin/lifecycle.h"

namespace fairlead::cni {
namespace {

using base::cat;
using base::Value;

Value dead_json(const std::string& path, const Record& record, const std::string& reason) {
  const Attachment attachment = record.attachment();
  Value out;
  out.set("record", Value(path));
  out.set("plugin", Value(record.plugin));
  out.set("network", Value(attachment.network));
  out.set("containerId", Value(attachment.container_id));
  out.set("ifname", Value(attachment.ifname));
  out.set("state", Value(to_string(record.state)));
  out.set("reason", Value(reason));
  return out;
}

Result<Record> read_record(const std::string& path) {
  const std::string text = TRY(base::read_file(path));
  return TRY_CONTEXT(parse_record(text), path);
}

bool is_at_home(const Record& record, const World& world) {
  // Across a boot their numbers mean nothing, and no path is looked at.
  return of_another_boot(record, world) || record.home == own_home();
}

Status release_one(const std::string& path, const World& world, std::string& notes) {
  if (!is_record_path(world, path)) return Error("is not where records are");
  Entry entry = TRY(Entry::open(path, Entry::IfBusy::Refuse));
  notes += entry.warning();
  if (!entry.record()) return {};
  if (!is_at_home(*entry.record(), world)) return Error("was made in another mount or network namespace");
  if (TRY(why_dead(*entry.record(), world)).empty()) return Error("is alive");
  const Plugin* plugin = find_plugin(entry.record()->plugin);
  if (plugin == nullptr) return Error(cat("is of the plugin \"", entry.record()->plugin, "\", which is none of ours"));
  return finish(*plugin, entry, world);
}

}  // namespace

Answer sweep(const World& world) {
  Answer answer;
  Value::Array dead;
  for (const std::string& path : list_all_records(world)) {
    const auto record = read_record(path);
    if (!record) {
      // One that went meanwhile is nothing to tell.
      if (record.error().errno_value() != ENOENT) answer.err += cat(record.error().message(), "\n");
      continue;
    }
    if (!is_at_home(*record, world)) {
      answer.err += cat(path, ": was made in another mount or network namespace\n");
      continue;
    }
    const auto reason = why_dead(*record, world);
    if (!reason) {
      answer.err += cat(path, ": cannot be judged: ", reason.error().message(), "\n");
    } else if (!reason->empty()) {
      dead.push_back(dead_json(path, *record, *reason));
    }
  }
  answer.out = cat(base::to_json(Value(std::move(dead))), "\n");
  return answer;
}

Answer release(const std::vector<std::string>& records, const World& world) {
  Answer answer;
  Value::Array outcomes;
  for (const std::string& path : records) {
    const Status released = release_one(path, world, answer.err);
    Value outcome;
    outcome.set("record", Value(path));
    outcome.set("released", Value(released.has_value()));
    if (!released) outcome.set("error", Value(released.error().message()));
    outcomes.push_back(std::move(outcome));
    if (!released) answer.exit_code = 1;
  }
  answer.out = cat(base::to_json(Value(std::move(outcomes))), "\n");
  return answer;
}

Status enter_namespaces_of(int pid) {
  const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return Error::from_errno(cat("process ", pid), errno);
  if (::setns(process.get(), CLONE_NEWNS | CLONE_NEWNET) != 0)  // linux v5.8
    return Error::from_errno(cat("enter the namespaces of process ", pid), errno);
  return {};
}

}  // namespace fairlead::cni
