#include "kube/json_stream.h"

#include <utility>

#include "base/strings.h"
#include "kube/decode.h"

namespace fairlead::kube {
namespace {

using base::cat;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool ends_scalar(char c) { return is_space(c) || c == ',' || c == ']' || c == '}'; }

std::string text_of(const base::Value& value) {
  const std::string* text = value.as_string();
  return text == nullptr ? std::string() : *text;
}
int number_of(const base::Value& value) {
  const std::int64_t* number = value.as_int();
  return number != nullptr && *number >= 0 && *number <= 1'000'000'000 ? static_cast<int>(*number) : 0;
}

}  // namespace

// True when the value ends after `used` bytes of `text`.
bool JsonCutter::scan(std::string_view text, std::size_t& used) {
  for (used = 0; used < text.size(); ++used) {
    const char c = text[used];
    switch (state_) {
      case State::Escape: state_ = State::Text; break;
      case State::Text:
        if (c == '\\') state_ = State::Escape;
        if (c != '"') break;
        state_ = State::Start;
        if (depth_ == 0) return ++used, true;
        break;
      case State::Scalar:
        if (ends_scalar(c)) return true;
        break;
      case State::Start:
        if (c == '"') {
          state_ = State::Text;
        } else if (c == '{' || c == '[') {
          ++depth_;
        } else if (c == '}' || c == ']') {
          if (depth_ <= 1) return ++used, true;
          --depth_;
        } else if (depth_ == 0) {
          state_ = State::Scalar;
        }
    }
  }
  return false;
}

Result<std::optional<std::string_view>> JsonCutter::cut(std::string_view& rest, std::size_t limit) {
  if (returned_) {
    // What one large value needed is not kept for all the small ones after it.
    constexpr std::size_t kKept = std::size_t{256} << 10;
    buffer_.capacity() > kKept ? std::string().swap(buffer_) : buffer_.clear();
    returned_ = false;
  }
  active_ = true;
  std::size_t used = 0;
  const bool complete = scan(rest, used);
  if (buffer_.size() + used > limit) return Error(cat("a value longer than the limit of ", limit, " bytes"));
  const std::string_view piece = rest.substr(0, used);
  rest.remove_prefix(used);
  if (!complete || !buffer_.empty()) buffer_.append(piece);
  if (!complete) return std::optional<std::string_view>();
  active_ = false;
  state_ = State::Start;
  depth_ = 0;
  returned_ = true;
  return std::optional<std::string_view>(buffer_.empty() ? piece : std::string_view(buffer_));
}

JsonListDecoder::JsonListDecoder(Kind kind, OnItem on_item, StreamLimits limits)
    : kind_(kind), on_item_(std::move(on_item)), limits_(limits) {}

Error JsonListDecoder::error(std::string_view what) const {
  return Error(cat(to_string(kind_), "List at byte ", token_at_, ": ", what));
}

bool JsonListDecoder::expects_value() const {
  return state_ == State::FirstKey || state_ == State::NextKey || state_ == State::Value ||
         state_ == State::FirstItem || state_ == State::NextItem;
}

Status JsonListDecoder::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (cutter_.active()) {
      TRY(cut(bytes));
      continue;
    }
    const char c = bytes.front();
    token_at_ = offset_;
    if (!is_space(c)) {
      const bool closes = (state_ == State::FirstKey && c == '}') || (state_ == State::FirstItem && c == ']');
      const bool opens_items = state_ == State::Value && key_ == "items" && c == '[';
      if (expects_value() && !closes && !opens_items) {
        TRY(cut(bytes));
        continue;
      }
      TRY(punctuation(c));
    }
    bytes.remove_prefix(1);
    ++offset_;
  }
  return {};
}

Status JsonListDecoder::punctuation(char c) {
  const auto move_to = [this](State next) {
    state_ = next;
    return Status();
  };
  switch (state_) {
    case State::Open:
      if (c == '{') return move_to(State::FirstKey);
      break;
    case State::FirstKey:
      if (c == '}') return move_to(State::End);
      break;
    case State::Colon:
      if (c == ':') return move_to(State::Value);
      break;
    case State::Value:  // the bracket of "items"
      if (seen_items_) return error("\"items\" appears twice");
      seen_items_ = true;
      return move_to(State::FirstItem);
    case State::Comma:
      if (c == ',') return move_to(State::NextKey);
      if (c == '}') return move_to(State::End);
      break;
    case State::FirstItem:
      if (c == ']') return move_to(State::Comma);
      break;
    case State::ItemComma:
      if (c == ',') return move_to(State::NextItem);
      if (c == ']') return move_to(State::Comma);
      break;
    case State::End: return error("something follows the list");
    case State::NextKey:
    case State::NextItem: break;
  }
  return error(cat("unexpected \"", std::string_view(&c, 1), "\""));
}

Status JsonListDecoder::cut(std::string_view& rest) {
  const std::size_t before = rest.size();
  auto text = cutter_.cut(rest, limits_.item_bytes);
  if (!text) return error(text.error().message());
  if (*text) {
    if (Status done = value_complete(**text); !done) return done;
  }
  offset_ += before - rest.size();
  return {};
}

