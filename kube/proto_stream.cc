#include "kube/proto_stream.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "kube/wire.h"

namespace fairlead::kube {
namespace {

using base::cat;

// What one large item needed is not kept for all the small ones after it.
constexpr std::size_t kKeptBuffer = std::size_t{256} << 10;
void clear(std::string& buffer) {
  if (buffer.capacity() > kKeptBuffer) {
    std::string().swap(buffer);
  } else {
    buffer.clear();
  }
}

// Appends to `buffer` until it holds `wanted` bytes. Returns the whole when it is there: a view of `rest` when nothing
// had to be buffered. Takes what it used off `rest`.
std::optional<std::string_view> collect(std::string& buffer, std::string_view& rest, std::size_t wanted) {
  const std::string_view piece = rest.substr(0, wanted - buffer.size());
  rest.remove_prefix(piece.size());
  if (piece.size() == wanted) return piece;
  buffer.append(piece);
  if (buffer.size() < wanted) return std::nullopt;
  return std::string_view(buffer);
}

// Field numbers.
constexpr std::uint32_t kUnknownTypeMeta = 1;
constexpr std::uint32_t kUnknownRaw = 2;
constexpr std::uint32_t kUnknownContentEncoding = 3;
constexpr std::uint32_t kListMetadata = 1;
constexpr std::uint32_t kListItems = 2;

}  // namespace

ProtoListDecoder::ProtoListDecoder(Kind kind, OnItem on_item, StreamLimits limits)
    : kind_(kind), on_item_(std::move(on_item)), limits_(limits) {}

Error ProtoListDecoder::error(std::string_view what) const {
  return Error(cat(to_string(kind_), "List, field at byte ", field_at_, ": ", what));
}

Status ProtoListDecoder::feed(std::string_view bytes) {
  while (!bytes.empty()) TRY(step(bytes));
  return {};
}

std::string_view ProtoListDecoder::take(std::string_view& rest, std::uint64_t count) {
  const std::string_view taken = rest.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(count, rest.size())));
  rest.remove_prefix(taken.size());
  offset_ += taken.size();
  if (in_list_) list_left_ -= taken.size();
  return taken;
}

// REQUIRES !rest.empty(). `complete` becomes true at the last byte; false is returned for a number that cannot be.
bool ProtoListDecoder::varint_complete(std::string_view& rest, bool& complete) {
  const auto byte = static_cast<std::uint8_t>(take(rest, 1).front());
  if (varint_shift_ >= 64) return false;
  varint_ |= std::uint64_t{byte & 0x7fU} << varint_shift_;
  varint_shift_ += 7;
  complete = (byte & 0x80U) == 0;
  return true;
}

Status ProtoListDecoder::step(std::string_view& rest) {
  if (in_list_ && list_left_ == 0) {
    if (state_ != State::Tag || varint_shift_ != 0) return error("the list ends inside a field");
    in_list_ = false;
  }
  switch (state_) {
    case State::Magic: {
      const char expected = kProtoMagic[static_cast<std::size_t>(offset_)];
      if (rest.front() != expected) return error("does not begin with \"k8s\\0\"");
      take(rest, 1);
      if (offset_ == kProtoMagic.size()) state_ = State::Tag;
      return {};
    }
    case State::Tag:
    case State::Value:
    case State::Length: {
      bool complete = false;
      if (state_ == State::Tag && varint_shift_ == 0) field_at_ = offset_;
      if (!varint_complete(rest, complete)) return error("a number longer than 10 bytes");
      if (!complete) return {};
      const State was = state_;
      if (was == State::Tag) TRY(tag_complete());
      if (was == State::Value) state_ = State::Tag;
      if (was == State::Length) TRY(length_complete());
      varint_ = 0;
      varint_shift_ = 0;
      return {};
    }
    case State::Skip:
      wanted_ -= take(rest, wanted_).size();
      if (wanted_ == 0) state_ = State::Tag;
      return {};
    case State::Payload: {
      std::string_view ahead = rest;
      const auto whole = collect(buffer_, ahead, static_cast<std::size_t>(wanted_));
      take(rest, rest.size() - ahead.size());
      if (!whole) return {};
      state_ = State::Tag;
      Status done = payload_complete(*whole);
      clear(buffer_);
      return done;
    }
  }
  return {};
}

