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
// What a client may meet at a frontend. A restricted row is of no use without its sources, so they belong to it.
struct Sight {
  Pool pool;
  Pool cluster;
  std::uint32_t flags = 0;
  std::uint32_t affinity_seconds = 0;
  bpf::frontend_key affinity{};
  bool operator==(const Sight&) const = default;
};
using View = std::map<bpf::frontend_key, Sight>;

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
    EXPECT_EQ(row.version, row.version_again);
    const std::optional<Pool> pool = read_pool(kernel, row.pool);
    const std::optional<Pool> cluster = read_pool(kernel, row.cluster);
    EXPECT_TRUE(pool && cluster) << to_string(key) << " names slots of another generation";
    if (pool && cluster) view[key] = {*pool, *cluster, row.flags, row.affinity_seconds, row.affinity};
  }
  return view;
}

Sources sources_of(const FakeKernel& kernel, const bpf::frontend_key& key) {
  Sources out;
  for (const auto& [frontend, source] : kernel.sources) {
    if (frontend == key) out.push_back(source);
  }
  return out;
}

// In order of the service keys, as conflicts are decided.
View wanted(Services services) {
  std::sort(services.begin(), services.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  View view;
  for (const model::ServiceState& s : services) {
    for (const Claim& c : plan(s)) {
      view.try_emplace(c.key, Sight{*c.pool, *c.cluster, c.flags, c.affinity_seconds, c.affinity});
    }
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
  EXPECT_EQ(first.kernel_writes, 3U + 4U) << "slots, and a row for each frontend and each ClusterIP";
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

// Two extents of one content, each of which would do for either pool.
TEST(Publisher, ANewAgentLeavesTwoPoolsThatCameToBeAlikeWhereTheyStand) {
  const auto remote = [](bool second) {
    ServiceBuilder builder = service("web").cluster_ip("10.96.0.1", 80).node_port(30080).short_circuit();
    builder.endpoint("10.1.0.1", 8080, true).endpoint("10.1.0.2", 8080, second);
    return Services{builder};
  };
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  expect_ok(publisher.replace(remote(false)));
  expect_ok(publisher.apply({.upserted = remote(true), .deleted = {}}));
  EXPECT_EQ(view_of(kernel), wanted(remote(true)));
  EXPECT_EQ(Publisher(maps).replace(remote(true)).kernel_writes, 0U);
}

TEST(Publisher, FrontendsOfOnePortShareAnExtent) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const model::ServiceState one = web(3).node_port(30080).masquerade();
  EXPECT_EQ(publisher.replace({one}).kernel_writes, 3U + 3U);
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
  EXPECT_EQ(publisher.apply({.upserted = {}, .deleted = {{"ns", "web"}}}).kernel_writes, 2U);
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
  View rest = wanted(services);
  EXPECT_EQ(rest.erase({.addr = to_addr16(*net::Ip::parse("10.96.0.2")), .port = to_be16(80), .proto = 6, .pad = 0}),
            1U);
  EXPECT_EQ(view_of(kernel), rest);
  publisher.apply({.upserted = {}, .deleted = {services[0].key, services[2].key}});
  expect_ok(publisher.replace({services[1]}));
  EXPECT_EQ(view_of(kernel), wanted({services[1]}));
}

TEST(Publisher, DamagedRowsAreRewrittenOrRemoved) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  const Services services{web(3), web(2, "other", "10.96.0.2"), web(2, "third", "10.96.0.3")};
  Publisher(maps).replace(services);
  const auto row = [&](const std::string& ip) -> bpf::frontend& {
    return kernel.frontends.at({.addr = to_addr16(*net::Ip::parse(ip)), .port = to_be16(80), .proto = 6, .pad = 0});
  };
  row("10.96.0.1").pool.generation += 100;     // names slots of another generation
  row("10.96.0.2").key.port ^= 1;              // the record of another key
  row("10.96.0.3").pool.base = kCapacity - 1;  // reaches past the end
  bpf::frontend_key stranger = row("10.96.0.1").key;
  stranger.proto = 17;
  kernel.frontends[stranger] = row("10.96.0.1");
  kernel.sources.emplace(stranger, *net::Prefix::parse("10.0.0.0/8"));
  expect_ok(Publisher(maps).replace(services));
  EXPECT_EQ(view_of(kernel), wanted(services));
  EXPECT_TRUE(kernel.sources.empty());
}

TEST(Publisher, ARowWithTwoPoolsNamesTwoExtentsAndSharesThem) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const model::ServiceState both =
      web(2).external_ip("198.51.100.1", 80).short_circuit().endpoint("10.1.1.1", 8080, true);
  EXPECT_EQ(publisher.replace({both}).kernel_writes, 3U + 1U + 3U) << "the cluster's slots once, the local one, rows";
  EXPECT_EQ(view_of(kernel), wanted({both}));
  EXPECT_EQ(Publisher(maps).replace({both}).kernel_writes, 0U);
  // The local endpoint goes: one pool is empty, the other one stands for the ClusterIP too.
  const model::ServiceState one = web(2).external_ip("198.51.100.1", 80).short_circuit();
  EXPECT_EQ(publisher.apply({.upserted = {one}, .deleted = {}}).kernel_writes, 2U + 2U);
  EXPECT_EQ(view_of(kernel), wanted({one}));
}