Status JsonListDecoder::value_complete(std::string_view text) {
  switch (state_) {
    case State::FirstItem:
    case State::NextItem: state_ = State::ItemComma; return item_complete(text);
    case State::FirstKey:
    case State::NextKey: {
      const auto key = base::parse_json(text);
      if (!key || key->as_string() == nullptr) return error("a member name is missing");
      key_ = *key->as_string();
      state_ = State::Colon;
      return {};
    }
    default: break;
  }
  state_ = State::Comma;
  if (key_ == "items" && text != "null") return error("\"items\" is not a list");
  if (key_ == "items") seen_items_ = true;
  if (key_ != "metadata" && key_ != "kind") return {};
  const auto value = base::parse_json(text);
  if (!value) return error(cat("\"", key_, "\": ", value.error().message()));
  if (key_ == "kind" && text_of(*value) != cat(to_string(kind_), "List")) {
    return error(cat("the body is a ", text_of(*value).substr(0, 80)));
  }
  if (key_ == "metadata") {
    meta_ = {.resource_version = text_of((*value)["resourceVersion"]), .continue_token = text_of((*value)["continue"])};
  }
  return {};
}

Status JsonListDecoder::item_complete(std::string_view text) {
  const auto value = base::parse_json(text);
  if (!value) return error(cat("items[", items_, "]: ", value.error().message()));
  auto object = decode_object(kind_, *value, Strictness::Lenient);
  if (!object) return error(cat("items[", items_, "]: ", object.error().message()));
  ++items_;
  on_item_(std::move(*object));
  return {};
}

Status JsonListDecoder::finish() {
  token_at_ = offset_;
  if (state_ != State::End) return error("the body ends too early");
  if (!seen_items_) return error("the body holds no \"items\"");
  return {};
}

JsonWatchDecoder::JsonWatchDecoder(Kind kind, OnEvent on_event, StreamLimits limits)
    : kind_(kind), on_event_(std::move(on_event)), limits_(limits) {}

Status JsonWatchDecoder::feed(std::string_view bytes) {
  const auto error = [this](std::string_view what) {
    return Error(cat(to_string(kind_), " watch, event ", events_ + 1, ": ", what));
  };
  while (!bytes.empty() && !stopped_) {
    if (!cutter_.active()) {
      const char c = bytes.front();
      if (is_space(c)) {
        bytes.remove_prefix(1);
        continue;
      }
      if (c != '{') return error("does not begin with \"{\"");
    }
    const auto text = cutter_.cut(bytes, limits_.item_bytes);
    if (!text) return error(text.error().message());
    if (!*text) continue;
    auto next = event(**text);
    if (!next) return error(next.error().message());
    ++events_;
    stopped_ = !on_event_(std::move(*next));
  }
  return {};
}

Result<WatchEvent> JsonWatchDecoder::event(std::string_view text) const {
  const base::Value value = TRY(base::parse_json(text));
  const std::string type_name = text_of(value["type"]);
  const std::optional<WatchType> type = parse_watch_type(type_name);
  if (!type) return Error(cat("unknown type \"", type_name.substr(0, 40), "\""));
  const base::Value& object = value["object"];
  const std::string kind = text_of(object["kind"]);
  const std::string_view expected = *type == WatchType::Error ? std::string_view("Status") : to_string(kind_);
  if (*type != WatchType::Bookmark && !kind.empty() && kind != expected) {
    return Error(cat(type_name, " event carries a ", kind.substr(0, 80), " where a ", expected, " is expected"));
  }
  WatchEvent event{.type = *type, .object = {}, .resource_version = {}, .initial_events_end = false, .status = {}};
  switch (*type) {
    case WatchType::Error: event.status = status_from_json(object); break;
    case WatchType::Bookmark:
      event.resource_version = text_of(object["metadata"]["resourceVersion"]);
      event.initial_events_end = text_of(object["metadata"]["annotations"][kInitialEventsEndAnnotation]) == "true";
      break;
    default:
      event.object = TRY(decode_object(kind_, object, Strictness::Lenient));
      event.resource_version = meta_of(*event.object).resource_version;
  }
  return event;
}

Status JsonWatchDecoder::finish() {
  if (!cutter_.active() || stopped_) return {};
  return Error(cat(to_string(kind_), " watch, event ", events_ + 1, ": the stream ends inside it"));
}

ApiStatus status_from_json(const base::Value& value) {
  ApiStatus status{.code = number_of(value["code"]),
                   .reason = text_of(value["reason"]),
                   .message = text_of(value["message"]),
                   .causes = {},
                   .retry_after_seconds = number_of(value["details"]["retryAfterSeconds"])};
  if (const base::Value::Array* causes = value["details"]["causes"].as_array()) {
    for (const base::Value& cause : *causes) status.causes.push_back(text_of(cause["reason"]));
  }
  return status;
}

}  // namespace fairlead::kube