Status ProtoListDecoder::tag_complete() {
  if (varint_ >> 3 == 0 || varint_ >> 3 > 0x1fffffff) return error(cat("field number ", varint_ >> 3));
  field_ = static_cast<std::uint32_t>(varint_ >> 3);
  switch (varint_ & 7) {
    case wire::kVarint: state_ = State::Value; return {};
    case wire::kBytes: state_ = State::Length; return {};
    case wire::kFixed64: wanted_ = 8; break;
    case wire::kFixed32: wanted_ = 4; break;
    default: return error(cat("field ", field_, ": wire type ", varint_ & 7));
  }
  if (in_list_ && wanted_ > list_left_) return error("the list ends inside a field");
  state_ = State::Skip;
  return {};
}

Status ProtoListDecoder::length_complete() {
  wanted_ = varint_;
  if (in_list_ && wanted_ > list_left_) {
    return error(cat("field ", field_, " of ", wanted_, " bytes where the list has ", list_left_, " left"));
  }
  if (!in_list_ && field_ == kUnknownRaw) {
    if (seen_list_) return error("a second list in one body");
    seen_list_ = true;
    in_list_ = true;
    list_left_ = wanted_;
    state_ = State::Tag;
    return {};
  }
  const bool needed = in_list_ ? field_ == kListMetadata || field_ == kListItems
                               : field_ == kUnknownTypeMeta || field_ == kUnknownContentEncoding;
  if (!needed) {
    state_ = wanted_ == 0 ? State::Tag : State::Skip;
    return {};
  }
  if (wanted_ > limits_.item_bytes) {
    return error(cat("an item of ", wanted_, " bytes; the limit is ", limits_.item_bytes));
  }
  state_ = wanted_ == 0 ? State::Tag : State::Payload;
  return wanted_ == 0 ? payload_complete({}) : Status();
}

Status ProtoListDecoder::payload_complete(std::string_view payload) {
  if (in_list_ && field_ == kListItems) {
    auto object = decoder_.object(kind_, payload);
    if (!object) return error(object.error().message());
    on_item_(std::move(*object));
    return {};
  }
  if (in_list_) {
    auto meta = decoder_.list_meta(payload);
    if (!meta) return error(meta.error().message());
    meta_ = std::move(*meta);
    return {};
  }
  if (field_ == kUnknownContentEncoding) {
    return payload.empty() ? Status() : error(cat("content encoding \"", payload.substr(0, 40), "\" is not supported"));
  }
  wire::Reader type_meta(payload);
  while (!type_meta.done()) {
    const auto part = type_meta.next();
    if (!part) return error(part.error().message());
    if (part->number == 2 && part->bytes != cat(to_string(kind_), "List")) {
      return error(cat("the body is a ", part->bytes.substr(0, 80)));
    }
  }
  return {};
}

Status ProtoListDecoder::finish() {
  const bool at_rest = state_ == State::Tag && varint_shift_ == 0 && (!in_list_ || list_left_ == 0);
  if (!at_rest) return error("the body ends too early");
  if (!seen_list_) return error("the body holds no list");
  return {};
}

ProtoWatchDecoder::ProtoWatchDecoder(Kind kind, OnEvent on_event, StreamLimits limits)
    : kind_(kind), on_event_(std::move(on_event)), limits_(limits) {}

Status ProtoWatchDecoder::feed(std::string_view bytes) {
  const auto error = [this](std::string_view what) {
    return Error(cat(to_string(kind_), " watch, frame at byte ", offset_, ": ", what));
  };
  while (!bytes.empty() && !stopped_) {
    if (length_bytes_ < 4) {
      length_ = (length_ << 8) | static_cast<std::uint8_t>(bytes.front());
      bytes.remove_prefix(1);
      if (++length_bytes_ < 4) continue;
      if (length_ == 0) return error("an empty frame");
      if (length_ > limits_.item_bytes) return error(cat("length ", length_, "; the limit is ", limits_.item_bytes));
      continue;
    }
    const auto frame = collect(buffer_, bytes, length_);
    if (!frame) continue;
    auto event = decoder_.watch_event(kind_, *frame);
    if (!event) return error(event.error().message());
    clear(buffer_);
    offset_ += 4 + std::uint64_t{length_};
    length_ = 0;
    length_bytes_ = 0;
    stopped_ = !on_event_(std::move(*event));
  }
  return {};
}

Status ProtoWatchDecoder::finish() {
  if (length_bytes_ == 0 || stopped_) return {};
  return Error(cat(to_string(kind_), " watch, frame at byte ", offset_, ": the stream ends inside it"));
}

}  // namespace fairlead::kube
