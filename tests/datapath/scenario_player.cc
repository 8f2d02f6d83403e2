#include "tests/datapath/scenario_player.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "tests/datapath/assert_ok.h"
#include "tests/datapath/http_probe.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using net::Family;

// Attempts at once until every endpoint has answered. That a fourth endpoint beside three expected ones is never met in
// the first batch: 1 in 1000 runs, and every rule is run on each dataplane and family.
constexpr unsigned kBatch = 24;
constexpr unsigned kMostAttempts = 300;  // with 3 endpoints, missing one of them by chance: 1 in 10^52
constexpr unsigned kForShares = 800;
constexpr double kDeviations = 5;        // of a binomial: by chance 1 in a million
constexpr unsigned kSticky = 16;         // the same of two endpoints each time by chance: 1 in 32,000
constexpr unsigned kAtOnceUs = 400'000;  // a refusal is an answer of the nearest node, not of a retry (1 s for TCP)
constexpr unsigned kSilenceMs = 150;     // an answer takes 1
constexpr unsigned kBulkAttempts = 3;
constexpr unsigned kMostPauses = 20;  // with 2 endpoints, never meeting the other one by chance: 1 in 10^6

bool failed() { return testing::Test::HasFailure(); }

template <typename T>
bool has(const std::vector<T>& list, const T& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

void ScenarioPlayer::play(const std::vector<Phase>& phases) {
  for (std::size_t i = 0; i < phases.size() && !failed(); ++i) {
    SCOPED_TRACE(cat("phase ", i + 1));
    ASSERT_OK(put_in_force(phases[i]));
    for (const Check& check : phases[i].expect) run(check);
  }
  flows_.clear();
  if (failed()) std::cout << cluster_.driver().diagnosis() << std::endl;
  services_.clear();
  ASSERT_OK(put_in_force({}));
}

Status ScenarioPlayer::put_in_force(const Phase& phase) {
  Status done = cluster_.driver().set_cluster(cluster_manifests(phase.cluster, testbed()));
  if (done) done = give(phase.given);
  if (!done) cluster_.give_up_driver();
  return done;
}

Status ScenarioPlayer::give(const std::vector<ServiceSpec>& services) {
  std::vector<base::Value> objects;
  for (const ServiceSpec& spec : services) {
    auto& known = services_[spec.name];
    if (known.first.number == 0) known.first.number = cluster_.take_number();
    known.first.second_range = spec.second_range;
    known.second = spec;
    for (base::Value& object : TRY(manifests(spec, known.first, family_, testbed()))) {
      objects.push_back(std::move(object));
    }
  }
  return cluster_.driver().apply(std::move(objects));
}

Target ScenarioPlayer::target_of(const To& to) const {
  const auto& [addresses, spec] = services_.at(to.service);
  if (to.kind == To::Kind::HealthCheckNodePort) {
    return {ip_of(cat("node", to.node)), addresses.health_check_node_port(), Transport::Tcp};
  }
  const PortSpec* found = spec.port(to.port);
  if (found == nullptr) ADD_FAILURE() << "the scenario's service has no port \"" << to.port << "\"";
  PortSpec port = found != nullptr ? *found : PortSpec{};
  const auto index = static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, found - spec.ports.data()));
  const std::uint16_t node_port = addresses.node_port(spec.one_node_port ? 0 : index);
  if (to.number != 0) port.port = to.number;
  switch (to.kind) {
    case To::Kind::ClusterIp: return {addresses.cluster_ip(family_), port.port, port.transport};
    case To::Kind::ExternalIp: return {addresses.external_ip(family_), port.port, port.transport};
    case To::Kind::LoadBalancerIp: return {addresses.load_balancer_ip(family_, to.which), port.port, port.transport};
    case To::Kind::Unallocated: return {unallocated_cluster_ip(family_), port.port, port.transport};
    case To::Kind::NodePort: return {ip_of(cat("node", to.node)), node_port, port.transport};
    case To::Kind::SecondNodePort:
      return {ScenarioCluster::second_address(to.node, family_), node_port, port.transport};
    case To::Kind::LocalhostNodePort:
      return {*net::Ip::parse(family_ == Family::V4 ? "127.0.0.1" : "::1"), node_port, port.transport};
    case To::Kind::HealthCheckNodePort: break;
  }
  return {};
}

net::Ip ScenarioPlayer::ip_of(const std::string& place) const { return (*testbed().place(place))->ip(family_); }

