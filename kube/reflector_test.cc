#include "kube/reflector.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/strings.h"

namespace fairlead::kube {
namespace {

using base::cat;
using namespace std::chrono_literals;

Object service(const std::string& name, const std::string& version, std::uint16_t port = 80) {
  Service out;
  out.meta = {.key = {.ns = "default", .name = name}, .uid = {}, .resource_version = version};
  out.ports.push_back({.name = {}, .protocol = Protocol::Tcp, .port = port, .node_port = 0});
  return out;
}

WatchEvent event(WatchType type, const std::string& name, const std::string& version, std::uint16_t port = 80) {
  return {.type = type,
          .object = service(name, version, port),
          .resource_version = version,
          .initial_events_end = false,
          .status = {}};
}
WatchEvent bookmark(const std::string& version, bool end = false) {
  return {
      .type = WatchType::Bookmark, .object = {}, .resource_version = version, .initial_events_end = end, .status = {}};
}
WatchEvent error_event(ApiStatus status) {
  return {.type = WatchType::Error,
          .object = {},
          .resource_version = {},
          .initial_events_end = false,
          .status = std::move(status)};
}

// Keeps a line per call, so that a test compares what happened and in which order.
class Recorder final : public Sink {
 public:
  void upsert(Object object) override { calls.push_back(cat("upsert ", describe(object))); }
  void erase(Kind, const Key& key) override { calls.push_back(cat("erase ", key.name)); }
  void replace(Kind, std::vector<Object> objects) override {
    std::vector<std::string> parts;  // sorted: a set has no order
    for (const Object& object : objects) parts.push_back(" " + describe(object));
    std::sort(parts.begin(), parts.end());
    calls.push_back("replace" + base::join(parts, ""));
  }
  std::vector<std::string> take() { return std::exchange(calls, {}); }

  std::vector<std::string> calls;

 private:
  static std::string describe(const Object& object) {
    return cat(meta_of(object).key.name, ":", std::get<Service>(object).ports.front().port);
  }
};

using Calls = std::vector<std::string>;

class ReflectorTest : public testing::Test {
 protected:
  Reflector make(ReflectorOptions options = {}) {
    return Reflector(
        Kind::Service, options, [](const Object& object) { return !std::get<Service>(object).has_proxy_name_label; },
        sink, clock, [this] { return chance; });
  }
  // A reflector that has had its initial events and watches from version 10.
  Reflector synced(ReflectorOptions options = {}) {
    Reflector reflector = make(options);
    (void)reflector.start();
    EXPECT_EQ(reflector.on_event(event(WatchType::Added, "a", "7")), Step(Proceed{}));
    EXPECT_EQ(reflector.on_event(bookmark("10", true)), Step(Proceed{}));
    EXPECT_EQ(sink.take(), (Calls{"replace a:80"}));
    clock.advance(5s);
    return reflector;
  }
  static ReflectorOptions without_watch_list() {
    ReflectorOptions options;
    options.watch_list = false;
    return options;
  }

