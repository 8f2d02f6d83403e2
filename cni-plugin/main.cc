// The multi-call executable: the name it is called by says which plugin it is.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

#include "base/file.h"
#include "base/strings.h"
#include "cni-plugin/dispatch.h"
#include "cni-plugin/sweep.h"

extern char** environ;

namespace fairlead::cni {
namespace {

constexpr char kProgram[] = "fairlead-cni";

Environment environment() {
  Environment out;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view pair = *at;
    const std::size_t equals = pair.find('=');
    if (equals != pair.npos && pair.substr(0, 4) == "CNI_")
      out.emplace(pair.substr(0, equals), pair.substr(equals + 1));
  }
  return out;
}

Result<std::string> read_stdin() {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno("error reading from stdin", errno).with_code(code::kIo);
    if (n == 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > kMaxStdinBytes)
      return failure(code::kIo, "error reading from stdin: more than ", kMaxStdinBytes, " bytes");
  }
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

int give(const Answer& answer) {
  (void)write_all(STDERR_FILENO, answer.err);
  if (!write_all(STDOUT_FILENO, answer.out)) return 1;
  return answer.exit_code;
}

World host() {
  World world;
  if (auto id = base::read_file("/proc/sys/kernel/random/boot_id")) world.boot_id = std::string(base::trim(*id));
  return world;
}

// Asked for, on stdout; else behind what was wrong.
Answer usage(std::string_view wrong = {}) {
  std::string names;
  for (const Plugin* plugin : plugins()) base::append(names, base::cat("  ", plugin->name, ": ", plugin->about, "\n"));
  std::string text =
      base::cat(kProgram, ": CNI plugins in one executable; it is the one whose name it is called by:\n", names,
                "Under its own name:\n"
                "  sweep: tells in JSON which attachments on record cannot be alive\n"
                "  release RECORD...: takes away what is left of those\n"
                "  --namespaces-of=PID before either: in the mount and network namespaces of that process\n");
  if (wrong.empty()) return {0, std::move(text), ""};
  return {2, "", base::cat(kProgram, ": ", wrong, "\n\n", text)};
}

Answer run_for_agent(std::vector<std::string> arguments) {
  constexpr std::string_view kNamespacesOf = "--namespaces-of=";
  if (!arguments.empty() && arguments[0].substr(0, kNamespacesOf.size()) == kNamespacesOf) {
    const auto pid = base::parse_number<int>(std::string_view(arguments[0]).substr(kNamespacesOf.size()));
    if (!pid) return usage(base::cat("\"", arguments[0], "\": a process id is needed"));
    if (const Status entered = enter_namespaces_of(*pid); !entered)
      return {1, "", base::cat(kProgram, ": ", entered.error().message(), "\n")};
    arguments.erase(arguments.begin());
  }
  if (arguments == std::vector<std::string>{"sweep"}) return sweep(host());
  if (arguments.empty()) return usage("called by a name that is no plugin's, with nothing to do");
  if (arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") return usage();
  if (arguments[0] != "release") return usage(base::cat("\"", base::join(arguments, " "), "\" is not known here"));
  if (arguments.size() < 2) return usage("release: a RECORD is needed, as sweep lists them");
  arguments.erase(arguments.begin());
  return release(arguments, host());
}

int run(std::string_view name, std::vector<std::string> arguments) {
  const Plugin* plugin = find_plugin(name);
  if (plugin == nullptr) return give(run_for_agent(std::move(arguments)));
  const Environment variables = environment();
  const auto command = variables.find("CNI_COMMAND");
  const bool acts = command != variables.end() && command->second != "VERSION";
  return give(dispatch(*plugin, variables, read_stdin, acts ? host() : World()));
}

}  // namespace
}  // namespace fairlead::cni

int main(int argc, char** argv) {
  // A runtime or delegate that has gone is an EPIPE.
  std::signal(SIGPIPE, SIG_IGN);
  std::string_view name = argc > 0 ? argv[0] : "";
  return fairlead::cni::run(name.substr(name.rfind('/') + 1), {argv + (argc > 0 ? 1 : 0), argv + argc});
}
