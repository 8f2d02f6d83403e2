// fairlead-demo: a three-node cluster of network namespaces, balanced before your eyes. `fairlead-demo --help`.

#include <signal.h>

#include <iostream>

#include "base/strings.h"
#include "tests/demo/api_server.h"
#include "tests/demo/interrupt.h"
#include "tests/demo/show.h"

namespace fairlead::demo {
namespace {

Status play(Show& show) {
  TRY(raise_the_cluster(show));
  TRY(start_the_agents(show));
  TRY(ask_every_service(show));
  TRY(count_who_answers(show));
  TRY(measure_latency(show));
  TRY(scale_up_and_down(show));
  TRY(let_an_endpoint_die(show));
  TRY(kill_an_agent(show));
  TRY(switch_the_dataplane(show));
  TRY(measure_latency(show));
  return look_with_fairleadctl(show);
}

int fail(const Error& error, int exit_code = 1) {
  std::cout << std::flush;
  std::cerr << "error: " << error.message() << std::endl;
  return exit_code;
}

int verdict(const Show& show) {
  const Screen& screen = show.screen;
  const std::string time = base::cat(" in ", fixed(screen.elapsed().count(), 1), " s");
  if (screen.broken().empty()) {
    std::cout << "\n" << screen.good(base::cat("demo: all ", screen.promises(), " promises kept", time)) << std::endl;
    return 0;
  }
  std::cout << "\n";
  for (const std::string& text : screen.broken()) std::cout << "broken: " << text << "\n";
  std::cout << screen.bad(
                   base::cat("demo: ", screen.broken().size(), " of ", screen.promises(), " promises BROKEN", time))
            << std::endl;
  return 1;
}

int run(const Options& options) {
  if (Status ready = check_surroundings(); !ready) return fail(ready.error());
  if (Status installed = Interrupt::install(); !installed) return fail(installed.error());
  Show show{.options = options, .screen = {}, .cluster = nullptr, .dataplane = {}, .latencies = {}};
  if (options.remove) {
    const Status removed = remove_kept(show.screen);
    return removed ? 0 : fail(removed.error());
  }
  const Status played = play(show);
  const int interrupted = Interrupt::signal_number();
  if (interrupted != 0) show.options.keep = false;
  if (interrupted != 0) show.screen.step("interrupted");
  if (!played && interrupted == 0) fail(played.error());
  const Status left = leave(show);
  if (!left) fail(left.error());
  if (interrupted != 0) return 128 + interrupted;
  if (!played || !left) {
    std::cout << show.screen.bad("demo: FAILED, see the error above") << std::endl;
    return 1;
  }
  return verdict(show);
}

}  // namespace
}  // namespace fairlead::demo

int main(int argc, char** argv) {
  using namespace fairlead::demo;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  ::signal(SIGPIPE, SIG_IGN);
  if (!arguments.empty() && arguments[0] == kApiServerCommand) {
    return fail(run_api_server({arguments.begin() + 1, arguments.end()}).error());
  }
  const auto options = parse_options(arguments);
  if (!options) {
    std::cerr << "error: " << options.error().message() << "\nhint: ./dev demo --help\n";
    return 2;
  }
  if (options->help) {
    std::cout << kUsage;
    return 0;
  }
  const int exit_code = run(*options);
  std::cout << std::flush;
  return exit_code;
}
