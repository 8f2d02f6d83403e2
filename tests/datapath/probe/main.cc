// fairlead-probe: the testbed's hands inside its namespaces. One JSON value per line on stdout.
//
//   serve --name X --listen IP:PORT/tcp|udp|sctp ...   answers who asked (probe_spec.h)
//   connect --to IP:PORT/PROTO [--count N] [...]       prints each attempt
//   load --to IP:PORT/PROTO --rate R [...]             prints counts at the end
//   prober                                             a JSON list of "connect" arguments per line of stdin
//   enter [--net PATH] [--cgroup DIR] -- COMMAND ...   becomes COMMAND in that namespace and cgroup
//   reap --prefix P                                    removes the testbed when stdin is closed
//   sweep [--kept]                                     removes testbeds of dead processes
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <string>
#include <vector>

#include "base/strings.h"
#include "tests/datapath/probe/connect.h"
#include "tests/datapath/probe/load.h"
#include "tests/datapath/probe/serve.h"
#include "tests/datapath/remains.h"

namespace fairlead::testbed::probe {
namespace {

using Arguments = std::vector<std::string>;

int fail(const Error& error) {
  std::cerr << "error: " << error.message() << std::endl;
  return 1;
}

int run_serve(const Arguments& arguments) {
  std::string name = "server";
  std::vector<Target> listeners;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    if (arguments[i] == "--name") {
      name = arguments[i + 1];
    } else if (arguments[i] == "--listen") {
      auto target = Target::parse(arguments[i + 1]);
      if (!target) return fail(target.error());
      listeners.push_back(*target);
    } else {
      return fail(Error(base::cat("unknown option ", arguments[i])));
    }
  }
  return fail(serve(name, listeners, [] { std::cout << "ready" << std::endl; }));
}

base::Value connect_value(const Arguments& arguments) {
  auto spec = connect_spec_from(arguments);
  if (!spec) return base::Value().set("failure", base::Value(spec.error().message()));
  return to_value(attempts(*spec));
}

int run_connect(const Arguments& arguments) {
  std::cout << base::to_json(connect_value(arguments)) << std::endl;
  return 0;
}

int run_prober(const Arguments&) {
  std::string line;
  while (std::getline(std::cin, line)) {
    Arguments arguments;
    const auto value = base::parse_json(line);
    if (!value || value->as_array() == nullptr) return fail(Error(base::cat("not a JSON list: ", line)));
    for (const base::Value& item : *value->as_array()) {
      arguments.push_back(item.as_string() != nullptr ? *item.as_string() : "");
    }
    std::cout << base::to_json(connect_value(arguments)) << std::endl;
  }
  return 0;
}

int run_load_command(const Arguments& arguments) {
  auto spec = load_spec_from(arguments);
  if (!spec) return fail(spec.error());
  const auto print = [](const LoadReport& report) { std::cout << base::to_json(to_value(report)) << std::endl; };
  print(run_load(*spec, print));
  return 0;
}

Status enter_namespace(const std::string& path) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Error::from_errno(base::cat("open ", path), errno);
  if (::setns(file.get(), CLONE_NEWNET) != 0) return Error::from_errno(base::cat("enter ", path), errno);
  return {};
}

Status enter_cgroup(const std::string& directory) {
  const std::string path = base::cat(directory, "/cgroup.procs");
  base::Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return Error::from_errno(base::cat("open ", path), errno);
  if (::write(file.get(), "0", 1) != 1) return Error::from_errno(base::cat("write ", path), errno);
  return {};
}

int run_enter(const Arguments& arguments) {
  std::size_t i = 0;
  for (; i + 1 < arguments.size() && arguments[i] != "--"; i += 2) {
    Status entered = arguments[i] == "--net"      ? enter_namespace(arguments[i + 1])
                     : arguments[i] == "--cgroup" ? enter_cgroup(arguments[i + 1])
                                                  : Status(Error(base::cat("unknown option ", arguments[i])));
    if (!entered) return fail(entered.error());
  }
  std::vector<char*> command;
  for (++i; i < arguments.size(); ++i) command.push_back(const_cast<char*>(arguments[i].c_str()));
  if (command.empty()) return fail(Error("enter needs -- COMMAND"));
  command.push_back(nullptr);
  ::execvp(command[0], command.data());
  return fail(Error::from_errno(command[0], errno));
}

int run_reap(const Arguments& arguments) {
  if (arguments.size() != 2 || arguments[0] != "--prefix") return fail(Error("reap needs --prefix P"));
  ::setsid();  // out of reach of a Ctrl-C or a hang-up meant for the test
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_IGN);
  char order = 0;
  ssize_t n = 0;
  while ((n = ::read(STDIN_FILENO, &order, 1)) < 0 && errno == EINTR) {
  }
  if (n > 0) return 0;  // the owner has removed everything, or wants to keep it
  const Status removed = remove_remains(arguments[1]);
  return removed ? 0 : fail(removed.error());
}

int run_sweep(const Arguments& arguments) {
  const bool all = arguments == Arguments{"--kept"};
  const auto removed = sweep(all ? Kept::Remove : Kept::Spare);
  if (!removed) return fail(removed.error());
  for (const std::string& prefix : *removed) std::cout << "removed " << prefix << "\n";
  return 0;
}

}  // namespace
}  // namespace fairlead::testbed::probe

int main(int argc, char** argv) {
  using namespace fairlead::testbed::probe;
  const std::vector<std::string> arguments(argv + std::min(argc, 2), argv + argc);
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "serve") return run_serve(arguments);
  if (command == "connect") return run_connect(arguments);
  if (command == "load") return run_load_command(arguments);
  if (command == "prober") return run_prober(arguments);
  if (command == "enter") return run_enter(arguments);
  if (command == "reap") return run_reap(arguments);
  if (command == "sweep") return run_sweep(arguments);
  std::cerr << "usage: fairlead-probe serve|connect|load|prober|enter|reap|sweep [options]\n";
  return 2;
}
