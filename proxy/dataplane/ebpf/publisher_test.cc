#include "proxy/dataplane/ebpf/publisher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/strings.h"
#include "proxy/dataplane/ebpf/fake_maps.h"
#include "proxy/dataplane/ebpf/test_services.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

using namespace testing;
using base::cat;
using Services = std::vector<model::ServiceState>;
// What a client may meet: the endpoints of each frontend, and its flags.
using View = std::map<bpf::frontend_key, std::pair<Pool, std::uint32_t>>;

constexpr std::uint32_t kCapacity = 64;

ServiceBuilder web(int endpoints, const std::string& name = "web", const std::string& ip = "10.96.0.1") {
  ServiceBuilder builder = service(name).cluster_ip(ip, 80);
  for (int i = 1; i <= endpoints; ++i) builder.endpoint(cat("10.1.0.", i), 8080);
  return builder;
}

View view_of(const FakeKernel& kernel) {
  View view;
  for (const auto& [key, row] : kernel.frontends) {
    EXPECT_TRUE(row.key == key);
    const std::optional<Pool> pool = read_pool(kernel, row);
    EXPECT_TRUE(pool.has_value()) << to_string(key) << " names slots of another generation";
    if (pool) view[key] = {*pool, row.flags};
  }
  return view;
}

// In order of the service keys, as conflicts are decided.
View wanted(Services services) {
  std::sort(services.begin(), services.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  View view;
  for (const model::ServiceState& s : services) {
    for (const Claim& claim : plan(s)) view.try_emplace(claim.key, *claim.pool, claim.flags);
  }
  return view;
}

TEST(Publisher, ReplaceBringsEveryFrontendAndTheSameAgainWritesNothing) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const Services services{web(3), service("none").cluster_ip("10.96.0.2", 80).drop_when_empty()};
  const Report first = publisher.replace(services);
  expect_ok(first);
  EXPECT_EQ(first.kernel_writes, 3U + 2U) << "slots and rows";
  EXPECT_EQ(view_of(kernel), wanted(services));
  EXPECT_EQ(publisher.replace(services).kernel_writes, 0U);
  EXPECT_EQ(publisher.apply({.upserted = services, .deleted = {}}).kernel_writes, 0U);
}

TEST(Publisher, ANewAgentAdoptsWhatStandsAndWritesNothing) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  const Services services{web(3), web(2, "other", "10.96.0.2")};
  Publisher(maps).replace(services);
  EXPECT_EQ(Publisher(maps).replace(services).kernel_writes, 0U);
}

TEST(Publisher, FrontendsOfOnePortShareAnExtent) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const model::ServiceState one = web(3).node_port(30080).masquerade();
  EXPECT_EQ(publisher.replace({one}).kernel_writes, 3U + 2U);
  const model::ServiceState two = web(3).node_port(30080).masquerade().external_ip("198.51.100.1", 80);
  EXPECT_EQ(publisher.apply({.upserted = {two}, .deleted = {}}).kernel_writes, 1U);
  EXPECT_EQ(view_of(kernel), wanted({two}));
  EXPECT_EQ(Publisher(maps).replace({one}).kernel_writes, 1U) << "the row alone goes: others use the extent";
  EXPECT_EQ(view_of(kernel), wanted({one}));
}

TEST(Publisher, AChangeOfFlagsWritesTheRowAlone) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  publisher.replace({web(3)});
  EXPECT_EQ(publisher.apply({.upserted = {web(3).masquerade()}, .deleted = {}}).kernel_writes, 1U);
  EXPECT_EQ(view_of(kernel), wanted({web(3).masquerade()}));
}

TEST(Publisher, ADeletedServiceLeavesNoRow) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  publisher.replace({web(3)});
  EXPECT_EQ(publisher.apply({.upserted = {}, .deleted = {{"ns", "web"}}}).kernel_writes, 1U);
  EXPECT_TRUE(kernel.frontends.empty());
}

