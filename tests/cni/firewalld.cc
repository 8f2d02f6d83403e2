#include "tests/cni/firewalld.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <thread>

#include "base/file.h"
#include "base/strings.h"
#include "net/dbus.h"

namespace fairlead::cnitest {
namespace {

using base::cat;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kFirewalld[] = "/usr/sbin/firewalld", kBus[] = "/usr/bin/dbus-daemon";
constexpr char kService[] = "org.fedoraproject.FirewallD1";

Status wait_until(const std::function<bool()>& holds, testbed::Process& daemon) {
  const auto deadline = std::chrono::steady_clock::now() + seconds(30);
  while (!holds()) {
    if (!daemon.running()) return Error(cat("it has ended: ", daemon.log()));
    if (std::chrono::steady_clock::now() > deadline) return Error(cat("not ready after 30 s: ", daemon.log()));
    std::this_thread::sleep_for(milliseconds(10));
  }
  return {};
}

// An end that it chooses itself; then nothing of it is at work in the folder any more.
void end(std::optional<testbed::Process>& daemon) {
  if (!daemon || !daemon->signal(SIGTERM)) return;
  if (!daemon->wait(seconds(10))) daemon->kill();
}

}  // namespace

std::string Firewalld::missing() {
  for (const char* program : {kFirewalld, kBus}) {
    if (::access(program, X_OK) != 0) return program;
  }
  return {};
}

Result<Firewalld> Firewalld::create(std::vector<std::string> enter) {
  std::string folder = "/tmp/fairlead-firewalld.XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return Error::from_errno(folder, errno);
  Firewalld made(std::move(enter), folder);
  TRY(base::write_file_atomically(
      cat(folder, "/bus.conf"),
      cat("<busconfig><type>system</type><listen>unix:path=", made.socket(), "</listen><auth>EXTERNAL</auth>",
          "<policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>",
          "<allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>")));
  return made;
}

Firewalld::~Firewalld() {
  if (folder_.empty()) return;  // moved from
  end(firewalld_);
  end(bus_);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Result<testbed::Process> Firewalld::launch(const std::vector<std::string>& command) const {
  std::vector<std::string> argv{"setpriv", "--pdeathsig", "KILL"};  // outlives no test that dies
  argv.insert(argv.end(), enter_.begin(), enter_.end());
  argv.insert(argv.end(), {"env", cat("DBUS_SYSTEM_BUS_ADDRESS=unix:path=", socket()),
                           cat("XTABLES_LOCKFILE=", folder_, "/lock")});
  argv.insert(argv.end(), command.begin(), command.end());
  return testbed::Process::start({.argv = argv, .netns = "", .cgroup = "", .log = cat(folder_, "/log")});
}

Status Firewalld::start_bus() {
  bus_ = TRY(launch({kBus, cat("--config-file=", folder_, "/bus.conf"), "--nofork", "--nopidfile"}));
  TRY_CONTEXT(wait_until([&] { return std::filesystem::exists(socket()); }, *bus_), "dbus-daemon");
  return {};
}

Status Firewalld::start() {
  TRY(start_bus());
  std::filesystem::create_directories(cat(folder_, "/config"));
  firewalld_ = TRY(launch({kFirewalld, "--nofork", "--nopid", cat("--system-config=", folder_, "/config"),
                           cat("--log-file=", folder_, "/firewalld.log")}));
  TRY_CONTEXT(wait_until([&] { return zone_of("10.9.9.9/32").has_value(); }, *firewalld_), "firewalld");
  return {};
}

Result<std::optional<std::string>> Firewalld::zone_of(const std::string& source) const {
  auto bus = TRY(net::dbus::Bus::open({socket()}, seconds(2)));
  if (!bus || !TRY(bus->has_owner(kService))) return Error("firewalld does not run");
  const auto answer = TRY(
      bus->call({kService, "/org/fedoraproject/FirewallD1", cat(kService, ".zone"), "getZoneOfSource"}, {source}));
  if (!answer.error.empty()) return Error(cat(answer.error, ": ", answer.text));
  if (answer.text.empty()) return std::optional<std::string>();
  return std::optional(answer.text);
}

}  // namespace fairlead::cnitest
