#include "tests/demo/api_server.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tests/apiserver/server.h"
#include "tests/demo/source.h"

namespace fairlead::demo {
namespace {

using base::cat;
using tests::apiserver::TestApiServer;

constexpr const char* kToken = "demo";

std::string kubeconfig_in(const std::string& directory) { return directory + "/kubeconfig"; }

std::string obey(TestApiServer& server, const std::string& line) {
  const auto order = base::parse_json(line);
  if (!order || order->as_string() == nullptr) return "error not a JSON string";
  const auto version = server.load_yaml(*order->as_string());
  if (version) return cat("done ", *version);
  std::string text = version.error().message();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return cat("error ", text);
}

class ApiSource final : public Source {
 public:
  ApiSource(testbed::Process process, std::string directory, std::string url)
      : process_(std::move(process)), directory_(std::move(directory)), url_(std::move(url)) {}

  Status put(const ManifestFile& file) override {
    TRY(process_.write_line(base::to_json(base::Value(file.text))));
    const std::string answer = TRY(process_.read_line(std::chrono::seconds(5)));
    if (answer.rfind("error ", 0) == 0) return Error(cat(file.name, ": ", answer.substr(6)));
    return {};
  }
  std::vector<std::string> agent_flags() const override { return {"--kubeconfig", kubeconfig_in(directory_)}; }
  std::string description() const override { return cat("the API server at ", url_); }
  std::string how_to_edit() const override {
    return cat("nsenter --net=", directory_, "/netns/node1 curl -k --http2 -H 'Authorization: Bearer ", kToken,
               "' --data-binary @examples/manifests/web.yaml ", url_, "/test/manifests");
  }

 private:
  testbed::Process process_;
  std::string directory_;  // of the testbed
  std::string url_;
};

}  // namespace

Status run_api_server(const std::vector<std::string>& arguments) {
  if (arguments.size() != 2) return Error(cat(kApiServerCommand, " needs LISTEN KUBECONFIG"));
  ::signal(SIGINT, SIG_IGN);  // a Ctrl-C is meant for the demo, which ends us
  ::signal(SIGPIPE, SIG_IGN);
  tests::apiserver::Options options;
  options.listen = arguments[0];
  options.extra_names = {arguments[0].substr(0, arguments[0].rfind(':'))};
  options.tokens = {kToken};
  const auto server = TRY(TestApiServer::start(options));
  TRY(base::write_file_atomically(arguments[1], server->kubeconfig(), 0600));
  std::cout << "ready " << server->url() << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) std::cout << obey(*server, line) << std::endl;
  for (;;) ::pause();
}

Result<std::unique_ptr<Source>> api_source(testbed::Testbed& testbed, const Manifests& manifests) {
  const testbed::Place* host = TRY(testbed.add_host("apiserver", 110));
  const std::string listen = net::host_port(host->v4, 6443);
  testbed::Process process = TRY(testbed.start(
      host->name, {testbed::program_path("fairlead-demo"), kApiServerCommand, listen, kubeconfig_in(testbed.dir())},
      "apiserver", testbed::Pipes::InOut));
  const std::string ready = TRY(process.read_line(std::chrono::seconds(10)));
  if (ready.rfind("ready ", 0) != 0) return Error(cat("the API server said \"", ready, "\""));
  auto source = std::make_unique<ApiSource>(std::move(process), testbed.dir(), ready.substr(6));
  for (const ManifestFile& file : manifests.files()) TRY(source->put(file));
  return std::unique_ptr<Source>(std::move(source));
}

}  // namespace fairlead::demo