TEST(Publisher, OfTwoServicesWithOneAddressTheSmallerKeyHasItAndTheOtherTakesOver) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const model::ServiceState a = web(1, "a");
  const model::ServiceState b = web(2, "b");
  for (const Services& order : {Services{a, b}, Services{b, a}}) {
    const Report report = publisher.replace(order);
    ASSERT_EQ(report.failures.size(), 1U);
    EXPECT_EQ(report.failures[0].service, b.key);
    EXPECT_EQ(report.failures[0].error.message(), "10.96.0.1:80/TCP: already taken by service ns/a");
    EXPECT_EQ(view_of(kernel), wanted({a}));
  }
  expect_ok(publisher.apply({.upserted = {}, .deleted = {a.key}}));
  EXPECT_EQ(view_of(kernel), wanted({b}));
  EXPECT_EQ(publisher.apply({.upserted = {a}, .deleted = {}}).failures.size(), 1U);
  EXPECT_EQ(view_of(kernel), wanted({a}));
  expect_ok(publisher.apply({.upserted = {}, .deleted = {b.key}}));
  EXPECT_EQ(view_of(kernel), wanted({a}));
}

TEST(Publisher, AServiceThatDoesNotFitFailsAloneAndFitsWhenThereIsRoom) {
  FakeKernel kernel(8);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const Services services{web(5, "a", "10.96.0.1"), web(6, "b", "10.96.0.2"), web(3, "c", "10.96.0.3")};
  const Report report = publisher.replace(services);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].service, services[1].key);
  EXPECT_EQ(report.failures[0].error.message(), "10.96.0.2:80/TCP: no room for 6 endpoints among 8 slots");
  EXPECT_EQ(view_of(kernel), wanted({services[0], services[2]}));
  publisher.apply({.upserted = {}, .deleted = {services[0].key, services[2].key}});
  expect_ok(publisher.replace({services[1]}));
  EXPECT_EQ(view_of(kernel), wanted({services[1]}));
}

TEST(Publisher, DamagedRowsAreRewrittenOrRemoved) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  const Services services{web(3), web(2, "other", "10.96.0.2"), web(2, "third", "10.96.0.3")};
  Publisher(maps).replace(services);
  auto row = kernel.frontends.begin();
  row->second.generation += 100;         // names slots of another generation
  (++row)->second.key.port ^= 1;         // the record of another key
  (++row)->second.base = kCapacity - 1;  // reaches past the end
  bpf::frontend_key stranger = row->first;
  stranger.proto = 17;
  kernel.frontends[stranger] = {.key = stranger, .base = 7, .count = 9, .generation = 1, .flags = 0};
  expect_ok(Publisher(maps).replace(services));
  EXPECT_EQ(view_of(kernel), wanted(services));
}

// ------------------------------------------------------------------------------------------------ every point

// A sequence that grows, shrinks, empties, moves addresses between services and deletes.
const std::vector<Services>& story() {
  static const std::vector<Services> steps{
      {web(3), web(2, "other", "10.96.0.2")},
      {web(5).node_port(30080).masquerade(), web(2, "other", "10.96.0.2")},
      {web(4).node_port(30080), web(0, "other", "10.96.0.2")},
      {web(4, "moved", "10.96.0.1"), web(9, "other", "10.96.0.2"), web(1, "new", "10.96.0.3")},
      {web(1, "new", "10.96.0.3")},
  };
  return steps;
}

// Every frontend has the old set or the new one, whole; one that both states have is never absent.
void expect_old_or_new(const FakeKernel& kernel, const View& before, const View& after) {
  const View now = view_of(kernel);
  for (const auto& [key, value] : now) {
    const auto old_value = before.find(key);
    const auto new_value = after.find(key);
    EXPECT_TRUE((old_value != before.end() && old_value->second == value) ||
                (new_value != after.end() && new_value->second == value))
        << to_string(key) << " is neither the old set nor the new";
  }
  for (const auto& [key, value] : before) {
    if (after.count(key) > 0) {
      EXPECT_EQ(now.count(key), 1U) << to_string(key) << " was missing";
    }
  }
}

TEST(Publication, EveryPointOfAnApplyShowsTheOldSetOrTheNewOne) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  Services before;
  for (const Services& after : story()) {
    maps.after_write = [&] { expect_old_or_new(kernel, wanted(before), wanted(after)); };
    expect_ok(publisher.replace(after));
    EXPECT_EQ(view_of(kernel), wanted(after));
    before = after;
  }
}

