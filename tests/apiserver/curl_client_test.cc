#include "tests/apiserver/curl_client.h"

#include <curl/curl.h>

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

struct Transfer {
  Reply reply;
  const std::function<bool(const std::string&)>* until = nullptr;
  bool satisfied = false;
};

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.reply.body.append(data, size);
  if (transfer.until != nullptr && (*transfer.until)(transfer.reply.body)) {
    transfer.satisfied = true;
    return 0;  // ends the transfer
  }
  return size;
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) {
  const std::string_view line = base::trim(std::string_view(data, size));
  const std::size_t colon = line.find(": ");
  if (colon != line.npos) {
    static_cast<Transfer*>(user)->reply.headers.emplace(line.substr(0, colon), line.substr(colon + 2));
  }
  return size;
}

curl_blob blob(const std::string& text) { return {const_cast<char*>(text.data()), text.size(), CURL_BLOB_COPY}; }

void set_blob(CURL* curl, CURLoption option, const std::string& text) {
  curl_blob value = blob(text);
  curl_easy_setopt(curl, option, &value);
}

}  // namespace

CurlClient::CurlClient(const TestApiServer& server, Identity identity)
    : server_(server), identity_(std::move(identity)), handle_(curl_easy_init(), &curl_easy_cleanup) {}

CurlClient::~CurlClient() = default;

Reply CurlClient::get(const std::string& path, const std::string& accept) {
  return perform("GET", path, accept, nullptr, nullptr);
}

Reply CurlClient::send(const std::string& method, const std::string& path, const std::string& body) {
  return perform(method, path, "application/json", &body, nullptr);
}

Reply CurlClient::stream(const std::string& path, const std::function<bool(const std::string&)>& until,
                         const std::string& accept) {
  return perform("GET", path, accept, nullptr, &until);
}

Reply CurlClient::perform(const std::string& method, const std::string& path, const std::string& accept,
                          const std::string* body, const std::function<bool(const std::string&)>* until) {
  CURL* curl = handle_.get();
  curl_easy_reset(curl);
  Transfer transfer;
  transfer.until = until;
  std::string url = server_.url() + path;
  if (!identity_.host.empty()) {
    const bool tls = url.starts_with("https://");
    url = base::cat(tls ? "https://" : "http://", identity_.host, ":", server_.port(), path);
  }
  curl_slist* headers = curl_slist_append(nullptr, base::cat("Accept: ", accept).c_str());
  if (!identity_.token.empty()) {
    headers = curl_slist_append(headers, base::cat("Authorization: Bearer ", identity_.token).c_str());
  }
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(patience_.count()));
  const bool tls = url.starts_with("https://");
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
  set_blob(curl, CURLOPT_CAINFO_BLOB, identity_.ca_pem.empty() ? server_.pki().ca_pem : identity_.ca_pem);
  if (identity_.client_certificate) {
    set_blob(curl, CURLOPT_SSLCERT_BLOB, server_.pki().client.certificate_pem);
    set_blob(curl, CURLOPT_SSLKEY_BLOB, server_.pki().client.key_pem);
  }
  if (body != nullptr) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body->size()));
  }
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  const CURLcode code = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  long status = 0;
  long version = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &version);
  transfer.reply.status = static_cast<int>(status);
  transfer.reply.http_version = version == CURL_HTTP_VERSION_2_0 ? 2 : 1;
  transfer.reply.ended = code == CURLE_OK;
  if (code != CURLE_OK && !transfer.satisfied) transfer.reply.error = curl_easy_strerror(code);
  return transfer.reply;
}

std::vector<std::string> watch_events(const std::string& body) {
  std::vector<std::string> events;
  for (const std::string_view line : base::split(body, '\n')) {
    const auto value = base::parse_json(line);
    if (!value) continue;  // the last one, half there
    const std::string& type = *(*value)["type"].as_string();
    const base::Value& object = (*value)["object"];
    const base::Value& meta = object["metadata"];
    if (type == "ERROR") {
      events.push_back(base::cat(type, " ", *object["code"].as_int(), " ", *object["reason"].as_string()));
    } else if (type == "BOOKMARK") {
      events.push_back(base::cat(type, " ", *meta["resourceVersion"].as_string()));
    } else {
      const std::string* ns = meta["namespace"].as_string();
      events.push_back(base::cat(type, " ", ns != nullptr ? *ns + "/" : std::string(), *meta["name"].as_string()));
    }
  }
  return events;
}

}  // namespace fairlead::tests::apiserver
