// Push decoders for protobuf: LIST bodies ("k8s\0" + runtime.Unknown + XxxList) and watch streams (4 bytes of length,
// big-endian, then a WatchEvent). An item that lies whole in one fed chunk is decoded in place.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "kube/proto_decode.h"
#include "kube/stream.h"

namespace fairlead::kube {

class ProtoListDecoder final : public ListDecoder {
 public:
  ProtoListDecoder(Kind kind, OnItem on_item, StreamLimits limits);
  Status feed(std::string_view bytes) override;
  Status finish() override;

 private:
  enum class State : std::uint8_t { Magic, Tag, Value, Length, Payload, Skip };

  Status step(std::string_view& rest);
  Status tag_complete();
  Status length_complete();
  Status payload_complete(std::string_view payload);
  Status value_complete();
  bool varint_complete(std::string_view& rest, bool& complete);
  std::string_view take(std::string_view& rest, std::uint64_t count);
  Error error(std::string_view what) const;

  Kind kind_;
  OnItem on_item_;
  StreamLimits limits_;
  ProtoDecoder decoder_;

  State state_ = State::Magic;
  std::uint64_t offset_ = 0;    // bytes consumed so far
  std::uint64_t field_at_ = 0;  // where the field being read begins, for errors
  std::uint64_t varint_ = 0;    // the tag, number or length being read
  unsigned varint_shift_ = 0;
  std::uint32_t field_ = 0;   // whose value or payload is being read
  std::uint64_t wanted_ = 0;  // bytes of it still to come
  bool in_list_ = false;      // inside Unknown.raw
  bool seen_list_ = false;
  std::uint64_t list_left_ = 0;  // bytes of Unknown.raw still to come
  std::string buffer_;           // a payload that came in pieces
};

class ProtoWatchDecoder final : public StreamDecoder {
 public:
  ProtoWatchDecoder(Kind kind, OnEvent on_event, StreamLimits limits);
  Status feed(std::string_view bytes) override;
  Status finish() override;

 private:
  Kind kind_;
  OnEvent on_event_;
  StreamLimits limits_;
  ProtoDecoder decoder_;

  std::uint64_t offset_ = 0;  // of the frame being read
  std::uint32_t length_ = 0;
  unsigned length_bytes_ = 0;  // how much of the length has been read
  std::string buffer_;
  bool stopped_ = false;
};

}  // namespace fairlead::kube
