// Push decoders for JSON: the "items" of a LIST body and the concatenated objects of a watch stream are cut out of the
// text while it arrives; each is then parsed on its own. A value that lies whole in one fed chunk is not copied.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "kube/stream.h"

namespace fairlead::kube {

// Finds where one JSON value ends. Looks only at brackets and quotes: the parser judges what was cut out.
class JsonCutter {
 public:
  // Takes the bytes that belong to the value off `rest`, and returns the value's whole text once it is there.
  // REQUIRES that the first byte ever fed begins the value. A number or literal is complete only when something else
  // follows it. After a value has been returned the next byte begins a new one; the view is valid until then.
  Result<std::optional<std::string_view>> cut(std::string_view& rest, std::size_t limit);
  bool active() const { return active_; }  // inside a value

 private:
  enum class State : std::uint8_t { Start, Scalar, Text, Escape };
  bool scan(std::string_view text, std::size_t& used);

  bool active_ = false;
  State state_ = State::Start;
  std::size_t depth_ = 0;
  std::string buffer_;
  bool returned_ = false;  // buffer_ still holds what was returned
};

class JsonListDecoder final : public ListDecoder {
 public:
  JsonListDecoder(Kind kind, OnItem on_item, StreamLimits limits);
  Status feed(std::string_view bytes) override;
  Status finish() override;

 private:
  enum class State : std::uint8_t { Open, FirstKey, NextKey, Colon, Value, Comma, FirstItem, NextItem, ItemComma, End };

  Status punctuation(char c);
  bool expects_value() const;
  Status cut(std::string_view& rest);
  Status value_complete(std::string_view text);
  Status item_complete(std::string_view text);
  Error error(std::string_view what) const;

  Kind kind_;
  OnItem on_item_;
  StreamLimits limits_;
  JsonCutter cutter_;
  State state_ = State::Open;
  std::string key_;
  bool seen_items_ = false;
  std::uint64_t items_ = 0;
  std::uint64_t offset_ = 0;    // bytes consumed so far
  std::uint64_t token_at_ = 0;  // where the value or the punctuation being read begins, for errors
};

class JsonWatchDecoder final : public StreamDecoder {
 public:
  JsonWatchDecoder(Kind kind, OnEvent on_event, StreamLimits limits);
  Status feed(std::string_view bytes) override;
  Status finish() override;

 private:
  Result<WatchEvent> event(std::string_view text) const;

  Kind kind_;
  OnEvent on_event_;
  StreamLimits limits_;
  JsonCutter cutter_;
  std::uint64_t events_ = 0;
  bool stopped_ = false;
};

ApiStatus status_from_json(const base::Value& value);

}  // namespace fairlead::kube
