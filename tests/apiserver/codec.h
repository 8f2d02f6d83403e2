// codec: what surrounds objects on the wire: lists, watch events, bookmarks and Status, in JSON and in protobuf.
//
// An object's bytes are shared, never copied into an envelope: a Piece is head + shared body + tail, so a list of
// ten thousand objects to four watchers holds each encoding once.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/apiserver/object.h"

namespace fairlead::tests::apiserver {

struct Piece {
  std::string head = {};
  SharedText body = {};  // may be null
  std::string tail = {};
  std::size_t size() const { return head.size() + (body ? body->size() : 0) + tail.size(); }
};

// A metav1.Status of kind Failure (or Success for code 200).
struct StatusReply {
  int code = 500;
  std::string reason = {};  // "Expired", "Unauthorized", ...
  std::string message = {};
  int retry_after_seconds = 0;    // 0: none; also the Retry-After header
  std::string cause_reason = {};  // details.causes[0].reason, "ResourceVersionTooLarge"
};
StatusReply unauthorized();
StatusReply forbidden(std::string_view what);
StatusReply not_found(Resource resource, std::string_view name);
StatusReply bad_request(std::string message);
StatusReply invalid(std::string message);
StatusReply expired(std::string_view version, std::uint64_t oldest);
StatusReply too_large(std::uint64_t wanted, std::uint64_t current);
StatusReply too_many_requests(int retry_after_seconds);

base::Value status_value(const StatusReply& reply);

std::string_view content_type(Encoding encoding, bool stream);

Piece encode_object(Encoding encoding, const ApiObject& object);
Piece encode_status(Encoding encoding, const StatusReply& reply);

struct ListHeader {
  std::uint64_t version = 0;
  std::string continue_token;
  std::optional<std::int64_t> remaining;
};
std::deque<Piece> encode_list(Encoding encoding, Resource resource, const ListHeader& header,
                              const std::vector<ObjectPtr>& items);

enum class EventType { Added, Modified, Deleted };
Piece encode_event(Encoding encoding, EventType type, const ApiObject& object);
Piece encode_bookmark(Encoding encoding, Resource resource, std::uint64_t version, bool initial_events_end);
Piece encode_error_event(Encoding encoding, const StatusReply& reply);

}  // namespace fairlead::tests::apiserver
