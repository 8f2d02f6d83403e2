// What a test API server is told at start, how it is made to misbehave, and what it has seen.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"

namespace fairlead::tests::apiserver {

struct Options {
  std::string listen = "127.0.0.1:0";
  bool tls = true;                            // false: HTTP/2 with prior knowledge over plain TCP (h2c)
  std::vector<std::string> extra_names = {};  // more DNS names or addresses in the server certificate
  // Who may enter. Both empty: anybody. Else a bearer token of the list, or a client certificate of our CA.
  std::vector<std::string> tokens = {};
  bool client_certificates = false;
  std::uint64_t first_version = 1000;
  std::size_t history = 100'000;  // changes a watch may start from; beyond it: 410 Expired
  base::Duration bookmark_period = std::chrono::seconds(60);
  // Caps timeoutSeconds, so that a test sees a watch end in milliseconds.
  base::Duration longest_watch = std::chrono::hours(1);
  bool watch_list = true;  // false: "sendInitialEvents is forbidden" (422), as servers before 1.34
  bool protobuf = true;    // false: JSON only
};

// Standing faults; set_faults replaces the whole set, a default-made one is a healthy server.
struct Faults {
  bool refuse = false;                 // nobody listens (connection refused); open connections are reset
  bool hang = false;                   // connections are accepted, nothing is read or answered, PING neither
  bool stall = false;                  // no more DATA on any stream; PING is answered
  std::uint64_t bytes_per_second = 0;  // per stream; 0: no limit
  // The next so many requests for resources get `error_code` (with Retry-After for 429 and 503).
  std::uint64_t error_count = 0;
  int error_code = 429;
  int retry_after_seconds = 1;
  std::string error_resource = {};  // only this plural; empty: all
  std::string error_verb = {};      // only "list" or "watch"; empty: both
  bool watch_list_off = false;
  bool expired_as_status = false;  // 410 as HTTP status instead of an ERROR event at the start of the watch
  // Watches get what is below the version they asked for, too. Upstream's cacher stays silent to a version of the
  // future.
  bool lower_versions = false;
  std::uint64_t oversized_bytes = std::uint64_t{32} << 20;  // of Break::OversizedEvent in JSON
  bool no_bookmarks = false;                                // watches get no periodic bookmark
  bool forbid = false;                                      // 403 for every resource

  static constexpr std::uint64_t kAlways = std::numeric_limits<std::uint64_t>::max();
};

// What breaks once, now.
enum class Break {
  CutMidFrame,      // half a DATA frame on each watching connection, then FIN
  CutMidEvent,      // half a watch event, then an orderly end of the stream
  GarbageFrames,    // bytes that are no HTTP/2
  GarbageEvents,    // watch events that do not decode
  OversizedEvent,   // an event that announces 4 GiB (protobuf) or never ends its string (JSON)
  UnknownEvent,     // a well-formed event of a type nobody knows
  Reset,            // RST on every connection
  GoAway,           // GOAWAY, all streams end in order, then close: as an API server that is being replaced
  GoAwayLater,      // GOAWAY, the streams go on: as --goaway-chance of a real API server rebalances its clients
  EndWatches,       // orderly end of every watch, as at timeoutSeconds
  ExpireWatches,    // ERROR event 410 on every watch
  ThrottleWatches,  // ERROR event 429 on every watch
  FailWatches,      // ERROR event 500 on every watch
};

struct RequestRecord {
  std::string method;
  std::string path;
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;
  std::string client_name;
  std::uint64_t connection = 0;
  int status = 0;
};

struct Stats {
  std::uint64_t connections = 0;  // accepted so far
  std::uint64_t open_connections = 0;
  std::uint64_t open_watches = 0;
  std::uint64_t lists = 0;
  std::uint64_t watches = 0;
  std::uint64_t events_posted = 0;
  std::uint64_t version = 0;
  base::Duration cpu{};  // of the server's thread
};

}  // namespace fairlead::tests::apiserver