TEST(Publisher, AChangeOfSourcesWritesTheDifferenceAndNoRow) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const auto open_to = [](const std::vector<std::string>& ranges) {
    return web(1).external_ip("198.51.100.1", 80).only_for(ranges);
  };
  publisher.replace({open_to({"10.0.0.0/8", "192.0.2.0/24"})});
  EXPECT_EQ(kernel.sources.size(), 2U);
  EXPECT_EQ(publisher.apply({.upserted = {open_to({"10.0.0.0/8", "203.0.113.0/24"})}, .deleted = {}}).kernel_writes,
            2U);
  EXPECT_EQ(kernel.sources.size(), 2U);
  EXPECT_EQ(Publisher(maps).replace({open_to({"10.0.0.0/8", "203.0.113.0/24"})}).kernel_writes, 0U);
  EXPECT_EQ(publisher.apply({.upserted = {}, .deleted = {{"ns", "web"}}}).kernel_writes, 3U + 2U);
  EXPECT_TRUE(kernel.sources.empty());
}

TEST(Publisher, TwoServicesMayShareAnAddressAtDifferentPorts) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const Services services{web(1, "a"), service("b").cluster_ip("10.96.0.1", 81)};
  expect_ok(publisher.replace(services));
  EXPECT_EQ(kernel.frontends.size(), 3U);
  expect_ok(publisher.apply({.upserted = {}, .deleted = {{"ns", "a"}}}));
  EXPECT_EQ(view_of(kernel), wanted({services[1]})) << "the address stays with the other";
}

TEST(Publisher, OnlyAUdpFrontendThatLosesAnEndpointIsALoss) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  const auto dns = [](int endpoints) { return web(endpoints, "dns", "10.96.0.10").udp(); };
  publisher.replace({web(2), dns(2)});
  EXPECT_TRUE(publisher.take_udp_loss()) << "what was before the start is not known";
  EXPECT_FALSE(publisher.take_udp_loss());
  const auto loss_after = [&](const model::Changes& changes) {
    publisher.apply(changes);
    return publisher.take_udp_loss();
  };
  EXPECT_FALSE(loss_after({.upserted = {web(1)}, .deleted = {}}));
  EXPECT_FALSE(loss_after({.upserted = {dns(3)}, .deleted = {}}));
  EXPECT_FALSE(loss_after({.upserted = {dns(2).draining("10.1.0.3", 8080)}, .deleted = {}})) << "it still serves";
  EXPECT_TRUE(loss_after({.upserted = {dns(2)}, .deleted = {}}));
  EXPECT_FALSE(loss_after({.upserted = {web(2)}, .deleted = {}}));
  publisher.replace({dns(2)});
  EXPECT_FALSE(publisher.take_udp_loss());
  publisher.replace({dns(1)});
  EXPECT_TRUE(publisher.take_udp_loss());
  EXPECT_TRUE(loss_after({.upserted = {}, .deleted = {{"ns", "dns"}}}));
}

