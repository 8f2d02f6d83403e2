#include "agent/sources.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "base/strings.h"
#include "kube/kubeconfig.h"

namespace fairlead::agent {
namespace {

namespace log = base::log;

// Services and EndpointSlices are what the dataplane is made of; a cluster may well have no ServiceCIDRs.
bool is_essential(kube::Kind kind) { return kind == kube::Kind::Service || kind == kube::Kind::EndpointSlice; }

Result<kube::ClientConfig> client_config(const Options& options) {
  if (!options.kubeconfig.empty()) {
    return kube::load_kubeconfig(options.kubeconfig, {.context = {}, .server = options.master});
  }
  if (!options.master.empty()) {
    kube::ClientConfig config;
    config.server = options.master;
    TRY_CONTEXT(kube::parse_server_url(config.server), "--master");
    return config;
  }
  return kube::in_cluster_config();
}

}  // namespace

Result<std::unique_ptr<Source>> Source::open(base::Loop& loop, const base::Clock& clock, kube::Sink& sink,
                                             const Options& options) {
  std::unique_ptr<Source> source(new Source(clock));
  if (options.manifests.empty()) {
    TRY(source->open_api(loop, clock, sink, options));
  } else {
    TRY(source->open_manifests(loop, sink, options));
  }
  return source;
}

namespace {

// Another directory's files must not be taken for this one's: "/a/b" is "%2Fa%2Fb", and nothing is "..".
std::string folder_name_of(const std::string& directory) {
  std::error_code ignored;
  std::string name;
  for (const char c : std::filesystem::absolute(directory, ignored).lexically_normal().string()) {
    if (c == '/') {
      name += "%2F";
    } else if (c == '%') {
      name += "%25";
    } else {
      name += c;
    }
  }
  return name;
}

}  // namespace

std::string last_good_root(const std::string& state_dir) { return state_dir + "/last-good"; }

Status Source::open_manifests(base::Loop& loop, kube::Sink& sink, const Options& options) {
  kind_ = "manifests";
  where_ = options.manifests;
  kube::ManifestOptions manifest_options;
  manifest_options.directory = options.manifests;
  manifest_options.node_name = options.node_name;
  manifest_options.last_good_directory = last_good_root(options.state_dir) + "/" + folder_name_of(options.manifests);
  manifest_options.on_error = [](const std::string& line) { log::error("cannot use a manifest", {{"err", line}}); };
  manifest_options.on_note = [](const std::string& line) { log::info("manifest", {{"note", line}}); };
  manifests_ = TRY(kube::ManifestSource::open(loop, sink, std::move(manifest_options)));
  return {};
}

Status Source::open_api(base::Loop& loop, const base::Clock& clock, kube::Sink& sink, const Options& options) {
  kube::ClientConfig config = TRY(client_config(options));
  kind_ = "api";
  where_ = config.server;
  http_ = TRY(kube::HttpClient::create(loop, clock, std::move(config)));
  kube::ApiSourceOptions api_options;
  api_options.node_name = options.node_name;
  api_options.after_batch = [this] { note_progress(); };
  api_options.on_error = [this](const kube::ReflectorStatus& status) { note_error(status); };
  api_ = std::make_unique<kube::ApiSource>(loop, clock, *http_, sink, std::move(api_options));
  api_->start();
  return {};
}

// When the server is away all four kinds fail at once, and one line says so.
void Source::note_error(const kube::ReflectorStatus& status) {
  for (const kube::ReflectorStatus& each : api_->status()) {
    if (each.kind == status.kind) break;
    if (each.state == kube::ReflectorState::Waiting) return;
  }
  const std::string kind(kube::to_string(status.kind));
  if (!failure_log_.is_due(kind, status.last_error)) return;
  failing_ = true;
  log::warn("cannot follow the API server, trying again", {{"server", where_}, {"err", status.last_error}});
}

void Source::note_progress() {
  if (!failing_ || !is_connected()) return;
  failing_ = false;
  for (const kube::ReflectorStatus& each : api_->status()) failure_log_.recovered(std::string(to_string(each.kind)));
  log::info("following the API server", {{"server", where_}});
}

bool Source::is_connected() const {
  if (manifests_ != nullptr) {
    const auto errors = manifests_->errors();
    return std::none_of(errors.begin(), errors.end(),
                        [](const kube::ManifestError& each) { return each.file.empty(); });
  }
  const auto statuses = api_->status();
  return std::all_of(statuses.begin(), statuses.end(), [](const kube::ReflectorStatus& each) {
    return !is_essential(each.kind) || each.state == kube::ReflectorState::Watching;
  });
}

SourceStatus Source::status() const {
  SourceStatus status{.kind = kind_, .where = where_, .connected = is_connected(), .errors = {}};
  if (manifests_ != nullptr) {
    for (const kube::ManifestError& each : manifests_->errors()) status.errors.push_back(each.message);
    return status;
  }
  for (const kube::ReflectorStatus& each : api_->status()) {
    const bool well = each.state == kube::ReflectorState::Watching || each.state == kube::ReflectorState::Unserved;
    if (well || each.last_error.empty()) continue;
    status.errors.push_back(base::cat(kube::to_string(each.kind), ": ", each.last_error));
  }
  return status;
}

}  // namespace fairlead::agent
