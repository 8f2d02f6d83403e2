#include "tests/apiserver/agent_fixture.h"

#include <cstdio>
#include <cstdlib>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using namespace std::chrono_literals;
using base::cat;

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "cannot set the test up: %s\n", error.message().c_str());
  std::abort();
}

template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error());
  return std::move(*result);
}

bool watching(const kube::ReflectorStatus& status) {
  return status.synced && status.state == kube::ReflectorState::Watching;
}

}  // namespace

Agent::Agent(TestApiServer& server, const AgentOptions& options) : server_(server), loop_(must(base::Loop::create())) {
  const std::string text = options.kubeconfig.empty() ? server.kubeconfig(options.identity) : options.kubeconfig;
  kube::ClientConfig config = options.config ? *options.config : must(kube::parse_kubeconfig(text, "/test/kubeconfig"));
  http_ = must(kube::HttpClient::create(*loop_, clock_, std::move(config), options.http));
  kube::ApiSourceOptions source{
      .node_name = kNode,
      .encoding = options.encoding,
      .reflector = options.reflector,
      .limits = {.item_bytes = options.largest_item},
      .patience = options.patience,
      .random = [] { return 0.5; },
      .after_batch = {},
      .on_error = [this](const kube::ReflectorStatus& one) { complaints_.push_back(one.last_error); }};
  source.reflector.backoff = {.first = 2ms, .cap = 10ms, .factor = 2, .jitter = 0};
  source.reflector.at_once_spacing = 0ms;
  source_ = std::make_unique<kube::ApiSource>(*loop_, clock_, *http_, store_, std::move(source));
  source_->start();
}

bool Agent::wait_for(const std::function<bool()>& condition) {
  const auto deadline = clock_.now() + 5s;
  while (!condition()) {
    if (clock_.now() > deadline) {
      std::fprintf(stderr, "waited in vain; last errors:\n%s", last_errors().c_str());
      return false;
    }
    loop_->run_once(5ms);
  }
  return true;
}

bool Agent::wait_until_synced() {
  return wait_for(
      [this] { return store_.synced() && store_.synced(kube::Kind::Node) && store_.synced(kube::Kind::ServiceCidr); });
}

bool Agent::wait_until_watching() {
  return wait_for([this] {
    for (const kube::ReflectorStatus& one : source_->status()) {
      if (!watching(one)) return false;
    }
    return server_.stats().open_watches >= kube::kKindCount;
  });
}

bool Agent::has_service(const std::string& ns, const std::string& name) const {
  return store_.service({.ns = ns, .name = name}) != nullptr;
}

std::size_t Agent::endpoints_of(const std::string& ns, const std::string& service) const {
  std::size_t count = 0;
  for (const kube::EndpointSlice* slice : store_.slices_of({.ns = ns, .name = service}))
    count += slice->endpoints.size();
  return count;
}

std::uint64_t Agent::errors() const {
  std::uint64_t sum = 0;
  for (const kube::ReflectorStatus& one : source_->status()) sum += one.errors;
  return sum;
}

std::uint64_t Agent::relists() const {
  std::uint64_t sum = 0;
  for (const kube::ReflectorStatus& one : source_->status()) sum += one.relists;
  return sum;
}

std::string Agent::last_errors() const {
  std::string text;
  for (const kube::ReflectorStatus& one : source_->status()) {
    text +=
        cat("  ", kube::to_string(one.kind), ": ", kube::to_string(one.state), ", resourceVersion ",
            one.resource_version, ", ", one.errors, " errors, ", one.relists, " relists, last: ", one.last_error, "\n");
  }
  return text;
}

bool Agent::has_complained(std::string_view text) const {
  for (const std::string& complaint : complaints_) {
    if (complaint.find(text) != complaint.npos) return true;
  }
  return false;
}

std::vector<std::string> request_lines(TestApiServer& server, const std::string& plural) {
  std::vector<std::string> lines;
  for (const RequestRecord& record : server.requests()) {
    if (!record.path.ends_with("/" + plural)) continue;
    const auto param = [&](const char* name) {
      const auto it = record.query.find(name);
      return it == record.query.end() ? std::string() : it->second;
    };
    std::string line = cat(param("watch").empty() ? "list" : "watch", " rv=", param("resourceVersion"));
    if (!param("limit").empty()) line += cat(" limit=", param("limit"));
    if (!param("continue").empty()) line += " continued";
    if (!param("sendInitialEvents").empty()) line += " initial";
    lines.push_back(cat(line, " ", record.status));
  }
  return lines;
}

}  // namespace fairlead::tests::apiserver
