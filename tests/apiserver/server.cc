#include "tests/apiserver/server.h"

#include <csignal>
#include <future>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::Value;

std::string url_host(const std::string& host) { return host.find(':') == host.npos ? host : cat("[", host, "]"); }

std::string line(std::string_view indent, std::string_view key, const std::string& value) {
  return value.empty() ? std::string() : cat(indent, key, ": ", value, "\n");
}

}  // namespace

Result<std::unique_ptr<TestApiServer>> TestApiServer::start(const Options& options) {
  std::unique_ptr<TestApiServer> server(new TestApiServer(options, TRY(make_pki(options.extra_names))));
  server->loop_ = TRY(base::Loop::create());
  server->core_ = TRY(Core::create(*server->loop_, options, server->pki_));
  server->port_ = server->core_->address().port;
  server->thread_ = std::thread([raw = server.get()] {
    // OpenSSL writes with write(2): a client that left must not raise SIGPIPE here.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    raw->loop_->run();
  });
  return server;
}

TestApiServer::~TestApiServer() {
  if (thread_.joinable()) {
    // Posted, so that it is not lost when the loop has not begun to run yet.
    loop_->post([this] { loop_->stop(); });
    thread_.join();
  }
  core_.reset();
}

void TestApiServer::call(const std::function<void(Core&)>& work) {
  std::promise<void> done;
  loop_->post([&] {
    work(*core_);
    done.set_value();
  });
  done.get_future().wait();
}

std::string TestApiServer::url() const {
  const std::size_t colon = options_.listen.rfind(':');
  std::string host = options_.listen.substr(0, colon);
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "[::]") host = "[::1]";
  return cat(options_.tls ? "https://" : "http://", host, ":", port_);
}

std::string TestApiServer::kubeconfig() const {
  KubeconfigOptions options;
  if (!options_.tokens.empty()) options.token = options_.tokens.front();
  options.client_certificate = options_.tokens.empty() && options_.client_certificates;
  return kubeconfig(options);
}

std::string TestApiServer::kubeconfig(const KubeconfigOptions& options) const {
  const std::string url_text =
      options.host.empty() ? url() : cat(options_.tls ? "https://" : "http://", url_host(options.host), ":", port_);
  const std::string ca = options_.tls ? base64(options.ca_pem.empty() ? pki_.ca_pem : options.ca_pem) : std::string();
  std::string user = line("    ", "token", options.token) + line("    ", "tokenFile", options.token_file);
  if (options.client_certificate) {
    user += line("    ", "client-certificate-data", base64(pki_.client.certificate_pem)) +
            line("    ", "client-key-data", base64(pki_.client.key_pem));
  }
  return cat("apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n",
             line("    ", "server", url_text), line("    ", "certificate-authority-data", ca),
             line("    ", "tls-server-name", options.server_name), line("    ", "proxy-url", options.proxy_url),
             "users:\n- name: test\n  user:", user.empty() ? " {}\n" : "\n", user,
             "contexts:\n- name: test\n  context:\n    cluster: test\n    user: test\n");
}

Result<std::uint64_t> TestApiServer::change(const std::function<Status(Core&)>& work) {
  Status status;
  std::uint64_t version = 0;
  call([&](Core& core) {
    status = work(core);
    version = core.cluster().version();
  });
  if (!status) return std::move(status).error();
  return version;
}

Result<std::uint64_t> TestApiServer::load(std::vector<Manifest> manifests) {
  return change([&](Core& core) { return core.load(std::move(manifests)); });
}

Result<std::uint64_t> TestApiServer::load_yaml(std::string_view text) { return load(TRY(parse_manifests(text))); }

Result<std::uint64_t> TestApiServer::upsert(Resource resource, Value value) {
  std::vector<Manifest> one;
  one.push_back({resource, std::move(value)});
  return load(std::move(one));
}

std::uint64_t TestApiServer::erase(Resource resource, kube::Key key) {
  std::uint64_t version = 0;
  call([&](Core& core) {
    core.cluster().erase(resource, key);
    version = core.cluster().version();
  });
  return version;
}

Result<std::uint64_t> TestApiServer::set_endpoints(const std::string& ns, const std::string& service,
                                                   const std::vector<EndpointSpec>& endpoints) {
  return change([&](Core& core) { return core.set_endpoints(ns, service, endpoints); });
}

Result<std::uint64_t> TestApiServer::set_label(Resource resource, const kube::Key& key, const std::string& label,
                                               const char* value) {
  Value changed;
  call([&](Core& core) {
    if (const ObjectPtr existing = core.cluster().find(resource, key)) changed = existing->value();
  });
  if (changed.is_null()) return Error(cat("no ", info(resource).kind, " ", key.to_string()));
  Value& labels = member(member(changed, "metadata"), "labels");
  if (value != nullptr) {
    member(labels, label) = Value(value);
  } else {
    remove_member(labels, label);
  }
  return upsert(resource, std::move(changed));
}

std::uint64_t TestApiServer::version() {
  std::uint64_t version = 0;
  call([&](Core& core) { version = core.cluster().version(); });
  return version;
}

Status TestApiServer::set_faults(const Faults& faults) {
  Status status;
  call([&](Core& core) { status = core.set_faults(faults); });
  return status;
}

void TestApiServer::break_now(Break what) {
  call([&](Core& core) { core.break_now(what); });
}
void TestApiServer::compact() {
  call([](Core& core) { core.compact(); });
}
void TestApiServer::restart(std::uint64_t first_version) {
  call([&](Core& core) { core.restart(first_version); });
}
void TestApiServer::set_tokens(std::vector<std::string> tokens) {
  call([&](Core& core) { core.api().set_tokens(std::move(tokens)); });
}
void TestApiServer::advance_version() {
  call([](Core& core) { core.cluster().advance(); });
}
void TestApiServer::send_bookmarks() {
  call([](Core& core) { core.api().send_bookmarks(); });
}

Stats TestApiServer::stats() {
  Stats stats;
  call([&](Core& core) { stats = core.stats(); });
  return stats;
}

std::vector<RequestRecord> TestApiServer::requests() {
  std::vector<RequestRecord> records;
  call([&](Core& core) { records.assign(core.api().requests().begin(), core.api().requests().end()); });
  return records;
}

std::vector<std::string> TestApiServer::events() {
  std::vector<std::string> bodies;
  call([&](Core& core) { bodies.assign(core.api().events().begin(), core.api().events().end()); });
  return bodies;
}

}  // namespace fairlead::tests::apiserver
