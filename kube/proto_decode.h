// ProtoDecoder: one protobuf message of the Kubernetes API -> plain values, through protobuf-lite on a reused arena.
//
// The same lenient reading as decode.h: an address that cannot be read is left out, never the object. One per stream;
// not thread-safe. Memory: one item's message, released after each call.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kube/stream.h"

namespace fairlead::kube {

// "k8s\0" + runtime.Unknown: how every single object and every list is wrapped.
inline constexpr std::string_view kProtoMagic{"k8s\0", 4};
struct Envelope {
  std::string_view kind;
  std::string_view raw;
};
Result<Envelope> parse_envelope(std::string_view bytes);

class ProtoDecoder {
 public:
  ProtoDecoder();
  ~ProtoDecoder();

  Result<Object> object(Kind kind, std::string_view message);
  Result<ListMeta> list_meta(std::string_view message);
  Result<ApiStatus> status(std::string_view message);
  // One frame of a watch stream, without its length: metav1.WatchEvent.
  Result<WatchEvent> watch_event(Kind kind, std::string_view frame);

 private:
  template <typename Message>
  Result<const Message*> parse(std::string_view bytes, std::string_view name);
  template <typename Message>
  Result<Object> convert_one(Kind kind, std::string_view message);
  Status bookmark(std::string_view message, WatchEvent& event);

  struct Arena;
  std::unique_ptr<Arena> arena_;
};

}  // namespace fairlead::kube