TEST(Publication, DeathAtAnyWriteIsRepairedByTheNextStart) {
  Services before;
  for (const Services& after : story()) {
    for (std::uint64_t at = 1;; ++at) {
      FakeKernel kernel(kCapacity);
      FakeMaps clean(kernel);
      Publisher(clean).replace(before);
      FakeMaps mortal(kernel);
      mortal.die_at = at;
      bool died = false;
      try {
        Publisher(mortal).replace(after);
      } catch (const Killed&) {
        died = true;
      }
      expect_old_or_new(kernel, wanted(before), wanted(after));
      FakeMaps next(kernel);
      next.after_write = [&] { expect_old_or_new(kernel, wanted(before), wanted(after)); };
      Publisher heir(next);
      expect_ok(heir.replace(after));
      EXPECT_EQ(view_of(kernel), wanted(after));
      EXPECT_EQ(heir.replace(after).kernel_writes, 0U);
      if (!died) break;
      ASSERT_LT(at, 1000U);
    }
    before = after;
  }
}

TEST(Publication, AFailedWriteIsReportedAndTheRestAppliedAndTheNextReplaceHeals) {
  Services before;
  for (const Services& after : story()) {
    FakeKernel counting(kCapacity);
    FakeMaps count(counting);
    Publisher(count).replace(before);
    const std::uint64_t already = count.writes;
    Publisher(count).replace(after);
    for (std::uint64_t at = 1; at <= count.writes - already; ++at) {
      FakeKernel kernel(kCapacity);
      FakeMaps maps(kernel);
      Publisher publisher(maps);
      publisher.replace(before);
      maps.fail_at = maps.writes + at;
      const Report report = publisher.replace(after);
      EXPECT_FALSE(report.ok()) << "write " << at;
      expect_old_or_new(kernel, wanted(before), wanted(after));
      expect_ok(publisher.replace(after));
      EXPECT_EQ(view_of(kernel), wanted(after));
    }
    before = after;
  }
}

// A reader that copied a row goes on to read its slots, however much later, until the writer has waited for readers.
TEST(Publication, SlotsOfAGivenUpExtentStandUntilReadersHaveLeft) {
  FakeKernel kernel(24);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  struct Held {
    bpf::frontend row;
    Pool pool;
  };
  std::vector<Held> held;
  int waits = 0;
  maps.after_write = [&] {
    for (const Held& reader : held) EXPECT_EQ(read_pool(kernel, reader.row), reader.pool);
    for (const auto& [key, row] : kernel.frontends) held.push_back({row, read_pool(kernel, row).value_or(Pool{})});
  };
  maps.at_wait = [&] {
    held.clear();
    ++waits;
  };
  publisher.replace({});
  for (int i = 0; i < 60; ++i) {
    expect_ok(publisher.apply({.upserted = {web(1 + i % 5), web(1 + i % 7, "other", "10.96.0.2")}, .deleted = {}}));
  }
  EXPECT_GT(waits, 0) << "the pool is small: extents must have been reused";
}

TEST(Publication, RandomChangesEndWhereAFreshReplaceWould) {
  std::mt19937 random(7);
  const auto roll = [&](int limit) { return static_cast<int>(random() % static_cast<unsigned>(limit)); };
  for (int round = 0; round < 20; ++round) {
    FakeKernel kernel(256);
    FakeMaps maps(kernel);
    Publisher publisher(maps);
    publisher.replace({});
    std::map<model::Key, model::ServiceState> state;
    for (int step = 0; step < 60; ++step) {
      model::Changes changes;
      const std::string name = cat("s", roll(6));
      if (roll(4) == 0) {
        changes.deleted.push_back({"ns", name});
        state.erase({"ns", name});
      } else {
        ServiceBuilder builder = web(roll(8), name, cat("10.96.0.", roll(8)));  // addresses clash now and then
        if (roll(2) == 0) builder.node_port(static_cast<std::uint16_t>(30000 + roll(4))).masquerade();
        if (roll(3) == 0) builder.external_ip("198.51.100.1", static_cast<std::uint16_t>(80 + roll(3)));
        changes.upserted.push_back(builder);
        state[changes.upserted[0].key] = changes.upserted[0];
      }
      if (roll(10) == 0) maps.fail_at = maps.writes + 1 + static_cast<unsigned>(roll(6));
      publisher.apply(changes);
      if (maps.fail_at) {
        maps.fail_at.reset();
        Services all;
        for (const auto& [key, s] : state) all.push_back(s);
        publisher.replace(all);
      }
      Services all;
      for (const auto& [key, s] : state) all.push_back(s);
      ASSERT_EQ(view_of(kernel), wanted(all)) << "round " << round << " step " << step;
    }
  }
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
