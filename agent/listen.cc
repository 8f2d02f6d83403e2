#include "agent/listen.h"

#include "base/strings.h"

namespace fairlead::agent {

std::optional<Listen> parse_listen(std::string_view text, std::uint16_t default_port) {
  if (const auto address = net::Ip::parse_sloppy(text)) return Listen{*address, default_port};
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = net::Ip::parse_sloppy(host);
  const auto port = base::parse_number<std::uint16_t>(text.substr(colon + 1));
  if (!address || !port || bracketed == address->is_v4()) return std::nullopt;
  return Listen{*address, *port};
}

}  // namespace fairlead::agent
