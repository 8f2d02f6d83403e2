#include "kube/kubeconfig.h"

#include <cstdlib>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "kube/base64.h"
#include "kube/yaml.h"

namespace fairlead::kube {
namespace {

using base::cat;
using base::Value;

// A value and where it stands in the file.
struct Place {
  const Value& value;
  std::string path;
  const std::string& file;
  int line;  // of the nearest thing that has one

  Place member(std::string_view name) const {
    const Value& inner = value[name];
    return {inner, path.empty() ? std::string(name) : cat(path, ".", name), file, inner.line > 0 ? inner.line : line};
  }
  Error error(std::string_view what) const { return Error(cat(file, ": line ", line, ": ", path, ": ", what)); }
  bool absent() const { return value.is_null(); }

  Result<std::string> text() const {
    if (absent()) return std::string();
    if (const std::string* found = value.as_string()) return *found;
    return error(cat("is ", value.type_name(), " where a string is expected"));
  }
  Result<bool> boolean() const {
    if (absent()) return false;
    if (const bool* found = value.as_bool()) return *found;
    return error(cat("is ", value.type_name(), " where true or false is expected"));
  }
};

std::string absolute(const std::string& file, const std::string& path) {
  if (path.empty() || path.front() == '/') return path;
  const std::size_t slash = file.rfind('/');
  return slash == file.npos ? path : cat(std::string_view(file).substr(0, slash + 1), path);
}

// The entry of a list of {name, <what>} whose name is `name`.
Result<Place> named_entry(const Place& root, std::string_view list_name, std::string_view what,
                          const std::string& name) {
  const Place list = root.member(list_name);
  const Value::Array* items = list.value.as_array();
  if (items == nullptr && !list.absent()) {
    return list.error(cat("is ", list.value.type_name(), " where a list is expected"));
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; items != nullptr && i < items->size(); ++i) {
    const Value& item = (*items)[i];
    const Place entry{item, cat(list_name, "[", i, "]"), root.file, item.line > 0 ? item.line : list.line};
    const Place entry_name = entry.member("name");
    names.push_back(TRY(entry_name.text()));
    if (names.back() != name) continue;
    Place found = entry.member(what);
    if (found.value.as_object() != nullptr) return found;
    // "user: {}" and a missing user are the same: nobody in particular.
    if (found.absent()) return found;
    return found.error(cat("is ", found.value.type_name(), " where an object is expected"));
  }
  const std::string there = names.empty() ? "there is none" : cat("there are: ", base::join(names, ", "));
  return list.error(cat("no entry is named \"", name, "\"; ", there));
}

// <field>-data (base64) goes before <field> (a path).
Result<Pem> pem(const Place& parent, std::string_view field) {
  Pem out;
  const Place data = parent.member(cat(field, "-data"));
  const Place file = parent.member(field);
  const std::string encoded = TRY(data.text());
  out.file = absolute(parent.file, TRY(file.text()));
  if (encoded.empty()) return out;
  const auto decoded = decode_base64(encoded);
  if (!decoded) return data.error("is not base64");
  if (decoded->find("-----BEGIN") == decoded->npos) return data.error("holds no PEM block (-----BEGIN ...)");
  out.data = *decoded;
  out.file.clear();
  return out;
}

Status read_cluster(const Place& cluster, const KubeconfigOptions& options, ClientConfig& config) {
  const Place server = cluster.member("server");
  config.server = options.server.empty() ? TRY(server.text()) : options.server;
  if (config.server.empty()) return server.error("is missing (https://host:port)");
  if (const auto url = parse_server_url(config.server); !url) return server.error(url.error().message());
  config.ca = TRY(pem(cluster, "certificate-authority"));
  const Place insecure = cluster.member("insecure-skip-tls-verify");
  config.insecure_skip_tls_verify = TRY(insecure.boolean());
  if (config.insecure_skip_tls_verify && !config.ca.empty()) {
    return insecure.error("is true although a certificate-authority is given; remove one of them");
  }
  const Place name = cluster.member("tls-server-name");
  config.tls_server_name = TRY(name.text());
  const Place proxy = cluster.member("proxy-url");
  config.proxy_url = TRY(proxy.text());
  if (config.proxy_url.empty()) return {};
  for (const std::string_view scheme : {"http://", "https://", "socks5://", "socks5h://"}) {
    if (config.proxy_url.compare(0, scheme.size(), scheme) == 0) return {};
  }
  return proxy.error(cat("\"", config.proxy_url, "\" is not a proxy URL (http, https, socks5 or socks5h)"));
}

Status read_user(const Place& user, ClientConfig& config) {
  for (const std::string_view name :
       {"exec", "auth-provider", "as", "as-uid", "as-groups", "as-user-extra", "username", "password"}) {
    const Place field = user.member(name);
    if (field.absent()) continue;
    const std::string_view what = name == "exec" ? "credential plugins are" : "this field is";
    return field.error(cat(what, " not supported; use token, tokenFile or a client certificate"));
  }
  config.client_certificate = TRY(pem(user, "client-certificate"));
  config.client_key = TRY(pem(user, "client-key"));
  if (config.client_certificate.empty() != config.client_key.empty()) {
    return user.error(config.client_key.empty() ? "client-certificate is given without client-key"
                                                : "client-key is given without client-certificate");
  }
  const Place token = user.member("token");
  const Place token_file = user.member("tokenFile");
  config.token = base::trim(TRY(token.text()));
  config.token_file = absolute(user.file, TRY(token_file.text()));
  return {};
}

std::optional<std::string> environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace

Result<ClientConfig> load_kubeconfig(const std::string& path, const KubeconfigOptions& options) {
  constexpr std::size_t kLargest = std::size_t{16} << 20;
  const std::string text = TRY_CONTEXT(base::read_file(path, kLargest), "kubeconfig");
  return parse_kubeconfig(text, path, options);
}

Result<ClientConfig> parse_kubeconfig(std::string_view text, const std::string& path,
                                      const KubeconfigOptions& options) {
  const std::vector<Value> documents = TRY_CONTEXT(parse_yaml(text), path);
  if (documents.size() != 1 || documents.front().as_object() == nullptr) {
    return Error(cat(path, ": is not a kubeconfig (one YAML object)"));
  }
  const Place root{documents.front(), "", path, 1};
  const Place kind = root.member("kind");
  const std::string kind_name = TRY(kind.text());
  if (!kind_name.empty() && kind_name != "Config") return kind.error(cat("\"", kind_name, "\" is not Config"));

  const Place current = root.member("current-context");
  const std::string context_name = options.context.empty() ? TRY(current.text()) : options.context;
  if (context_name.empty()) return current.error("is missing, and no context was chosen");
  const Place context = TRY(named_entry(root, "contexts", "context", context_name));
  const Place cluster_field = context.member("cluster");
  const Place user_field = context.member("user");
  const std::string cluster_name = TRY(cluster_field.text());
  const std::string user_name = TRY(user_field.text());
  if (cluster_name.empty()) return cluster_field.error("is missing");

  ClientConfig config;
  const Place cluster = TRY(named_entry(root, "clusters", "cluster", cluster_name));
  TRY(read_cluster(cluster, options, config));
  if (user_name.empty()) return config;
  const Place user = TRY(named_entry(root, "users", "user", user_name));
  TRY(read_user(user, config));
  return config;
}

Result<ClientConfig> in_cluster_config(const PodEnvironment& environment) {
  const auto variable = [&](const char* name) {
    const auto value = environment.variable ? environment.variable(name) : environment_variable(name);
    return value.value_or("");
  };
  const std::string host = variable("KUBERNETES_SERVICE_HOST");
  const std::string port = variable("KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return Error(
        "in-cluster identity: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set; "
        "outside a pod give --kubeconfig");
  }
  const bool is_v6 = host.find(':') != host.npos;
  ClientConfig config;
  config.server = is_v6 ? cat("https://[", host, "]:", port) : cat("https://", host, ":", port);
  TRY_CONTEXT(parse_server_url(config.server), "in-cluster identity: KUBERNETES_SERVICE_HOST and _PORT");
  config.ca.file = cat(environment.directory, "/ca.crt");
  config.token_file = cat(environment.directory, "/token");
  for (const std::string& file : {config.ca.file, config.token_file}) {
    const std::string content = TRY_CONTEXT(base::read_file(file), "in-cluster identity");
    if (base::trim(content).empty()) return Error(cat("in-cluster identity: ", file, " is empty"));
  }
  return config;
}

}  // namespace fairlead::kube
