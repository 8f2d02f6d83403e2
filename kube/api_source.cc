#include "kube/api_source.h"

#include <random>
#include <utility>

#include "base/strings.h"
#include "kube/topologies.h"

namespace fairlead::kube {
namespace {

using base::cat;

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<std::uint8_t>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

class Query {
 public:
  explicit Query(const Resource& resource) : text_(resource.path) {
    add("labelSelector", resource.label_selector);
    add("fieldSelector", resource.field_selector);
  }
  Query& add(std::string_view name, std::string_view value) {
    if (value.empty()) return *this;
    text_ += cat(text_.find('?') == text_.npos ? "?" : "&", name, "=", percent_encoded(value));
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::function<double()> own_random() {
  return [engine = std::mt19937_64(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(engine);
  };
}

}  // namespace

Resource resource_of(Kind kind, const std::string& node_name) {
  switch (kind) {
    case Kind::Service:
      return {.path = "/api/v1/services",
              .label_selector = cat("!", kServiceProxyNameLabel),
              .field_selector = "spec.clusterIP!=None"};
    case Kind::EndpointSlice:
      return {.path = "/apis/discovery.k8s.io/v1/endpointslices",
              .label_selector = cat("!", kHeadlessLabel),
              .field_selector = {}};
    case Kind::Node:
      return {.path = "/api/v1/nodes", .label_selector = {}, .field_selector = cat("metadata.name=", node_name)};
    case Kind::ServiceCidr:
      return {.path = "/apis/networking.k8s.io/v1/servicecidrs", .label_selector = {}, .field_selector = {}};
  }
  return {};
}

std::string request_path(const Resource& resource, const ListRequest& request) {
  Query query(resource);
  if (request.not_older) query.add("resourceVersionMatch", "NotOlderThan");
  return query.add("resourceVersion", request.resource_version)
      .add("limit", request.limit == 0 ? std::string() : cat(request.limit))
      .add("continue", request.continue_token)
      .text();
}

std::string request_path(const Resource& resource, const WatchRequest& request) {
  Query query(resource);
  query.add("watch", "true").add("allowWatchBookmarks", "true");
  if (request.initial_events) query.add("sendInitialEvents", "true").add("resourceVersionMatch", "NotOlderThan");
  return query.add("resourceVersion", request.resource_version)
      .add("timeoutSeconds", cat(request.timeout.count()))
      .text();
}

// One reflector and the request it has under way.
class ApiSource::Feed {
 public:
  Feed(Kind kind, base::Loop& loop, const base::Clock& clock, HttpClient& http, Sink& sink,
       const ApiSourceOptions& options)
      : kind_(kind),
        loop_(loop),
        clock_(clock),
        http_(http),
        options_(options),
        resource_(resource_of(kind, options.node_name)),
        reflector_(kind, reflector_options(kind, options), select(kind, options), sink, clock, options_.random) {}

  void start() { take(reflector_.start()); }
  const ReflectorStatus& status() const { return reflector_.status(); }

 private:
  static ReflectorOptions reflector_options(Kind kind, const ApiSourceOptions& options) {
    ReflectorOptions out = options.reflector;
    out.may_be_unserved = kind == Kind::ServiceCidr;  // GA in 1.33
    return out;
  }
  static Reflector::Select select(Kind kind, const ApiSourceOptions& options) {
    return [kind, node_name = options.node_name](const Object& object) {
      if (kind == Kind::Node) return meta_of(object).key.name == node_name;
      return selected(object);
    };
  }

  void take(Step step);
  void send(const std::string& path);
  void listen(const WatchRequest& request);
  void tell_of_errors();

  void on_head(const HttpHead& head);
  void on_body(std::string_view bytes);
  void on_end(Status status);
  Step ended(Status status);
  void watch_for_stall(base::Duration delay);
  void check_stall();

  Kind kind_;
  base::Loop& loop_;
  const base::Clock& clock_;
  HttpClient& http_;
  const ApiSourceOptions& options_;
  Resource resource_;
  Reflector reflector_;
  Topologies topologies_;  // over all streams: most objects that it is about came with earlier ones

  std::unique_ptr<HttpStream> stream_;
  std::unique_ptr<ListDecoder> list_;     // of a LIST under way
  std::unique_ptr<StreamDecoder> watch_;  // of a WATCH under way
  bool is_list_ = false;
  std::chrono::seconds watch_timeout_{0};
  HttpHead head_;
  std::string refusal_;          // body of an answer that is not 200
  std::optional<Step> decided_;  // while a decoder runs: what to do when it returns
  base::Instant began_{};
  base::Instant progress_{};
  base::Loop::Handle timer_ = base::Loop::none();
  std::uint64_t errors_told_ = 0;
};

void ApiSource::Feed::take(Step step) {
  tell_of_errors();
  if (std::holds_alternative<Proceed>(step)) return;
  stream_.reset();
  timer_.reset();
  list_.reset();
  watch_.reset();
  if (const auto* wait = std::get_if<Wait>(&step)) {
    timer_ = loop_.after(wait->delay, [this] { take(reflector_.on_timer()); });
  } else if (const auto* list = std::get_if<ListRequest>(&step)) {
    is_list_ = true;
    send(request_path(resource_, *list));
  } else if (const auto* watch = std::get_if<WatchRequest>(&step)) {
    is_list_ = false;
    watch_timeout_ = watch->timeout;
    send(request_path(resource_, *watch));
  }
}

void ApiSource::Feed::tell_of_errors() {
  if (reflector_.status().errors == errors_told_) return;
  errors_told_ = reflector_.status().errors;
  if (options_.on_error) options_.on_error(reflector_.status());
}

void ApiSource::Feed::send(const std::string& path) {
  head_ = {};
  refusal_.clear();
  decided_.reset();
  began_ = progress_ = clock_.now();
  watch_for_stall(options_.patience);
  stream_ = http_.get({.path = path,
                       .accept = options_.encoding == Encoding::Protobuf ? "application/vnd.kubernetes.protobuf, */*"
                                                                         : "application/json"},
                      {.on_head = [this](const HttpHead& head) { on_head(head); },
                       .on_body = [this](std::string_view bytes) { on_body(bytes); },
                       .on_end = [this](Status status) { on_end(std::move(status)); }});
}

void ApiSource::Feed::on_head(const HttpHead& head) {
  head_ = head;
  progress_ = clock_.now();
  if (head.status != 200) return;
  const auto encoding = encoding_of(head.content_type);
  if (!encoding) {
    take(reflector_.on_garbage(encoding.error()));
  } else if (is_list_) {
    list_ = make_list_decoder(
        *encoding, kind_,
        [this](Object object) {
          topologies_.share(object);
          reflector_.on_item(std::move(object));
        },
        options_.limits);
  } else {
    const OnEvent on_event = [this](WatchEvent event) {
      if (event.object) topologies_.share(*event.object);
      Step step = reflector_.on_event(std::move(event));
      if (std::holds_alternative<Proceed>(step)) return true;
      decided_ = std::move(step);
      return false;
    };
    watch_ = make_watch_decoder(*encoding, kind_, on_event, options_.limits);
  }
}

void ApiSource::Feed::on_body(std::string_view bytes) {
  progress_ = clock_.now();
  if (head_.status != 200) {
    constexpr std::size_t kLongestRefusal = std::size_t{64} << 10;
    refusal_.append(bytes.substr(0, kLongestRefusal - std::min(kLongestRefusal, refusal_.size())));
    return;
  }
  const bool was_list = is_list_;
  const Status fed = is_list_ ? list_->feed(bytes) : watch_->feed(bytes);
  if (decided_) {
    take(*std::exchange(decided_, std::nullopt));
  } else if (!fed) {
    take(reflector_.on_garbage(fed.error()));
  }
  if (!was_list && options_.after_batch) options_.after_batch();
}

void ApiSource::Feed::on_end(Status status) {
  take(ended(std::move(status)));
  if (options_.after_batch) options_.after_batch();
}

Step ApiSource::Feed::ended(Status status) {
  if (!status) return reflector_.on_disconnected(status.error());
  if (head_.status != 200) {
    return reflector_.on_refused(decode_refusal(head_.status, head_.content_type, refusal_), head_.retry_after);
  }
  const Status finished = is_list_ ? list_->finish() : watch_->finish();
  if (!finished) return reflector_.on_disconnected(finished.error());
  return is_list_ ? reflector_.on_list_end(list_->meta()) : reflector_.on_watch_end();
}

void ApiSource::Feed::watch_for_stall(base::Duration delay) {
  timer_ = loop_.after(delay, [this] { check_stall(); });
}

void ApiSource::Feed::check_stall() {
  const base::Instant now = clock_.now();
  // A quiet watch is nothing unusual; one that the server forgets to end is replaced.
  const bool watching = reflector_.status().state == ReflectorState::Watching && head_.status != 0;
  const base::Duration allowed = watching ? watch_timeout_ + options_.patience : options_.patience;
  const base::Duration passed = now - (watching ? began_ : progress_);
  if (passed < allowed) return watch_for_stall(allowed - passed);
  if (watching) return take(reflector_.on_watch_end());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(passed).count();
  take(reflector_.on_stalled(Error(cat("GET ", resource_.path, ": nothing received for ", seconds, " s"))));
}

ApiSource::ApiSource(base::Loop& loop, const base::Clock& clock, HttpClient& http, Sink& sink, ApiSourceOptions options)
    : options_(std::make_unique<ApiSourceOptions>(std::move(options))) {
  if (!options_->random) options_->random = own_random();
  for (std::size_t i = 0; i < kKindCount; ++i) {
    feeds_.push_back(std::make_unique<Feed>(static_cast<Kind>(i), loop, clock, http, sink, *options_));
  }
}

ApiSource::~ApiSource() = default;

void ApiSource::start() {
  for (const auto& feed : feeds_) feed->start();
}

std::vector<ReflectorStatus> ApiSource::status() const {
  std::vector<ReflectorStatus> out;
  for (const auto& feed : feeds_) out.push_back(feed->status());
  return out;
}

}  // namespace fairlead::kube