TEST(Publisher, AUdpFlowMayStayWithEveryEndpointThatServes) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  publisher.replace({web(1, "dns", "10.96.0.10").udp().node_port(30053).draining("10.1.0.9", 8080)});
  const auto may_stay = [&](const std::string& frontend, std::uint16_t port, const std::string& endpoint,
                            std::uint16_t endpoint_port = 8080) {
    return publisher.may_stay(
        {.addr = to_addr16(*net::Ip::parse(frontend)), .port = to_be16(port), .proto = 17, .pad = 0},
        to_addr16(*net::Ip::parse(endpoint)), to_be16(endpoint_port));
  };
  EXPECT_TRUE(may_stay("10.96.0.10", 80, "10.1.0.1"));
  EXPECT_TRUE(may_stay("10.96.0.10", 80, "10.1.0.9")) << "it takes no new ones, but serves";
  EXPECT_TRUE(may_stay("192.0.2.1", 30053, "10.1.0.1")) << "the NodePort, on an address of the node";
  EXPECT_FALSE(may_stay("10.96.0.10", 80, "10.1.0.2"));
  EXPECT_FALSE(may_stay("10.96.0.10", 80, "10.1.0.1", 53)) << "the target port has changed";
  EXPECT_FALSE(may_stay("10.96.0.11", 80, "10.1.0.1")) << "no such service any more";
  EXPECT_FALSE(may_stay("fd00::1", 30053, "10.1.0.1"));
}

// ------------------------------------------------------------------------------------------------ every point

// A sequence that grows, shrinks, empties, moves addresses between services, opens, closes and deletes.
const std::vector<Services>& story() {
  static const std::vector<Services> steps{
      {web(3), web(2, "other", "10.96.0.2")},
      {web(5).node_port(30080).masquerade(), web(2, "other", "10.96.0.2").udp().affinity(60)},
      {web(4).node_port(30080).short_circuit(), web(0, "other", "10.96.0.2").udp().draining("10.1.0.1", 8080)},
      {web(4, "moved", "10.96.0.1"),
       web(9, "other", "10.96.0.2").external_ip("198.51.100.1", 80).only_for({"10.0.0.0/8"}),
       web(1, "new", "10.96.0.3")},
      {web(1, "new", "10.96.0.3"), web(2, "other", "10.96.0.2")
                                       .external_ip("198.51.100.1", 80)
                                       .short_circuit()
                                       .only_for({"10.0.0.0/8", "192.0.2.0/24"})
                                       .endpoint("10.1.1.1", 8080, true)},
      {web(1, "new", "10.96.0.3").external_ip("198.51.100.1", 80).only_for({"192.0.2.0/24"})},
      {web(1, "new", "10.96.0.3").affinity(9).external_ip("198.51.100.1", 80).masquerade_off_cluster()},
      {web(1, "new", "10.96.0.3")},
  };
  return steps;
}

