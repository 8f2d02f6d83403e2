#include "ctl/http.h"

#include <curl/curl.h>

#include <array>
#include <memory>

#include "base/strings.h"

namespace fairlead::ctl {
namespace {

constexpr long kSeconds = 30;

std::size_t append_body(const char* data, std::size_t size, std::size_t count, void* body) {
  static_cast<std::string*>(body)->append(data, size * count);
  return size * count;
}

}  // namespace

Result<std::string> get(const std::string& socket, const std::string& path) {
  const std::string context = "cannot reach the agent at " + socket;
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (curl == nullptr) return Error(context + ": curl cannot start");
  std::string body;
  std::array<char, CURL_ERROR_SIZE> detail{};
  const std::string url = "http://agent" + path;
  curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");  // whatever http_proxy says
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail.data());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);

  const CURLcode result = curl_easy_perform(curl.get());
  if (result == CURLE_COULDNT_CONNECT) {
    long number = 0;
    curl_easy_getinfo(curl.get(), CURLINFO_OS_ERRNO, &number);
    if (number != 0) return Error::from_errno(context, static_cast<int>(number));
  }
  if (result != CURLE_OK) {
    return Error(base::cat(context, ": ", detail[0] != '\0' ? detail.data() : curl_easy_strerror(result)));
  }
  long code = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &code);
  if (code != 200) return Error(base::cat(context, ": it answered ", code, " to ", path));
  return body;
}

}  // namespace fairlead::ctl
