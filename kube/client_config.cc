#include "kube/client_config.h"

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "net/ip.h"

namespace fairlead::kube {

using base::cat;

Result<std::string> read_pem(const Pem& pem) {
  constexpr std::size_t kLargest = std::size_t{16} << 20;
  if (!pem.data.empty()) return pem.data;
  return base::read_file(pem.file, kLargest);
}

std::string ServerUrl::authority() const {
  return host.find(':') == host.npos ? cat(host, ":", port) : cat("[", host, "]:", port);
}

bool ServerUrl::is_loopback() const {
  if (host == "localhost") return true;
  const auto ip = net::Ip::parse(host);
  return ip && ip->is_loopback();
}

Result<ServerUrl> parse_server_url(std::string_view text) {
  const auto wrong = [text](std::string_view why) {
    return Error(cat("\"", text, "\" is not a server URL (https://host[:port][/path]): ", why));
  };
  ServerUrl url;
  std::string_view rest = text;
  if (rest.substr(0, 8) == "https://") {
    rest.remove_prefix(8);
  } else if (rest.substr(0, 7) == "http://") {
    rest.remove_prefix(7);
    url.tls = false;
    url.port = 80;
  } else {
    return wrong("it begins with neither https:// nor http://");
  }
  if (rest.find_first_of("?#@ \t\r\n") != rest.npos) return wrong("it holds a '?', '#', '@' or white space");
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  url.path = rest.substr(slash);
  while (!url.path.empty() && url.path.back() == '/') url.path.pop_back();
  std::string_view authority = rest.substr(0, slash);

  const std::size_t colon = authority.rfind(':');
  const bool bracketed = !authority.empty() && authority.front() == '[';
  const std::size_t bracket = authority.find(']');
  if (bracketed && bracket == authority.npos) return wrong("a bracket is not closed");
  if (colon != authority.npos && (!bracketed || colon > bracket)) {
    const auto port = base::parse_number<std::uint16_t>(authority.substr(colon + 1));
    if (!port || *port == 0) return wrong("the port is not in 1-65535");
    url.port = *port;
    authority = authority.substr(0, colon);
  }
  if (bracketed) {
    if (authority.size() != bracket + 1) return wrong("something follows the bracket");
    authority = authority.substr(1, authority.size() - 2);
    if (!net::Ip::parse(authority)) return wrong("the brackets hold no IPv6 address");
  } else if (authority.find(':') != authority.npos) {
    return wrong("an IPv6 address needs brackets");
  }
  if (authority.empty()) return wrong("the host is missing");
  url.host = authority;
  return url;
}

std::string without_credentials(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const std::size_t begin = scheme == url.npos ? 0 : scheme + 3;
  const std::size_t at = url.substr(0, url.find('/', begin)).rfind('@');
  if (at == url.npos || at < begin) return std::string(url);
  return cat(url.substr(0, begin), url.substr(at + 1));
}

}  // namespace fairlead::kube
