#include "tests/datapath/driver.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/file.h"
#include "base/strings.h"
#include "tests/datapath/service_spec.h"

namespace fairlead::testbed {
namespace {

using base::cat;

constexpr std::size_t kLogShown = 6000;  // bytes from the end of an agent's log

std::string tail(const std::string& text) {
  return text.size() <= kLogShown ? text : cat("...", text.substr(text.size() - kLogShown));
}

}  // namespace

Result<std::unique_ptr<AgentDriver>> AgentDriver::create(Testbed& testbed, const std::string& dataplane,
                                                         const std::vector<std::string>& flags) {
  const std::string directory = testbed.dir() + "/manifests";
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST)
    return Error::from_errno(cat("mkdir ", directory), errno);
  std::unique_ptr<AgentDriver> driver(new AgentDriver(testbed, directory));
  driver->cluster_ = list_document(cluster_manifests({}, testbed));
  TRY(base::write_file_atomically(directory + "/cluster.json", driver->cluster_));
  driver->document_ = list_document({});
  TRY(base::write_file_atomically(directory + "/services.json", driver->document_));
  std::vector<std::string> arguments{"--manifests", directory};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  for (unsigned node = 1; node <= testbed.nodes(); ++node) {
    driver->agents_.push_back(std::make_unique<AgentProcess>(testbed, node, dataplane, arguments));
    TRY(driver->agents_.back()->launch());
  }
  for (auto& agent : driver->agents_) TRY(agent->wait_until_settled());
  return driver;
}

Status AgentDriver::stop() {
  for (auto& agent : agents_) {
    TRY(agent->terminate());
    const base::ProcessOutput output = TRY(agent->command("cleanup"));
    if (output.exit_code != 0) return Error(cat("cleanup of node", agent->node(), ": ", output.out, output.err));
  }
  agents_.clear();
  return {};
}

// One file holds all, so that every agent sees one batch of changes: its generation counts up by one.
Status AgentDriver::write(std::vector<base::Value> objects) {
  document_ = list_document(std::move(objects));
  return base::write_file_atomically(directory_ + "/services.json", document_);
}

Status AgentDriver::change(const std::string& file, std::string& known, std::string document) {
  if (document == known) return {};
  std::vector<std::uint64_t> before;
  for (auto& agent : agents_) before.push_back(TRY(agent->status()).generation);
  known = std::move(document);
  TRY(base::write_file_atomically(cat(directory_, "/", file), known));
  for (std::size_t i = 0; i < agents_.size(); ++i) {
    const auto has_it = [&](const AgentStatus& status) { return status.generation > before[i] && status.settled(); };
    TRY(agents_[i]->wait_for(has_it, "up to date with the manifests"));
  }
  return {};
}

Status AgentDriver::apply(std::vector<base::Value> objects) {
  return change("services.json", document_, list_document(std::move(objects)));
}

Status AgentDriver::set_cluster(std::vector<base::Value> objects) {
  return change("cluster.json", cluster_, list_document(std::move(objects)));
}

std::string AgentDriver::diagnosis() {
  std::string text;
  for (auto& agent : agents_) {
    const auto status = agent->status();
    const auto services = http_get(agent->status_socket(), "/v1/services");
    text += cat("--- node", agent->node(), " status: ", status ? status->text : status.error().message(),
                "\n--- services: ", services ? *services : services.error().message(), "\n--- log:\n",
                tail(agent->log()), "\n");
  }
  return text;
}

}  // namespace fairlead::testbed
