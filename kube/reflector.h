// Reflector: the list-and-watch state machine of one resource type (k8s.io/client-go tools/cache/reflector.go), without
// any I/O.
//
// It is told what came back and answers with the next Step; objects go to the Sink as they come, and a complete set
// replaces the old one at once. Until then, and while disconnected, the Sink keeps the last good state. Memory: during
// an initial sync the objects received so far, else nothing. One thread; time and chance are injected.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "kube/backoff.h"
#include "kube/source.h"
#include "kube/stream.h"

namespace fairlead::kube {

struct ReflectorOptions {
  bool watch_list = true;        // try sendInitialEvents (KEP-3157) before LIST
  bool may_be_unserved = false;  // 404 means that this cluster has no such resource
  int page_size = 500;           // of a LIST that the API server answers from etcd
  std::chrono::seconds watch_timeout_least{300};
  std::chrono::seconds watch_timeout_most{600};
  base::Duration shortest_watch = std::chrono::seconds(1);  // one that ends sooner, without an event, is an error
  base::Duration unserved_retry = std::chrono::minutes(5);
  base::Duration longest_retry_after = std::chrono::minutes(5);  // whatever a Retry-After header says
  base::Duration at_once_spacing = std::chrono::seconds(30);     // between two retries without a back-off
  BackoffOptions backoff;
};

// What to do next. Anything but Proceed drops the request under way.
struct Proceed {
  bool operator==(const Proceed&) const = default;
};
struct ListRequest {
  std::string resource_version;  // "": the newest, by quorum; "0": whatever the API server has cached
  int limit = 0;                 // 0: none
  std::string continue_token;
  bool not_older = false;  // fails when the API server has not reached resource_version
  bool operator==(const ListRequest&) const = default;
};
struct WatchRequest {
  std::string resource_version;
  bool initial_events = false;
  std::chrono::seconds timeout{0};
  bool operator==(const WatchRequest&) const = default;
};
struct Wait {
  base::Duration delay{};  // then on_timer()
  bool operator==(const Wait&) const = default;
};
using Step = std::variant<Proceed, ListRequest, WatchRequest, Wait>;

enum class ReflectorState : std::uint8_t {
  Idle,           // not started
  InitialEvents,  // a watch that begins with everything there is
  Listing,
  Watching,
  Checking,  // after a cut: has the server's history still got our resource version?
  Waiting,   // backing off
  Unserved,  // the cluster has no such resource; asked again from time to time
};
std::string_view to_string(ReflectorState state);

struct ReflectorStatus {
  Kind kind = Kind::Service;
  ReflectorState state = ReflectorState::Idle;
  bool synced = false;                       // the Sink has had a complete set
  std::string resource_version;              // last seen; "" when unknown
  std::optional<base::WallTime> last_event;  // of any object, bookmark or completed list
  std::string last_error;                    // "" when there was none
  std::optional<base::WallTime> last_error_at;
  std::uint64_t errors = 0;
  std::uint64_t reconnects = 0;  // requests after the first, pages not counted
  std::uint64_t relists = 0;     // complete sets after the first
  std::uint64_t events = 0;
  bool operator==(const ReflectorStatus&) const = default;
};

class Reflector {
 public:
  using Select = std::function<bool(const Object&)>;  // false: must not reach the Sink
  // `random` yields numbers in [0, 1).
  Reflector(Kind kind, ReflectorOptions options, Select select, Sink& sink, const base::Clock& clock,
            std::function<double()> random);

  Step start();
  Step on_timer();  // after Wait

  void on_item(Object object);      // of a LIST
  Step on_list_end(ListMeta meta);  // its body is complete
  Step on_event(WatchEvent event);  // of a watch
  Step on_watch_end();              // the server closed it in good order
  // Answered with something else than 200.
  Step on_refused(const ApiStatus& status, std::optional<std::chrono::seconds> retry_after);
  // No answer, or cut off. What was received so far holds.
  Step on_disconnected(const Error& error);
  // Nothing comes, though the connection lives: a server that ignores sendInitialEvents never ends them.
  Step on_stalled(const Error& error);
  // What was received cannot be understood.
  Step on_garbage(const Error& error);

  const ReflectorStatus& status() const { return status_; }

 private:
  enum class Next : std::uint8_t { Cycle, Rewatch, Check };

  Step cycle();  // gets a complete set
  Step list_page(std::string continue_token);
  Step rewatch();  // goes on from the last resource version
  Step check();
  Step history_replaced(const std::string& resource_version);
  Step wait(Next next, std::optional<std::chrono::seconds> retry_after = std::nullopt);
  Step cycle_from_newest(const Error& error);
  Step unserved();
  Step on_initial_event(WatchEvent event);
  Step sent(ReflectorState state, Step step);
  void synced(std::string resource_version);
  void collect(Object object);
  void uncollect(const Key& key);
  void seen(const std::string& resource_version);
  bool went_back(const std::string& resource_version) const;
  void failed(const Error& error);

  ReflectorOptions options_;
  Select select_;
  Sink& sink_;
  const base::Clock& clock_;
  std::function<double()> random_;
  Backoff backoff_;
  ReflectorStatus status_;

  Next next_ = Next::Cycle;
  bool from_newest_ = false;         // the last resource version is of no use: ask for the newest state
  bool without_watch_list_ = false;  // refused in this cycle
  bool without_pages_ = false;       // the continue token expired in this cycle
  bool requested_ = false;
  bool served_ = false;  // there has been a complete set
  std::optional<base::Instant> last_at_once_;

  std::vector<Object> collected_;
  std::map<Key, std::size_t> collected_at_;  // built only when an object changes during the initial events
  std::string list_version_;                 // of the first page
  std::string continue_token_;               // of the page under way

  base::Instant watch_began_{};
  std::uint64_t watch_events_ = 0;
};

}  // namespace fairlead::kube
