// fairlead-test-apiserver: TestApiServer as a program, for scripts, the demo and benchmarks.

#include <getopt.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/strings.h"
#include "tests/apiserver/server.h"

namespace fairlead::tests::apiserver {
namespace {

constexpr const char* kUsage = R"(fairlead-test-apiserver [OPTIONS]: a small Kubernetes API server for tests.
  --listen ADDRESS:PORT      default 127.0.0.1:0 (a free port)
  --manifests DIR            load every *.yaml, *.yml and *.json of DIR
  --generate S,E[,NODES][,mixed]  make S services with E endpoints each (mixed: of every kind, dual-stack)
  --write-kubeconfig FILE    how to reach it, CA and credentials included
  --token TOKEN              require this bearer token (repeatable)
  --client-certificates      require the client certificate that the kubeconfig carries (or a token)
  --name NAME                one more DNS name or address for the server certificate (repeatable)
  --plain                    HTTP/2 without TLS
  --json-only                no protobuf
  --no-watch-list            refuse sendInitialEvents, as servers before 1.34
  --history N                changes a watch may start from
  --first-version N          first resourceVersion
  --bookmark-ms N            period of bookmarks
  --help
One line on stdout when it is ready; SIGTERM or SIGINT ends it. /test/... paths: tests/apiserver/README.md.
)";

struct Arguments {
  Options options;
  std::string manifests;
  std::optional<GenerateSpec> generate;
  std::string kubeconfig;
  bool help = false;
};

Result<std::uint64_t> number(std::string_view option, const char* text) {
  const auto value = base::parse_number<std::uint64_t>(text);
  if (!value) return Error(base::cat("--", option, " ", text, ": a number expected"));
  return *value;
}

Status take(Arguments& out, std::string_view name, const char* value) {
  Options& options = out.options;
  if (name == "listen") options.listen = value;
  if (name == "manifests") out.manifests = value;
  if (name == "generate") out.generate = TRY_CONTEXT(parse_generate(value), "--generate");
  if (name == "write-kubeconfig") out.kubeconfig = value;
  if (name == "token") options.tokens.emplace_back(value);
  if (name == "client-certificates") options.client_certificates = true;
  if (name == "name") options.extra_names.emplace_back(value);
  if (name == "plain") options.tls = false;
  if (name == "json-only") options.protobuf = false;
  if (name == "no-watch-list") options.watch_list = false;
  if (name == "history") options.history = TRY(number(name, value));
  if (name == "first-version") options.first_version = TRY(number(name, value));
  if (name == "bookmark-ms") options.bookmark_period = std::chrono::milliseconds(TRY(number(name, value)));
  if (name == "help") out.help = true;
  return {};
}

Result<Arguments> parse_arguments(int argc, char** argv) {
  static constexpr option kOptions[] = {{"listen", required_argument, nullptr, 0},
                                        {"manifests", required_argument, nullptr, 0},
                                        {"generate", required_argument, nullptr, 0},
                                        {"write-kubeconfig", required_argument, nullptr, 0},
                                        {"token", required_argument, nullptr, 0},
                                        {"client-certificates", no_argument, nullptr, 0},
                                        {"name", required_argument, nullptr, 0},
                                        {"plain", no_argument, nullptr, 0},
                                        {"json-only", no_argument, nullptr, 0},
                                        {"no-watch-list", no_argument, nullptr, 0},
                                        {"history", required_argument, nullptr, 0},
                                        {"first-version", required_argument, nullptr, 0},
                                        {"bookmark-ms", required_argument, nullptr, 0},
                                        {"help", no_argument, nullptr, 0},
                                        {nullptr, 0, nullptr, 0}};
  Arguments out;
  int index = 0;
  while (true) {
    const int got = ::getopt_long(argc, argv, "", kOptions, &index);
    if (got == -1) break;
    if (got != 0) return Error("unknown option; --help lists them");
    TRY(take(out, kOptions[index].name, ::optarg));
  }
  if (::optind < argc) return Error(base::cat("unexpected argument \"", argv[::optind], "\""));
  return out;
}

Status serve(const Arguments& arguments, const sigset_t& end_signals) {
  const auto server = TRY(TestApiServer::start(arguments.options));
  if (arguments.generate) TRY(server->load(generate(*arguments.generate)));
  if (!arguments.manifests.empty()) {
    std::vector<Manifest> manifests = TRY(load_manifests(arguments.manifests));
    TRY(server->load(std::move(manifests)));
  }
  if (!arguments.kubeconfig.empty()) {
    TRY(base::write_file_atomically(arguments.kubeconfig, server->kubeconfig(), 0600));
  }
  std::printf("ready %s resourceVersion=%llu\n", server->url().c_str(),
              static_cast<unsigned long long>(server->version()));
  std::fflush(stdout);
  int signal_number = 0;
  ::sigwait(&end_signals, &signal_number);
  return {};
}

int run(int argc, char** argv) {
  const auto arguments = parse_arguments(argc, argv);
  if (arguments && arguments->help) {
    std::fputs(kUsage, stdout);
    return EXIT_SUCCESS;
  }
  // Blocked before any thread exists, so that sigwait gets them.
  sigset_t end_signals;
  sigemptyset(&end_signals);
  sigaddset(&end_signals, SIGTERM);
  sigaddset(&end_signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &end_signals, nullptr);
  const Status status = arguments ? serve(*arguments, end_signals) : Status(arguments.error());
  if (status) return EXIT_SUCCESS;
  std::fprintf(stderr, "fairlead-test-apiserver: %s\n", status.error().message().c_str());
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace fairlead::tests::apiserver

int main(int argc, char** argv) { return fairlead::tests::apiserver::run(argc, argv); }