unsigned ScenarioPlayer::node_of(const Check& check) const {
  if (check.target.node != 0) return check.target.node;
  const unsigned own = (*testbed().place(check.client))->node;
  if (own != 0) return own;
  return check.target.kind == To::Kind::ExternalIp ? 2 : 1;  // the routes of scenario_cluster.cc
}

Result<std::vector<Attempt>> ScenarioPlayer::attempts(const Check& check, unsigned count, unsigned timeout_ms,
                                                      unsigned parallel) {
  const Target target = target_of(check.target);
  const bool udp = target.transport == Transport::Udp;
  return testbed().connect(check.client,
                           {.to = target,
                            .style = check.style,
                            .count = count,
                            .parallel = check.bytes != 0 ? 1 : std::min(count, parallel),
                            .timeout_ms = timeout_ms,
                            .source_port = udp ? testbed().take_source_ports(count) : std::uint16_t{0},
                            .bytes = check.bytes,
                            .requests = check.requests,
                            .invalid_segment = check.invalid_segment},
                           check.membership);
}

void ScenarioPlayer::run(const Check& check) {
  using Outcome = Check::Outcome;
  const std::string what =
      check.client.empty()
          ? cat("flow ", check.memory)
          : cat("from ", check.client, check.membership == Membership::Outside ? " (outside the cgroup)" : "", " to ",
                target_of(check.target).to_string());
  SCOPED_TRACE(what);
  if (check.holds_the_address) ASSERT_OK(testbed().add_address(check.client, target_of(check.target).ip));
  switch (check.outcome) {
    case Outcome::Answered: expect_answered(check); break;
    case Outcome::Evenly: expect_evenly(check); break;
    case Outcome::Refused: expect_refused(check); break;
    case Outcome::Dropped: expect_dropped(check); break;
    case Outcome::Unanswered: expect_unanswered(check); break;
    case Outcome::OneAnswers: expect_one_answers(check); break;
    case Outcome::AnotherAnswers: expect_another_answers(check); break;
    case Outcome::Http: expect_http(check); break;
    case Outcome::StartsFlow: start_flow(check); break;
    case Outcome::FlowGoesOn: expect_flow_goes_on(check); break;
    case Outcome::FlowMoves: expect_flow_moves(check); break;
    case Outcome::FlowFallsSilent: expect_flow_falls_silent(check); break;
  }
  if (check.holds_the_address) ASSERT_OK(testbed().delete_address(check.client, target_of(check.target).ip));
}

void ScenarioPlayer::expect_answered(const Check& check) {
  ASSERT_FALSE(check.endpoints.empty()) << "the scenario names nobody who answers";
  std::set<std::string> waiting(check.endpoints.begin(), check.endpoints.end());
  for (unsigned done = 0; done < kMostAttempts && !waiting.empty() && !failed(); done += kBatch) {
    const auto batch = attempts(check, check.bytes != 0 ? kBulkAttempts : kBatch, 3000);
    ASSERT_OK(batch);
    for (const Attempt& attempt : *batch) {
      expect_good(check, attempt);
      if (failed()) return;  // one of a dozen alike is enough to read
      waiting.erase(attempt.answer);
    }
  }
  if (!failed()) {
    EXPECT_TRUE(waiting.empty()) << *waiting.begin() << " did not answer in " << kMostAttempts << " attempts";
  }
}

void ScenarioPlayer::expect_good(const Check& check, const Attempt& attempt) {
  ASSERT_EQ(attempt.error, "") << attempt;
  ASSERT_TRUE(has(check.endpoints, attempt.answer))
      << "expected " << base::join(check.endpoints, ", ") << ": " << attempt;
  const Target target = target_of(check.target);
  const std::vector<std::string> reached_at = doors_of(attempt.answer, check.target);
  EXPECT_TRUE(has(reached_at, attempt.local)) << "allowed: " << base::join(reached_at, ", ") << "; " << attempt;
  EXPECT_EQ(attempt.peer, net::host_port(target.ip, target.port)) << "the client sees another peer: " << attempt;
  const std::vector<std::string> sources = sources_of(check);
  EXPECT_TRUE(has(sources, attempt.source)) << "allowed: " << base::join(sources, ", ") << "; " << attempt;
}

std::vector<std::string> ScenarioPlayer::doors_of(const std::string& endpoint, const To& to) const {
  const ServiceSpec& spec = services_.at(to.service).second;
  std::vector<std::string> doors;
  for (const std::uint16_t port : spec.targets_of(endpoint, *spec.port(to.port))) {
    doors.push_back(net::host_port(ip_of(endpoint), port));
  }
  return doors;
}

