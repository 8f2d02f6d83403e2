#include "tests/apiserver/codec.h"

#include "base/strings.h"

namespace fairlead::tests::apiserver {
namespace {

using base::cat;
using base::Value;

// "k8s\0", then runtime.Unknown{typeMeta, raw, contentEncoding "", contentType ""}
// (k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go).
constexpr std::string_view kMagic{"k8s\0", 4};
constexpr std::string_view kUnknownTail{"\x1a\0\x22\0", 4};

std::string envelope_head(std::string_view api_version, std::string_view kind, std::size_t raw_size) {
  std::string meta;
  put_length_delimited(meta, 1, api_version);
  put_length_delimited(meta, 2, kind);
  std::string head(kMagic);
  put_length_delimited(head, 1, meta);
  put_varint(head, (2 << 3) | 2);
  put_varint(head, raw_size);
  return head;
}

std::string json_type(std::string_view api_version, std::string_view kind) {
  return cat("{\"kind\":\"", kind, "\",\"apiVersion\":\"", api_version, "\",");
}

// One frame of a watch: 4 bytes of length, big-endian, then WatchEvent{type, object: RawExtension{raw: envelope}}.
Piece protobuf_event(std::string_view type, std::string_view api_version, std::string_view kind, SharedText raw) {
  const std::string envelope = envelope_head(api_version, kind, raw->size());
  const std::size_t envelope_size = envelope.size() + raw->size() + kUnknownTail.size();
  const std::size_t extension_size = 1 + varint_size(envelope_size) + envelope_size;
  std::string event;
  put_length_delimited(event, 1, type);
  put_varint(event, (2 << 3) | 2);
  put_varint(event, extension_size);
  put_varint(event, (1 << 3) | 2);
  put_varint(event, envelope_size);
  event.append(envelope);
  const std::size_t total = event.size() + raw->size() + kUnknownTail.size();
  Piece piece{.head = {}, .body = std::move(raw), .tail = std::string(kUnknownTail)};
  for (int shift = 24; shift >= 0; shift -= 8) piece.head.push_back(static_cast<char>((total >> shift) & 0xff));
  piece.head.append(event);
  return piece;
}

Piece watch_event(Encoding encoding, std::string_view type, std::string_view api_version, std::string_view kind,
                  SharedText body) {
  if (encoding == Encoding::Protobuf) return protobuf_event(type, api_version, kind, std::move(body));
  return {.head = cat("{\"type\":\"", type, "\",\"object\":", json_type(api_version, kind)),
          .body = std::move(body),
          .tail = "}\n"};
}

// In the form ApiObject::encoded() has.
SharedText encode_body(Encoding encoding, const Value& value, const Message& message) {
  std::string text;
  if (encoding == Encoding::Protobuf) {
    auto bytes = encode_protobuf(value, message);  // built here, so its types are right
    if (bytes) text = std::move(*bytes);
  } else {
    append_json(text, value);
    text.erase(0, 1);
  }
  return std::make_shared<const std::string>(std::move(text));
}

Value list_meta(const ListHeader& header) {
  Value meta;
  meta.set("resourceVersion", Value(std::to_string(header.version)));
  if (!header.continue_token.empty()) meta.set("continue", Value(header.continue_token));
  if (header.remaining) meta.set("remainingItemCount", Value(*header.remaining));
  return meta;
}

std::string reason_of(int code) {
  switch (code) {
    case 500: return "InternalError";
    case 503: return "ServiceUnavailable";
    default: return "";
  }
}

}  // namespace

StatusReply unauthorized() { return {.code = 401, .reason = "Unauthorized", .message = "Unauthorized"}; }
StatusReply forbidden(std::string_view what) {
  return {.code = 403, .reason = "Forbidden", .message = cat("forbidden: User cannot ", what)};
}
StatusReply not_found(Resource resource, std::string_view name) {
  return {.code = 404, .reason = "NotFound", .message = cat(info(resource).plural, " \"", name, "\" not found")};
}
StatusReply bad_request(std::string message) {
  return {.code = 400, .reason = "BadRequest", .message = std::move(message)};
}
StatusReply invalid(std::string message) { return {.code = 422, .reason = "Invalid", .message = std::move(message)}; }
StatusReply expired(std::string_view version, std::uint64_t oldest) {
  return {.code = 410, .reason = "Expired", .message = cat("too old resource version: ", version, " (", oldest, ")")};
}
StatusReply too_large(std::uint64_t wanted, std::uint64_t current) {
  return {.code = 504,
          .reason = "Timeout",
          .message = cat("Timeout: Too large resource version: ", wanted, ", current: ", current),
          .retry_after_seconds = 1,
          .cause_reason = "ResourceVersionTooLarge"};
}
StatusReply too_many_requests(int retry_after_seconds) {
  return {.code = 429,
          .reason = "TooManyRequests",
          .message = "Too many requests, please try again later.",
          .retry_after_seconds = retry_after_seconds};
}

Value status_value(const StatusReply& reply) {
  Value status;
  status.set("metadata", Value(Value::Object()));
  status.set("status", Value(reply.code < 400 ? "Success" : "Failure"));
  status.set("message", Value(reply.message));
  status.set("reason", Value(reply.reason.empty() ? reason_of(reply.code) : reply.reason));
  if (reply.retry_after_seconds > 0 || !reply.cause_reason.empty()) {
    Value details;
    if (!reply.cause_reason.empty()) {
      Value cause;
      cause.set("reason", Value(reply.cause_reason)).set("message", Value("Too large resource version"));
      details.set("causes", Value(Value::Array{std::move(cause)}));
    }
    details.set("retryAfterSeconds", Value(reply.retry_after_seconds));
    status.set("details", std::move(details));
  }
  status.set("code", Value(reply.code));
  return status;
}

std::string_view content_type(Encoding encoding, bool stream) {
  if (encoding == Encoding::Json) return "application/json";
  return stream ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/vnd.kubernetes.protobuf";
}

Piece encode_object(Encoding encoding, const ApiObject& object) {
  const ResourceInfo& about = info(object.resource());
  const SharedText& body = object.encoded(encoding);
  if (encoding == Encoding::Json) return {.head = json_type(about.api_version, about.kind), .body = body, .tail = "\n"};
  return {.head = envelope_head(about.api_version, about.kind, body->size()),
          .body = body,
          .tail = std::string(kUnknownTail)};
}

Piece encode_status(Encoding encoding, const StatusReply& reply) {
  SharedText body = encode_body(encoding, status_value(reply), status_message());
  if (encoding == Encoding::Json) return {.head = json_type("v1", "Status"), .body = std::move(body), .tail = "\n"};
  std::string head = envelope_head("v1", "Status", body->size());
  return {.head = std::move(head), .body = std::move(body), .tail = std::string(kUnknownTail)};
}

std::deque<Piece> encode_list(Encoding encoding, Resource resource, const ListHeader& header,
                              const std::vector<ObjectPtr>& items) {
  const ResourceInfo& about = info(resource);
  const std::string kind = cat(about.kind, "List");
  std::deque<Piece> pieces(1);  // the head comes last, when the size is known
  if (encoding == Encoding::Json) {
    pieces[0].head = cat(json_type(about.api_version, kind), "\"metadata\":");
    append_json(pieces[0].head, list_meta(header));
    pieces[0].head.append(",\"items\":[");
    for (const ObjectPtr& item : items) {
      pieces.push_back({.head = &item == items.data() ? "{" : ",{", .body = item->encoded(encoding)});
    }
    pieces.push_back({.head = "]}\n"});
    return pieces;
  }
  std::string meta;
  put_length_delimited(meta, 1, *encode_body(encoding, list_meta(header), list_meta_message()));
  std::size_t raw_size = meta.size();
  for (const ObjectPtr& item : items) {
    Piece piece{.head = {}, .body = item->encoded(encoding)};
    put_varint(piece.head, (2 << 3) | 2);
    put_varint(piece.head, piece.body->size());
    raw_size += piece.size();
    pieces.push_back(std::move(piece));
  }
  pieces[0].head = envelope_head(about.api_version, kind, raw_size).append(meta);
  pieces.push_back({.head = std::string(kUnknownTail)});
  return pieces;
}

Piece encode_event(Encoding encoding, EventType type, const ApiObject& object) {
  constexpr std::string_view kNames[] = {"ADDED", "MODIFIED", "DELETED"};
  const ResourceInfo& about = info(object.resource());
  return watch_event(encoding, kNames[static_cast<std::size_t>(type)], about.api_version, about.kind,
                     object.encoded(encoding));
}

Piece encode_bookmark(Encoding encoding, Resource resource, std::uint64_t version, bool initial_events_end) {
  const ResourceInfo& about = info(resource);
  Value meta;
  meta.set("resourceVersion", Value(std::to_string(version)));
  meta.set("creationTimestamp", Value());
  if (initial_events_end) {
    Value annotations;
    annotations.set("k8s.io/initial-events-end", Value("true"));
    meta.set("annotations", std::move(annotations));
  }
  Value object;
  object.set("metadata", std::move(meta));
  return watch_event(encoding, "BOOKMARK", about.api_version, about.kind,
                     encode_body(encoding, object, about.message()));
}

Piece encode_error_event(Encoding encoding, const StatusReply& reply) {
  return watch_event(encoding, "ERROR", "v1", "Status", encode_body(encoding, status_value(reply), status_message()));
}

}  // namespace fairlead::tests::apiserver