std::optional<Sources> wanted_sources(Services services, const bpf::frontend_key& key) {
  std::sort(services.begin(), services.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  for (const model::ServiceState& s : services) {
    for (const Claim& claim : plan(s)) {
      if (claim.key == key && claim.sources) return *claim.sources;
      if (claim.key == key) return std::nullopt;
    }
  }
  return std::nullopt;
}

// Whoever may use a restricted frontend in both states can at any moment; who may in neither never can.
void expect_sources_of_old_or_new(const FakeKernel& kernel, const Services& before, const Services& after) {
  for (const auto& [key, row] : kernel.frontends) {
    if ((row.flags & bpf::FRONTEND_RESTRICTED) == 0) continue;
    const Sources now = sources_of(kernel, key);
    const std::optional<Sources> was = wanted_sources(before, key);
    const std::optional<Sources> will = wanted_sources(after, key);
    const auto in = [](const std::optional<Sources>& list, const net::Prefix& p) {
      return !list || std::find(list->begin(), list->end(), p) != list->end();
    };
    for (const auto& list : {was, will}) {
      for (const net::Prefix& p : list.value_or(Sources{})) {
        if (in(was, p) && in(will, p)) {
          EXPECT_TRUE(in(now, p)) << to_string(key) << " was closed to " << p;
        }
      }
    }
    for (const net::Prefix& p : now) {
      EXPECT_TRUE((was && in(was, p)) || (will && in(will, p))) << to_string(key) << " was open to " << p;
    }
  }
}

// Every frontend has the old set or the new one, whole; one that both states have is never absent. The row of a
// ClusterIP as such comes after those of its ports, and goes before them.
void expect_old_or_new(const FakeKernel& kernel, const Services& services_before, const Services& services_after) {
  const View before = wanted(services_before);
  const View after = wanted(services_after);
  const View now = view_of(kernel);
  for (const auto& [key, value] : now) {
    const auto old_value = before.find(key);
    const auto new_value = after.find(key);
    EXPECT_TRUE((old_value != before.end() && old_value->second == value) ||
                (new_value != after.end() && new_value->second == value))
        << to_string(key) << " is neither the old set nor the new";
    if (is_address_key(key) && (before.count(key) == 0 || after.count(key) == 0)) {
      EXPECT_TRUE(std::any_of(now.begin(), now.end(),
                              [&, address = key.addr](const auto& other) {
                                return other.first.addr == address && !is_address_key(other.first);
                              }))
          << to_string(key) << " stood alone";
    }
  }
  for (const auto& [key, value] : before) {
    if (after.count(key) > 0) {
      EXPECT_EQ(now.count(key), 1U) << to_string(key) << " was missing";
    }
  }
  expect_sources_of_old_or_new(kernel, services_before, services_after);
}

void expect_exactly(const FakeKernel& kernel, const Services& services) {
  EXPECT_EQ(view_of(kernel), wanted(services));
  std::size_t sources = 0;
  for (const auto& [key, row] : kernel.frontends) {
    const Sources want = wanted_sources(services, key).value_or(Sources{});
    EXPECT_EQ(sources_of(kernel, key), want) << to_string(key);
    sources += want.size();
  }
  EXPECT_EQ(kernel.sources.size(), sources) << "sources of nobody";
}

TEST(Publication, EveryPointOfAnApplyShowsTheOldSetOrTheNewOne) {
  FakeKernel kernel(kCapacity);
  FakeMaps maps(kernel);
  Publisher publisher(maps);
  Services before;
  for (const Services& after : story()) {
    maps.after_write = [&] { expect_old_or_new(kernel, before, after); };
    expect_ok(publisher.replace(after));
    expect_exactly(kernel, after);
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
      expect_old_or_new(kernel, before, after);
      FakeMaps next(kernel);
      next.after_write = [&] { expect_old_or_new(kernel, before, after); };
      Publisher heir(next);
      expect_ok(heir.replace(after));
      expect_exactly(kernel, after);
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
      expect_old_or_new(kernel, before, after);
      expect_ok(publisher.replace(after));
      expect_exactly(kernel, after);
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
    bpf::extent extent;
    Pool pool;
  };
  std::vector<Held> held;
  int waits = 0;
  maps.after_write = [&] {
    for (const Held& reader : held) EXPECT_EQ(read_pool(kernel, reader.extent), reader.pool);
    for (const auto& [key, row] : kernel.frontends)
      held.push_back({row.pool, read_pool(kernel, row.pool).value_or(Pool{})});
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
        if (roll(3) == 0) {
          builder.external_ip("198.51.100.1", static_cast<std::uint16_t>(80 + roll(3)));
          if (roll(2) == 0) builder.only_for({cat("10.", roll(4), ".0.0/16"), "192.0.2.0/24"});
          if (roll(2) == 0) builder.short_circuit().endpoint(cat("10.1.1.", 1 + roll(2)), 8080, true);
        }
        if (roll(4) == 0) builder.udp().draining("10.1.0.9", 8080);
        if (roll(4) == 0) builder.affinity(1U + static_cast<unsigned>(roll(3)));
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
      expect_exactly(kernel, all);
      ASSERT_FALSE(::testing::Test::HasFailure()) << "round " << round << " step " << step;
    }
  }
}

}  // namespace
}  // namespace fairlead::proxy::dataplane::ebpf