  Recorder sink;
  base::FakeClock clock;
  double chance = 0;
};

const Step kCheckFrom12 = ListRequest{.resource_version = "12", .limit = 1, .continue_token = {}, .not_older = true};
const Step kInitialWatch = WatchRequest{.resource_version = "", .initial_events = true, .timeout = 300s};
Step watch_from(const std::string& version) {
  return WatchRequest{.resource_version = version, .initial_events = false, .timeout = 300s};
}
Step initial_watch_from(const std::string& version) {
  return WatchRequest{.resource_version = version, .initial_events = true, .timeout = 300s};
}
Step list_from(const std::string& version, int limit = 0, const std::string& token = {}) {
  return ListRequest{.resource_version = version, .limit = limit, .continue_token = token};
}
ApiStatus refusal(int code, const std::string& reason = {}) {
  return {.code = code, .reason = reason, .message = {}, .causes = {}, .retry_after_seconds = 0};
}
ApiStatus too_large() {
  return {
      .code = 504, .reason = "Timeout", .message = {}, .causes = {"ResourceVersionTooLarge"}, .retry_after_seconds = 1};
}

TEST_F(ReflectorTest, BeginsWithAWatchThatSendsWhatThereIs) { EXPECT_EQ(make().start(), kInitialWatch); }

TEST_F(ReflectorTest, WatchesEndAfterFiveToTenMinutesByChance) {
  chance = 0.5;
  EXPECT_EQ(std::get<WatchRequest>(make().start()).timeout, 450s);
  chance = 0.999;
  EXPECT_EQ(std::get<WatchRequest>(make().start()).timeout, 599s);
}

TEST_F(ReflectorTest, InitialEventsReplaceTheSetAtTheirBookmarkAndNotBefore) {
  Reflector reflector = make();
  (void)reflector.start();
  EXPECT_EQ(reflector.on_event(event(WatchType::Added, "b", "9")), Step(Proceed{}));
  EXPECT_EQ(reflector.on_event(event(WatchType::Added, "a", "7")), Step(Proceed{}));
  EXPECT_EQ(reflector.on_event(bookmark("8")), Step(Proceed{}));
  EXPECT_EQ(sink.take(), Calls{});
  EXPECT_FALSE(reflector.status().synced);
  EXPECT_EQ(reflector.on_event(bookmark("10", true)), Step(Proceed{}));
  EXPECT_EQ(sink.take(), (Calls{"replace a:80 b:80"}));
  EXPECT_TRUE(reflector.status().synced);
  EXPECT_EQ(reflector.status().resource_version, "10");
  EXPECT_EQ(reflector.status().state, ReflectorState::Watching);
}

TEST_F(ReflectorTest, TheSameStreamGoesOnWithChanges) {
  Reflector reflector = synced();
  EXPECT_EQ(reflector.on_event(event(WatchType::Added, "b", "11")), Step(Proceed{}));
  EXPECT_EQ(reflector.on_event(event(WatchType::Modified, "a", "12", 81)), Step(Proceed{}));
  EXPECT_EQ(reflector.on_event(event(WatchType::Deleted, "b", "13")), Step(Proceed{}));
  EXPECT_EQ(sink.take(), (Calls{"upsert b:80", "upsert a:81", "erase b"}));
  EXPECT_EQ(reflector.status().resource_version, "13");
}

TEST_F(ReflectorTest, AnObjectThatChangesDuringTheInitialEventsIsKeptOnceAndInItsLastForm) {
  Reflector reflector = make();
  (void)reflector.start();
  for (const char* name : {"a", "b", "c"}) (void)reflector.on_event(event(WatchType::Added, name, "5"));
  (void)reflector.on_event(event(WatchType::Modified, "a", "6", 81));
  (void)reflector.on_event(event(WatchType::Deleted, "b", "7"));
  (void)reflector.on_event(event(WatchType::Added, "b", "8", 82));
  (void)reflector.on_event(event(WatchType::Deleted, "c", "9"));
  (void)reflector.on_event(event(WatchType::Deleted, "never seen", "9"));
  (void)reflector.on_event(bookmark("10", true));
  EXPECT_EQ(sink.take(), (Calls{"replace a:81 b:82"}));
}

TEST_F(ReflectorTest, TheResourceVersionStandsStillDuringTheInitialEvents) {
  Reflector reflector = make();
  (void)reflector.start();
  (void)reflector.on_event(event(WatchType::Added, "a", "900"));
  EXPECT_EQ(reflector.status().resource_version, "");
  (void)reflector.on_disconnected(Error("cut"));
  EXPECT_EQ(reflector.on_timer(), kInitialWatch);
}

TEST_F(ReflectorTest, ABookmarkOnlyMovesTheResourceVersion) {
  Reflector reflector = synced();
  EXPECT_EQ(reflector.on_event(bookmark("20")), Step(Proceed{}));
  EXPECT_EQ(sink.take(), Calls{});
  EXPECT_EQ(reflector.on_watch_end(), watch_from("20"));
}

TEST_F(ReflectorTest, AServerThatForbidsInitialEventsIsListedAndThenWatched) {
  for (const int code : {400, 403, 422}) {
    Reflector reflector = make();
    (void)reflector.start();
    EXPECT_EQ(reflector.on_refused(refusal(code), {}), list_from("0")) << code;
    reflector.on_item(service("a", "3"));
    EXPECT_EQ(reflector.on_list_end({.resource_version = "5", .continue_token = {}}), watch_from("5"));
    EXPECT_EQ(sink.take(), (Calls{"replace a:80"}));
  }
}

TEST_F(ReflectorTest, AServerThatNeverEndsTheInitialEventsIsListed) {
  Reflector reflector = make();
  (void)reflector.start();
  (void)reflector.on_event(event(WatchType::Added, "a", "3"));
  EXPECT_EQ(reflector.on_stalled(Error("nothing received for 60 s")), Step(Wait{800ms}));
  EXPECT_EQ(reflector.on_timer(), list_from("0"));
}

TEST_F(ReflectorTest, TheNextCycleTriesInitialEventsAgain) {
  Reflector reflector = make();
  (void)reflector.start();
  (void)reflector.on_refused(refusal(422), {});
  (void)reflector.on_list_end({.resource_version = "5", .continue_token = {}});
  EXPECT_EQ(reflector.on_refused(refusal(410), {}), kInitialWatch);
}

TEST_F(ReflectorTest, AWatchThatTheServerEndsGoesOnWithoutAList) {
  Reflector reflector = synced();
  (void)reflector.on_event(event(WatchType::Modified, "a", "12"));
  EXPECT_EQ(reflector.on_watch_end(), watch_from("12"));
  EXPECT_EQ(reflector.status().errors, 0u);
  EXPECT_EQ(reflector.status().reconnects, 1u);
}

TEST_F(ReflectorTest, AWatchThatEndsAtOnceWithoutAnEventIsAnError) {
  Reflector reflector = synced();
  (void)reflector.on_watch_end();
  clock.advance(999ms);
  EXPECT_EQ(reflector.on_watch_end(), Step(Wait{800ms}));
  EXPECT_EQ(reflector.status().last_error,
            "Service, watching: very short watch: it ended at once and without an event");
  EXPECT_EQ(reflector.on_timer(), initial_watch_from("10"));
}

TEST_F(ReflectorTest, AShortWatchWithAnEventIsNoError) {
  Reflector reflector = synced();
  (void)reflector.on_watch_end();
  (void)reflector.on_event(bookmark("11"));
  EXPECT_EQ(reflector.on_watch_end(), watch_from("11"));
}

TEST_F(ReflectorTest, ACutWatchBacksOffAndGoesOnFromWhereItWas) {
  Reflector reflector = synced();
  (void)reflector.on_event(event(WatchType::Modified, "a", "12"));
  EXPECT_EQ(reflector.on_disconnected(Error("connection reset")), Step(Wait{800ms}));
  EXPECT_EQ(reflector.on_timer(), kCheckFrom12);
  EXPECT_EQ(reflector.on_list_end({.resource_version = "14", .continue_token = "more"}), watch_from("12"));
  EXPECT_EQ(sink.take(), (Calls{"upsert a:80"}));
}

TEST_F(ReflectorTest, AServerThatComesBackWithAnOlderHistoryIsReadAnew) {
  for (const bool says_so : {false, true}) {
    Reflector reflector = synced();
    (void)reflector.on_event(event(WatchType::Modified, "a", "12"));
    (void)reflector.on_disconnected(Error("connection reset"));
    EXPECT_EQ(reflector.on_timer(), kCheckFrom12);
    EXPECT_EQ(says_so ? reflector.on_refused(too_large(), std::nullopt)
                      : reflector.on_list_end({.resource_version = "11", .continue_token = {}}),
              kInitialWatch);
    EXPECT_EQ(sink.take(), (Calls{"upsert a:80"}));
  }
}

TEST_F(ReflectorTest, ACheckThatFailsIsMadeAgain) {
  Reflector reflector = synced();
  (void)reflector.on_event(event(WatchType::Modified, "a", "12"));
  (void)reflector.on_disconnected(Error("connection reset"));
  (void)reflector.on_timer();
  EXPECT_EQ(reflector.on_disconnected(Error("connection refused")), Step(Wait{1600ms}));
  EXPECT_EQ(reflector.on_timer(), kCheckFrom12);
  EXPECT_EQ(reflector.on_refused(refusal(503), std::nullopt), Step(Wait{3200ms}));
  EXPECT_EQ(reflector.on_timer(), kCheckFrom12);
}

TEST_F(ReflectorTest, WhileDisconnectedTheLastStateStays) {
  Reflector reflector = synced();
  (void)reflector.on_disconnected(Error("connection reset"));
  for (int i = 0; i < 5; ++i) {
    (void)reflector.on_timer();
    (void)reflector.on_disconnected(Error("connection refused"));
  }
  EXPECT_EQ(sink.take(), Calls{});
  EXPECT_TRUE(reflector.status().synced);
  EXPECT_EQ(reflector.status().state, ReflectorState::Waiting);
  EXPECT_EQ(reflector.status().last_error, "Service, checking: connection refused");
}

TEST_F(ReflectorTest, BackOffDoublesToItsCapAndStartsAnewAfterTwoQuietMinutes) {
  Reflector reflector = synced();
  std::vector<base::Duration> delays;
  for (int i = 0; i < 8; ++i) {
    delays.push_back(std::get<Wait>(reflector.on_disconnected(Error("connection refused"))).delay);
    clock.advance(delays.back());
    (void)reflector.on_timer();
  }
  EXPECT_EQ(delays, (std::vector<base::Duration>{800ms, 1600ms, 3200ms, 6400ms, 12800ms, 25600ms, 30s, 30s}));
  clock.advance(2min + 1s);
  EXPECT_EQ(reflector.on_disconnected(Error("connection refused")), Step(Wait{800ms}));
}

TEST_F(ReflectorTest, BackOffIsJitteredUpToTwice) {
  chance = 0.75;
  EXPECT_EQ(synced().on_disconnected(Error("connection refused")), Step(Wait{1400ms}));
}

TEST_F(ReflectorTest, ExpiredOnTheWireOrInTheStreamGetsTheNewestStateAtOnce) {
  for (const ApiStatus& status : {refusal(410), refusal(410, "Expired"), refusal(410, "Gone")}) {
    Reflector in_answer = synced();
    EXPECT_EQ(in_answer.on_refused(status, {}), kInitialWatch);
    Reflector in_stream = synced();
    EXPECT_EQ(in_stream.on_event(error_event(status)), kInitialWatch);
  }
}

TEST_F(ReflectorTest, ExpiredAgainAndAgainBacksOff) {
  Reflector reflector = synced();
  EXPECT_EQ(reflector.on_refused(refusal(410), {}), kInitialWatch);
  EXPECT_EQ(reflector.on_refused(refusal(410), {}), Step(Wait{800ms}));
  EXPECT_EQ(reflector.on_timer(), kInitialWatch);
}

TEST_F(ReflectorTest, ATooLargeResourceVersionGetsTheNewestStateAtOnce) {
  EXPECT_EQ(synced().on_refused(too_large(), {}), kInitialWatch);
  EXPECT_EQ(synced().on_event(error_event(too_large())), kInitialWatch);
  EXPECT_EQ(synced().on_refused({.code = 504,
                                 .reason = "Timeout",
                                 .message = "Too large resource version: 10, current: 3",
                                 .causes = {},
                                 .retry_after_seconds = 0},
                                {}),
            kInitialWatch);
}

TEST_F(ReflectorTest, AListFromTheNewestStateIsCutIntoPages) {
  Reflector reflector = make(without_watch_list());
  EXPECT_EQ(reflector.start(), list_from("0"));
  EXPECT_EQ(reflector.on_refused(too_large(), {}), list_from("", 500));
  reflector.on_item(service("a", "1"));
  EXPECT_EQ(reflector.on_list_end({.resource_version = "5", .continue_token = "next"}), list_from("", 500, "next"));
  EXPECT_EQ(sink.take(), Calls{});
  reflector.on_item(service("b", "2"));
  EXPECT_EQ(reflector.on_list_end({.resource_version = "6", .continue_token = {}}), watch_from("5"));
  EXPECT_EQ(sink.take(), (Calls{"replace a:80 b:80"}));
}

TEST_F(ReflectorTest, APageThatExpiredMeansOneWholeList) {
  Reflector reflector = make(without_watch_list());
  (void)reflector.start();
  reflector.on_item(service("a", "1"));
  (void)reflector.on_list_end({.resource_version = "5", .continue_token = "next"});
  EXPECT_EQ(reflector.on_refused(refusal(410, "Expired"), {}), list_from("", 0));
  reflector.on_item(service("b", "2"));
  (void)reflector.on_list_end({.resource_version = "7", .continue_token = {}});
  EXPECT_EQ(sink.take(), (Calls{"replace b:80"}));
}

TEST_F(ReflectorTest, ARelistAsksForNothingOlderThanWhatIsKnown) {
  Reflector reflector = make(without_watch_list());
  (void)reflector.start();
  (void)reflector.on_list_end({.resource_version = "5", .continue_token = {}});
  (void)reflector.on_garbage(Error("frame at byte 0: length 4294967295"));
  EXPECT_EQ(reflector.on_timer(), list_from("5"));
}

TEST_F(ReflectorTest, GarbageBeginsANewCycle) {
  Reflector reflector = synced();
  EXPECT_EQ(reflector.on_garbage(Error("frame at byte 0: an empty frame")), Step(Wait{800ms}));
  EXPECT_EQ(reflector.on_timer(), initial_watch_from("10"));
}

TEST_F(ReflectorTest, TooManyRequestsAndServerErrorsAreRetriedAsTheyWere) {
  for (const int code : {429, 500, 503}) {
    Reflector reflector = synced();
    EXPECT_EQ(reflector.on_refused(refusal(code), {}), Step(Wait{800ms})) << code;
    EXPECT_EQ(reflector.on_timer(), watch_from("10")) << code;
    Reflector in_stream = synced();
    EXPECT_EQ(in_stream.on_event(error_event(refusal(code))), Step(Wait{800ms})) << code;
    EXPECT_EQ(in_stream.on_timer(), watch_from("10")) << code;
    Reflector at_start = make();
    (void)at_start.start();
    EXPECT_EQ(at_start.on_refused(refusal(code), {}), Step(Wait{800ms})) << code;
    EXPECT_EQ(at_start.on_timer(), kInitialWatch) << code;
  }
}

TEST_F(ReflectorTest, RetryAfterIsHonouredWithinReason) {
  EXPECT_EQ(synced().on_refused(refusal(429), 7s), Step(Wait{7s}));
  EXPECT_EQ(synced().on_refused(refusal(503), 7s), Step(Wait{7s}));
  EXPECT_EQ(synced().on_refused(refusal(429), std::chrono::seconds(1'000'000'000)), Step(Wait{5min}));
  ApiStatus status = refusal(429);
  status.retry_after_seconds = 9;
  EXPECT_EQ(synced().on_event(error_event(status)), Step(Wait{9s}));
}

TEST_F(ReflectorTest, AnyOtherErrorBeginsANewCycleAfterABackOff) {
  Reflector reflector = synced();
  EXPECT_EQ(reflector.on_event(error_event(refusal(400, "BadRequest"))), Step(Wait{800ms}));
  EXPECT_EQ(reflector.on_timer(), initial_watch_from("10"));
  EXPECT_EQ(reflector.status().last_error, "Service, watching: 400 BadRequest");
}

TEST_F(ReflectorTest, AServerRestartedWithAnOlderHistoryIsNoticedAndReadAnew) {
  Reflector reflector = synced();
  EXPECT_EQ(reflector.on_event(bookmark("4")), kInitialWatch);
  (void)reflector.on_event(event(WatchType::Added, "b", "3"));
  (void)reflector.on_event(bookmark("4", true));
  EXPECT_EQ(sink.take(), (Calls{"replace b:80"}));
  EXPECT_EQ(reflector.status().resource_version, "4");
  EXPECT_EQ(reflector.status().relists, 1u);
}

TEST_F(ReflectorTest, ADeletionMayCarryTheVersionBefore) {
  Reflector reflector = synced();
  EXPECT_EQ(reflector.on_event(event(WatchType::Deleted, "a", "7")), Step(Proceed{}));
  EXPECT_EQ(sink.take(), (Calls{"erase a"}));
  EXPECT_EQ(reflector.status().resource_version, "10");
}

TEST_F(ReflectorTest, AnUnservedOptionalResourceIsEmptyAndAskedForAgainLater) {
  ReflectorOptions options;
  options.may_be_unserved = true;
  Reflector reflector = make(options);
  (void)reflector.start();
  EXPECT_EQ(reflector.on_refused(refusal(404, "NotFound"), {}), Step(Wait{5min}));
  EXPECT_EQ(sink.take(), (Calls{"replace"}));
  EXPECT_EQ(reflector.status().state, ReflectorState::Unserved);
  EXPECT_TRUE(reflector.status().synced);
  EXPECT_EQ(reflector.status().errors, 0u);
  EXPECT_EQ(reflector.on_timer(), kInitialWatch);
  EXPECT_EQ(reflector.on_refused(refusal(404, "NotFound"), {}), Step(Wait{5min}));
}

TEST_F(ReflectorTest, AResourceThatMustBeThereIsAnErrorWhenItIsNot) {
  Reflector reflector = make();
  (void)reflector.start();
  EXPECT_EQ(reflector.on_refused(refusal(404, "NotFound"), {}), Step(Wait{800ms}));
  EXPECT_EQ(sink.take(), Calls{});
  EXPECT_EQ(reflector.status().last_error, "Service, initial events: 404 NotFound");
}

TEST_F(ReflectorTest, AnOptionalResourceThatWasServedKeepsItsStateThroughA404) {
  ReflectorOptions options;
  options.may_be_unserved = true;
  Reflector reflector = synced(options);
  EXPECT_EQ(reflector.on_refused(refusal(404), {}), Step(Wait{800ms}));
  EXPECT_EQ(sink.take(), Calls{});
}

TEST_F(ReflectorTest, WhatTheSelectorsExcludeNeverReachesTheSink) {
  const auto foreign = [](WatchEvent out) {
    std::get<Service>(*out.object).has_proxy_name_label = true;
    return out;
  };
  Reflector reflector = make();
  (void)reflector.start();
  (void)reflector.on_event(event(WatchType::Added, "a", "1"));
  (void)reflector.on_event(foreign(event(WatchType::Added, "b", "2")));
  (void)reflector.on_event(bookmark("3", true));
  EXPECT_EQ(sink.take(), (Calls{"replace a:80"}));
  (void)reflector.on_event(foreign(event(WatchType::Modified, "a", "4")));
  EXPECT_EQ(sink.take(), (Calls{"erase a"}));
}

TEST_F(ReflectorTest, TheWatchThatEndsBeforeItsInitialEventsDoBeginsAnew) {
  Reflector reflector = make();
  (void)reflector.start();
  (void)reflector.on_event(event(WatchType::Added, "a", "1"));
  EXPECT_EQ(reflector.on_watch_end(), Step(Wait{800ms}));
  EXPECT_EQ(reflector.on_timer(), kInitialWatch);
  (void)reflector.on_event(bookmark("3", true));
  EXPECT_EQ(sink.take(), (Calls{"replace"}));
}

}  // namespace
}  // namespace fairlead::kube
