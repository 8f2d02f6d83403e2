// What a LIST body and a WATCH stream consist of, in either encoding, and the push decoders that take them apart.
//
// A decoder is fed the body as it arrives and hands out each object as soon as its last byte is there; it holds at most
// one item. Not thread-safe; cost is proportional to the bytes fed. Garbage is an Error that says what and at which
// byte.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kube/objects.h"

namespace fairlead::kube {

enum class Encoding : std::uint8_t { Json, Protobuf };

struct ListMeta {
  std::string resource_version;
  std::string continue_token;  // empty: this was the last page
  bool operator==(const ListMeta&) const = default;
};

// metav1.Status: how the API server says no.
struct ApiStatus {
  int code = 0;
  std::string reason;
  std::string message;
  std::vector<std::string> causes;  // details.causes[].reason
  int retry_after_seconds = 0;      // details.retryAfterSeconds; 0: not given
  bool operator==(const ApiStatus&) const = default;
};

enum class WatchType : std::uint8_t { Added, Modified, Deleted, Bookmark, Error };

struct WatchEvent {
  WatchType type = WatchType::Added;
  std::optional<Object> object;     // Added, Modified, Deleted
  std::string resource_version;     // of the object or of the bookmark
  bool initial_events_end = false;  // Bookmark: everything that existed at the start has been sent
  ApiStatus status;                 // Error
  bool operator==(const WatchEvent&) const = default;
};

struct StreamLimits {
  // etcd refuses objects over 1.5 MiB; ten times that is a broken stream and not an object.
  std::size_t item_bytes = std::size_t{16} << 20;
};

class StreamDecoder {
 public:
  virtual ~StreamDecoder() = default;
  virtual Status feed(std::string_view bytes) = 0;
  // The body ended. An Error if it ended inside something.
  virtual Status finish() = 0;
};

class ListDecoder : public StreamDecoder {
 public:
  // Complete once finish() has succeeded.
  const ListMeta& meta() const { return meta_; }

 protected:
  ListMeta meta_;
};

using OnItem = std::function<void(Object)>;
// False: the reader wants no more; the rest of what was fed is ignored.
using OnEvent = std::function<bool(WatchEvent)>;

std::unique_ptr<ListDecoder> make_list_decoder(Encoding encoding, Kind kind, OnItem on_item, StreamLimits limits = {});
std::unique_ptr<StreamDecoder> make_watch_decoder(Encoding encoding, Kind kind, OnEvent on_event,
                                                  StreamLimits limits = {});

// "application/json", "application/vnd.kubernetes.protobuf;stream=watch"; an Error names any other.
Result<Encoding> encoding_of(std::string_view content_type);

// The body of a refused request. Falls back to the text itself when it is no Status (a proxy's HTML page).
ApiStatus decode_refusal(int http_status, std::string_view content_type, std::string_view body);

// "metadata.annotations" of the bookmark that ends the initial events (KEP-3157).
inline constexpr std::string_view kInitialEventsEndAnnotation = "k8s.io/initial-events-end";

// "ADDED" and so on; nothing for any other word.
std::optional<WatchType> parse_watch_type(std::string_view text);

}  // namespace fairlead::kube
