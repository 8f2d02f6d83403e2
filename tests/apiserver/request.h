// Request: one decoded HTTP request, and the list/watch options in its query.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apiserver/codec.h"

namespace fairlead::tests::apiserver {

struct Request {
  std::string method;
  std::string path;                            // without the query
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
  std::string client_name;  // CN of a verified client certificate, else empty

  std::string_view header(std::string_view name) const;
  std::string_view param(std::string_view name) const;  // empty when absent
  bool flag(std::string_view name) const;               // "1", "true"
};

// Splits ":path" into path and query.
void parse_target(std::string_view target, Request& request);
std::string percent_decode(std::string_view text);

// The first encoding of an Accept header that the server speaks; nothing: 406.
std::optional<Encoding> negotiate(std::string_view accept, bool protobuf_enabled);

struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::deque<Piece> pieces = {};
  bool keep_open = false;            // a watch: more pieces follow
  std::function<void()> after = {};  // runs once the answer has been handed to the socket
  bool exempt = false;               // from slow and stalled streams (the /test paths, so that a fault can be lifted)
};
Response status_response(Encoding encoding, const StatusReply& reply);
Response text_response(int status, std::string text);
Response json_response(int status, const base::Value& value);

}  // namespace fairlead::tests::apiserver
