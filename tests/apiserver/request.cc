#include "tests/apiserver/request.h"

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view find_or_empty(const std::map<std::string, std::string>& map, std::string_view key) {
  const auto it = map.find(std::string(key));
  return it == map.end() ? std::string_view() : std::string_view(it->second);
}

}  // namespace

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return out;
}

std::string_view Request::header(std::string_view name) const { return find_or_empty(headers, name); }
std::string_view Request::param(std::string_view name) const { return find_or_empty(query, name); }
bool Request::flag(std::string_view name) const { return param(name) == "1" || param(name) == "true"; }

void parse_target(std::string_view target, Request& request) {
  const std::size_t mark = target.find('?');
  request.path = std::string(target.substr(0, mark));
  if (mark == target.npos) return;
  for (const std::string_view pair : base::split(target.substr(mark + 1), '&')) {
    const std::size_t equals = pair.find('=');
    if (pair.empty()) continue;
    request.query[percent_decode(pair.substr(0, equals))] =
        equals == pair.npos ? std::string() : percent_decode(pair.substr(equals + 1));
  }
}

std::optional<Encoding> negotiate(std::string_view accept, bool protobuf_enabled) {
  if (base::trim(accept).empty()) return Encoding::Json;
  for (const std::string_view entry : base::split(accept, ',')) {
    const std::string_view type = base::trim(entry.substr(0, entry.find(';')));
    if (type == "application/vnd.kubernetes.protobuf" && protobuf_enabled) return Encoding::Protobuf;
    if (type == "application/json" || type == "*/*" || type == "application/*") return Encoding::Json;
  }
  return std::nullopt;
}

Response status_response(Encoding encoding, const StatusReply& reply) {
  Response response{.status = reply.code, .headers = {}};
  response.headers.emplace_back("content-type", content_type(encoding, false));
  if (reply.retry_after_seconds > 0) {
    response.headers.emplace_back("retry-after", std::to_string(reply.retry_after_seconds));
  }
  response.pieces.push_back(encode_status(encoding, reply));
  return response;
}

Response text_response(int status, std::string text) {
  Response response{.status = status, .headers = {{"content-type", "text/plain; charset=utf-8"}}};
  response.pieces.push_back({.head = std::move(text)});
  return response;
}

Response json_response(int status, const base::Value& value) {
  Response response{.status = status, .headers = {{"content-type", "application/json"}}};
  response.pieces.push_back({.head = base::to_json(value) + "\n"});
  return response;
}

}  // namespace fairlead::tests::apiserver
