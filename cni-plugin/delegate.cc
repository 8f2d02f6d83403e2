#include "cni-plugin/delegate.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/subprocess.h"
#include "cni-plugin/fields.h"
#include "cni-plugin/invocation.h"

extern char** environ;

namespace fairlead::cni {
namespace {

using base::cat;

// Those of ours that may stand in `ipam.type`.
constexpr std::string_view kInProcess[] = {"host-local", "static"};

Result<std::string> ipam_type(const Call& call) {
  const Fields config = TRY(Fields::of(call.config));
  const Fields ipam = TRY(config.object("ipam"));
  const auto type = TRY(ipam.text("type"));
  if (!type || type->empty()) return ipam.error("type", "is missing");
  // SPEC.md: a plugin must not be found anywhere but in CNI_PATH.
  if (type->find('/') != type->npos)
    return ipam.error("type", cat("must be the name of a plugin, not the path \"", *type, "\""));
  return *type;
}

const Plugin* in_process(const std::string& type) {
  if (std::find(std::begin(kInProcess), std::end(kInProcess), type) == std::end(kInProcess)) return nullptr;
  return find_plugin(type);
}

Result<std::string> find_executable(const std::string& type, const std::vector<std::string>& path) {
  for (const std::string& folder : path) {
    std::string file = cat(folder, "/", type);
    struct stat info {};
    if (::stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode) && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return failure(code::kInvalidConfig, "ipam.type: no plugin \"", type, "\" in CNI_PATH [", base::join(path, ":"), "]");
}

// Ours, with the variables of the call in place of those we were called with: a delegate's DEL may undo our ADD.
std::vector<std::string> environment_for(const Call& call) {
  std::vector<std::string> out;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    if (std::string_view(*at).substr(0, 4) != "CNI_") out.emplace_back(*at);
  }
  for (const auto& [name, value] : environment_of(call)) out.push_back(cat(name, "=", value));
  return out;
}

// What a plugin that failed said on stdout.
Error told_error(const std::string& type, const base::ProcessOutput& output) {
  constexpr std::size_t kShown = 200;
  const auto json = base::parse_json(output.out, base::Duplicates::LastWins);
  const auto fields = json ? Fields::of(*json) : Result<Fields>(json.error());
  if (fields) {
    const auto told = fields->integer("code", 1, 1 << 30);
    const auto text = fields->text("msg");
    const auto details = fields->text("details");
    if (told && *told && text && *text) {
      const bool more = details && *details && !(*details)->empty();
      // From 100 on numbers are each plugin's own, and this one of ours says that nothing is to be undone.
      const int number = **told == code::kAlreadyAttached ? code::kInternal : static_cast<int>(**told);
      return failure(number, type, ": ", **text, more ? "\n" : "", more ? **details : std::string());
    }
  }
  return failure(code::kInternal, type, ": exit ", output.exit_code, " without an error in JSON, but \"",
                 base::trim(std::string_view(output.out).substr(0, kShown)), "\"");
}

// The plugin's stdout. Its stderr is ours. Like any plugin it may take as long as its runtime lets it.
Result<std::string> execute(const Call& call, const std::string& type) {
  constexpr int kAttempts = 8;
  const std::string file = TRY(find_executable(type, call.path));
  const base::ProcessOptions options{
      .timeout = std::chrono::hours(24), .environment = environment_for(call), .keep_stderr = false};
  for (int attempt = 1;; ++attempt) {
    auto output = base::run_process({file}, call.stdin_text, options);
    // Somebody is writing the file: an installer that does not rename into place.
    if (!output && output.error().errno_value() == ETXTBSY && attempt < kAttempts) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1 << attempt));
      continue;
    }
    if (!output) return std::move(output).error().with_context("ipam").with_code(code::kIo);
    if (output->exit_code != 0) return told_error(type, *output);
    return std::move(output->out);
  }
}

using InProcess = Status (*)(const Call&, const World&);

// A verb without a result. One that a plugin of ours does not have is done.
Status run(const Call& call, const World& world, Verb verb, InProcess Plugin::*function) {
  const std::string type = TRY(ipam_type(call));
  Call delegated = call;
  delegated.verb = verb;
  if (const Plugin* plugin = in_process(type)) {
    delegated.plugin = type;
    if (plugin->*function != nullptr) TRY_CONTEXT((plugin->*function)(delegated, world), type);
    return {};
  }
  TRY(execute(delegated, type));
  return {};
}

}  // namespace

Status find_ipam(const Call& call) {
  const std::string type = TRY(ipam_type(call));
  if (in_process(type) == nullptr) TRY(find_executable(type, call.path));
  return {};
}

bool has_ipam(const Call& call) {
  const auto config = Fields::of(call.config);
  const auto ipam = config ? config->object("ipam") : Result<Fields>(config.error());
  const auto type = ipam ? ipam->text("type") : Result<std::optional<std::string>>(ipam.error());
  if (!type) return ipam.has_value();  // one that is no string is named by who reads it
  return *type && !(*type)->empty();
}

namespace {

Result<NetResult> delegate_add(const Call& call, const World& world) {
  const std::string type = TRY(ipam_type(call));
  Call delegated = call;
  delegated.verb = Verb::Add;
  if (const Plugin* plugin = in_process(type)) {
    delegated.plugin = type;
    return TRY_CONTEXT(plugin->add(delegated, world), type);
  }
  const std::string told = TRY(execute(delegated, type));
  const auto json = base::parse_json(told, base::Duplicates::LastWins);
  if (!json) return failure(code::kDecode, type, ": its result: ", json.error().message());
  return TRY_CONTEXT(parse_result(*json, call.version), cat(type, ": its result"));
}

}  // namespace

Result<NetResult> ipam_add(const Call& call, const World& world) {
  auto result = delegate_add(call, world);
  // The delegate has done nothing; whoever asks it has, by now, and must undo that.
  if (!result && result.error().code() == code::kAlreadyAttached)
    return std::move(result).error().with_code(code::kInternal);
  return result;
}

Status ipam_del(const Call& call, const World& world) { return run(call, world, Verb::Del, &Plugin::del); }
Status ipam_check(const Call& call, const World& world) { return run(call, world, Verb::Check, &Plugin::check); }
Status ipam_status(const Call& call, const World& world) { return run(call, world, Verb::Status, &Plugin::status); }
Status ipam_gc(const Call& call, const World& world) { return run(call, world, Verb::Gc, &Plugin::gc); }

}  // namespace fairlead::cni
