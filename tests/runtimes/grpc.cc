#include "tests/runtimes/grpc.h"

#include <curl/curl.h>

#include <array>
#include <memory>

#include "base/strings.h"

namespace fairlead::tests::runtimes {
namespace {

using base::cat;

constexpr long kSeconds = 60;
constexpr std::size_t kPrefix = 5;  // compressed flag, length of 32 bits, big-endian

struct Answer {
  std::string body;
  std::string status;  // grpc-status, of the headers or the trailers
  std::string message;
};

std::size_t append_body(const char* data, std::size_t size, std::size_t count, void* body) {
  static_cast<std::string*>(body)->append(data, size * count);
  return size * count;
}

std::size_t take_header(const char* data, std::size_t size, std::size_t count, void* answer) {
  const std::string_view line(data, size * count);
  const auto colon = line.find(": ");
  if (colon != std::string_view::npos) {
    const std::string value(base::trim(line.substr(colon + 2)));
    if (line.substr(0, colon) == "grpc-status") static_cast<Answer*>(answer)->status = value;
    if (line.substr(0, colon) == "grpc-message") static_cast<Answer*>(answer)->message = value;
  }
  return size * count;
}

std::string framed(std::string_view message) {
  const auto size = static_cast<std::uint32_t>(message.size());
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  return out.append(message);
}

}  // namespace

Result<std::string> grpc_call(const std::string& socket, std::string_view method, std::string_view message) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (curl == nullptr) return Error("curl cannot start");
  std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(
      curl_slist_append(nullptr, "content-type: application/grpc"), curl_slist_free_all);
  curl_slist_append(headers.get(), "te: trailers");
  const std::string url = cat("http://localhost/", method);
  const std::string request = framed(message);
  Answer answer;
  std::array<char, CURL_ERROR_SIZE> detail{};
  curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE));
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, request.data());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(request.size()));
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail.data());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERFUNCTION, take_header);
  curl_easy_setopt(curl.get(), CURLOPT_HEADERDATA, &answer);

  const CURLcode result = curl_easy_perform(curl.get());
  if (result != CURLE_OK)
    return Error(cat(method, ": ", detail[0] != '\0' ? detail.data() : curl_easy_strerror(result)));
  if (answer.status != "0") return Error(cat(method, ": status ", answer.status, ": ", answer.message));
  if (answer.body.size() < kPrefix) return Error(cat(method, ": an answer of ", answer.body.size(), " bytes"));
  return answer.body.substr(kPrefix);
}

}  // namespace fairlead::tests::runtimes