std::vector<std::string> ScenarioPlayer::sources_of(const Check& check) const {
  const Place& client = **testbed().place(check.client);
  const unsigned node = node_of(check);
  // Where eBPF translates at the client's own socket, no packet with another destination ever leaves it.
  const bool at_the_socket =
      dataplane_ == "ebpf" && check.membership == Membership::Inside && client.node != 0 && client.node == node;
  std::vector<std::string> sources;
  const auto add_node = [&](unsigned which) {
    const auto addresses = testbed().node_addresses(which, family_);
    for (const net::Ip& address : *addresses) sources.push_back(address.to_string());
  };
  const bool as_itself = check.seen == Seen::Client || check.seen == Seen::ClientOrANode ||
                         (check.seen == Seen::Masqueraded && at_the_socket);
  const bool is_node = client.name.starts_with("node");
  if (as_itself && is_node) add_node(client.node);
  if (as_itself && !is_node) sources.push_back(ip_of(check.client).to_string());
  if (check.seen == Seen::Node || (check.seen == Seen::Masqueraded && !at_the_socket)) add_node(node);
  if (check.seen == Seen::ClientOrANode) {
    for (unsigned any = 1; any <= testbed().nodes(); ++any) add_node(any);
  }
  return sources;
}

void ScenarioPlayer::expect_evenly(const Check& check) {
  const auto results = attempts(check, kForShares, 3000);
  ASSERT_OK(results);
  std::map<std::string, unsigned> counts;
  for (const Attempt& attempt : *results) {
    expect_good(check, attempt);
    if (failed()) return;
    ++counts[attempt.answer];
  }
  const double share = 1.0 / static_cast<double>(check.endpoints.size());
  const double mean = kForShares * share;
  const double limit = kDeviations * std::sqrt(mean * (1 - share));
  for (const std::string& endpoint : check.endpoints) {
    EXPECT_NEAR(counts[endpoint], mean, limit) << endpoint << " of " << kForShares;
  }
}

void ScenarioPlayer::expect_refused(const Check& check) {
  const auto results = attempts(check, 4, 3000);
  ASSERT_OK(results);
  for (const Attempt& attempt : *results) {
    ASSERT_EQ(attempt.error, "refused") << attempt;
    ASSERT_LT(attempt.latency_us, kAtOnceUs) << attempt;
  }
}

void ScenarioPlayer::expect_dropped(const Check& check) {
  const auto results = attempts(check, 4, kSilenceMs);
  ASSERT_OK(results);
  for (const Attempt& attempt : *results) ASSERT_EQ(attempt.error, "timeout") << attempt;
}

void ScenarioPlayer::expect_unanswered(const Check& check) {
  const auto results = attempts(check, 4, kSilenceMs);
  ASSERT_OK(results);
  for (const Attempt& attempt : *results) ASSERT_EQ(attempt.answer, "") << attempt;
}

// One after the other: two first connections of a client at the same time may rightly be balanced apart.
void ScenarioPlayer::expect_one_answers(const Check& check) {
  const auto results = attempts(check, kSticky, 3000, 1);
  ASSERT_OK(results);
  std::string& who = remembered_[check.memory];
  if (check.memory.empty()) who.clear();
  for (const Attempt& attempt : *results) {
    expect_good(check, attempt);
    if (who.empty()) who = attempt.answer;
    ASSERT_EQ(attempt.answer, who) << attempt;
  }
}

// What ends is a timer of the kernel, and each attempt starts it anew; so time has to pass without one.
void ScenarioPlayer::expect_another_answers(const Check& check) {
  const std::string known = remembered_[check.memory];
  for (unsigned i = 0; i < kMostPauses && !failed(); ++i) {
    ::poll(nullptr, 0, static_cast<int>(check.pause_ms));
    const auto results = attempts(check, 1, 3000);
    ASSERT_OK(results);
    expect_good(check, results->front());
    if (results->front().answer != known) return;
  }
  ADD_FAILURE() << known << " answered " << kMostPauses << " times, " << check.pause_ms << " ms apart";
}

void ScenarioPlayer::expect_http(const Check& check) {
  const auto answer = http_get_at(**testbed().place(check.client), target_of(check.target), "/healthz");
  ASSERT_OK(answer);
  EXPECT_EQ(answer->status, check.http_status) << answer->text;
  if (!check.http_endpoints) return;
  EXPECT_NE(answer->text.find(cat("\"localEndpoints\": ", *check.http_endpoints)), std::string::npos) << answer->text;
  EXPECT_NE(answer->text.find(cat("X-Load-Balancing-Endpoint-Weight: ", *check.http_endpoints, "\r\n")),
            std::string::npos)
      << answer->text;
}

}  // namespace fairlead::testbed
