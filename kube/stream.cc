#include "kube/stream.h"

#include <utility>

#include "base/strings.h"
#include "kube/json_stream.h"
#include "kube/proto_stream.h"

namespace fairlead::kube {

using base::cat;

std::unique_ptr<ListDecoder> make_list_decoder(Encoding encoding, Kind kind, OnItem on_item, StreamLimits limits) {
  if (encoding == Encoding::Json) return std::make_unique<JsonListDecoder>(kind, std::move(on_item), limits);
  return std::make_unique<ProtoListDecoder>(kind, std::move(on_item), limits);
}

std::unique_ptr<StreamDecoder> make_watch_decoder(Encoding encoding, Kind kind, OnEvent on_event, StreamLimits limits) {
  if (encoding == Encoding::Json) return std::make_unique<JsonWatchDecoder>(kind, std::move(on_event), limits);
  return std::make_unique<ProtoWatchDecoder>(kind, std::move(on_event), limits);
}

Result<Encoding> encoding_of(std::string_view content_type) {
  const std::string_view media_type = base::trim(content_type.substr(0, content_type.find(';')));
  if (media_type == "application/json") return Encoding::Json;
  if (media_type == "application/vnd.kubernetes.protobuf") return Encoding::Protobuf;
  return Error(cat("content type \"", content_type.substr(0, 80),
                   "\" is neither application/json nor application/vnd.kubernetes.protobuf"));
}

ApiStatus decode_refusal(int http_status, std::string_view content_type, std::string_view body) {
  ApiStatus status;
  const auto encoding = encoding_of(content_type);
  if (encoding && *encoding == Encoding::Protobuf) {
    const auto envelope = parse_envelope(body);
    if (envelope && envelope->kind == "Status") {
      if (auto decoded = ProtoDecoder().status(envelope->raw)) status = std::move(*decoded);
    }
  } else if (encoding) {
    const auto value = base::parse_json(body);
    if (value && value->as_object() != nullptr) status = status_from_json(*value);
  }
  status.code = http_status;
  if (status.message.empty() && status.reason.empty()) status.message = base::trim(body).substr(0, 200);
  return status;
}

std::optional<WatchType> parse_watch_type(std::string_view text) {
  if (text == "ADDED") return WatchType::Added;
  if (text == "MODIFIED") return WatchType::Modified;
  if (text == "DELETED") return WatchType::Deleted;
  if (text == "BOOKMARK") return WatchType::Bookmark;
  if (text == "ERROR") return WatchType::Error;
  return std::nullopt;
}

}  // namespace fairlead::kube
