// What load balancers, kubelet, dashboards and people see of a node: a real agent that follows a real API server on a
// node of the testbed, asked over HTTP from where they ask.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"
#include "tests/apiserver/server.h"
#include "tests/datapath/agent_process.h"
#include "tests/datapath/assert_ok.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using net::Family;
using net::Ip;
using tests::apiserver::Resource;
using tests::apiserver::TestApiServer;

constexpr std::uint16_t kMetrics = 10249;
constexpr std::uint16_t kHealthz = 10256;
constexpr std::uint16_t kHealthCheck = 30100;
const Ip kLocalhost = Ip::v4(127, 0, 0, 1);
const kube::Key kWeb{"default", "web"};

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

Result<std::string> exchange(const Ip& address, std::uint16_t port, const std::string& request_line) {
  sockaddr_storage to{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(to);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
  to.ss_family = address.is_v4() ? AF_INET : AF_INET6;
  v4.sin_port = htons(port);
  if (address.is_v4()) {
    v4.sin_addr.s_addr = address.v4_be();
  } else {
    std::memcpy(&v6.sin6_addr, address.bytes().data(), address.bytes().size());
  }
  const base::Fd fd(::socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{5, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), address.is_v4() ? sizeof v4 : sizeof v6) != 0) {
    return Error::from_errno("connect", errno);
  }
  const std::string request = cat(request_line, "\r\nHost: node\r\nConnection: close\r\n\r\n");
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return Error::from_errno("send", errno);
  std::string answer;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0) answer.append(buffer, static_cast<std::size_t>(n));
  return answer;
}

struct Answer {
  int code = 0;  // 0: nobody listens there
  std::string head;
  std::string body;
};

class SurfaceTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto bed = Testbed::create({.nodes = 1, .pods_per_node = 1});
    ASSERT_OK(bed);
    bed_ = std::move(*bed);
    ASSERT_OK(bed_->run_in("node1", [&]() -> Status {
      server_ = TRY(TestApiServer::start({}));
      return {};
    }));
    load_node("");
    load_web(kHealthCheck, "Local");
    load_endpoint("node1");
    ASSERT_OK(base::write_file_atomically(kubeconfig(), server_->kubeconfig()));
  }

  void TearDown() override {
    if (!HasFailure() || !agent_) return;
    std::cout << agent_->log() << std::endl;
  }

  std::string kubeconfig() const { return bed_->dir() + "/kubeconfig"; }

  void launch(std::vector<std::string> flags = {}) {
    std::vector<std::string> arguments{"--kubeconfig", kubeconfig()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    agent_.emplace(*bed_, 1, GetParam(), arguments);
    ASSERT_OK(agent_->start());
  }

  void load(std::string_view yaml) { ASSERT_OK(server_->load_yaml(yaml)); }
  void load_node(std::string_view spec) {
    load(cat("{apiVersion: v1, kind: Node, metadata: {name: node1}, spec: {", spec,
             "}, status: {addresses: [{type: InternalIP, address: 172.18.0.1}]}}"));
  }
  void load_web(std::uint16_t health_port, std::string_view policy) {
    load(
        cat("{apiVersion: v1, kind: Service, metadata: {namespace: default, name: web}, spec: {type: LoadBalancer, "
            "clusterIP: 10.96.0.10, externalTrafficPolicy: ",
            policy, health_port == 0 ? "" : cat(", healthCheckNodePort: ", health_port),
            ", ports: [{name: http, port: 80, nodePort: 30080}]}}"));
  }
  void load_endpoint(std::string_view node, bool ready = true) {
    load(
        cat("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {namespace: default, name: web-1, "
            "labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 8080}], "
            "endpoints: [{addresses: [10.244.1.10], nodeName: ",
            node, ", conditions: {ready: ", ready, ", serving: true, terminating: ", !ready, "}}]}"));
  }

  Answer ask(const std::string& from, const Ip& address, std::uint16_t port, const std::string& line) {
    std::string text;
    const Status asked = bed_->run_in(from, [&]() -> Status {
      text = TRY(exchange(address, port, line));
      return {};
    });
    const auto split = text.find("\r\n\r\n");
    if (!asked || split == text.npos) return {};
    return {.code = std::stoi(text.substr(9, 3)), .head = text.substr(0, split + 2), .body = text.substr(split + 4)};
  }
  Answer get(std::uint16_t port, const std::string& path) {
    return ask("node1", kLocalhost, port, cat("GET ", path, " HTTP/1.1"));
  }
  // As a load balancer does: from outside, at the node's address.
  Answer health_check(Family family = Family::V4, std::uint16_t port = kHealthCheck) {
    return ask("client", (*bed_->place("node1"))->ip(family), port, "GET /healthz HTTP/1.1");
  }
  bool shows(const std::string& series) {
    return get(kMetrics, "/metrics").body.find(series + "\n") != std::string::npos;
  }
  bool has_event(std::initializer_list<std::string_view> texts) {
    for (const std::string& event : server_->events()) {
      if (std::all_of(texts.begin(), texts.end(), [&](auto text) { return event.find(text) != event.npos; }))
        return true;
    }
    return false;
  }

  std::unique_ptr<Testbed> bed_;
  std::unique_ptr<TestApiServer> server_;
  std::optional<AgentProcess> agent_;
};
INSTANTIATE_TEST_SUITE_P(Dataplanes, SurfaceTest, testing::Values("ebpf", "nftables"),
                         [](const auto& about) { return about.param; });

TEST_P(SurfaceTest, AHealthyNodeAnswersAsKubeProxyDoes) {
  launch();
  const Answer healthz = get(kHealthz, "/healthz");
  EXPECT_EQ(healthz.code, 200) << healthz.body;
  EXPECT_NE(healthz.head.find("Content-Type: application/json\r\n"), std::string::npos) << healthz.head;
  EXPECT_NE(healthz.head.find("X-Content-Type-Options: nosniff\r\n"), std::string::npos) << healthz.head;
  const auto body = base::parse_json(healthz.body);
  ASSERT_OK(body);
  EXPECT_EQ((*body)["nodeEligible"], base::Value(true));
  EXPECT_EQ((*body)["healthy"], base::Value(true));
  EXPECT_EQ((*body)["lastUpdated"], (*body)["currentTime"]);
  EXPECT_EQ((*body)["status"]["IPv6"]["healthy"], base::Value(true));
  const Answer livez = get(kHealthz, "/livez");
  EXPECT_EQ(livez.code, 200);
  EXPECT_EQ(livez.body.find("nodeEligible"), std::string::npos);
  EXPECT_EQ(get(kHealthz, "/").code, 404);
}

TEST_P(SurfaceTest, TheMetricsServerHasKubeProxysPaths) {
  launch();
  EXPECT_EQ(get(kMetrics, "/healthz").body, "ok");
  const Answer mode = get(kMetrics, "/proxyMode");
  EXPECT_EQ(mode.code, 200);
  EXPECT_EQ(mode.body, GetParam());
  EXPECT_NE(mode.head.find("X-Content-Type-Options: nosniff\r\n"), std::string::npos);
  EXPECT_NE(get(kMetrics, "/configz").body.find("\"kubeproxy.config.k8s.io\""), std::string::npos);
  EXPECT_NE(get(kMetrics, "/flagz").body.find("--kubeconfig"), std::string::npos);
  EXPECT_NE(get(kMetrics, "/statusz").body.find("Binary version: "), std::string::npos);
  (void)get(kHealthz, "/healthz");
  const std::string metrics = get(kMetrics, "/metrics").body;
  for (const char* line :
       {"kubeproxy_proxy_healthz_total{code=\"200\"} 1\n", "kubeproxy_sync_proxy_rules_service_changes_total 1\n",
        "kubeproxy_sync_proxy_rules_service_changes_pending 0\n",
        "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} ",
        "rest_client_requests_total{code=\"200\",host=\"127.0.0.1:"}) {
    EXPECT_NE(metrics.find(line), metrics.npos) << line << " is not in\n" << metrics;
  }
  EXPECT_EQ(metrics.find("nftables_sync_failures_total") != metrics.npos, GetParam() == "nftables");
}

TEST_P(SurfaceTest, ANodeThatIsTaintedForRemovalIsDrainedButLives) {
  launch();
  load_node("taints: [{key: ToBeDeletedByClusterAutoscaler, value: x, effect: NoSchedule}]");
  EXPECT_TRUE(eventually([&] { return get(kHealthz, "/healthz").code == 503; }));
  EXPECT_EQ(get(kHealthz, "/livez").code, 200);
  EXPECT_EQ(health_check().code, 200) << "the Node's end is no matter of one service";
  load_node("");
  EXPECT_TRUE(eventually([&] { return get(kHealthz, "/healthz").code == 200; }));
}

TEST_P(SurfaceTest, ADeletedNodeIsDrainedButLives) {
  launch();
  server_->erase(Resource::Nodes, {"", "node1"});
  EXPECT_TRUE(eventually([&] { return get(kHealthz, "/healthz").code == 503; }));
  EXPECT_EQ(get(kHealthz, "/livez").code, 200);
}

TEST_P(SurfaceTest, ALoadBalancerLearnsWhetherTheNodeHasEndpoints) {
  launch();
  for (const Family family : {Family::V4, Family::V6}) {
    const Answer answer = health_check(family);
    EXPECT_EQ(answer.code, 200) << net::to_string(family);
    EXPECT_EQ(answer.body,
              "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n"
              "\t\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n}");
    EXPECT_NE(answer.head.find("X-Load-Balancing-Endpoint-Weight: 1\r\n"), std::string::npos) << answer.head;
  }
  load_endpoint("node2");
  EXPECT_TRUE(eventually([&] { return health_check().code == 503; }));
  EXPECT_TRUE(
      shows("kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"} 1"));
  load_endpoint("node1", false);  // terminating: still served, and no longer counted (KEP-1669)
  EXPECT_TRUE(eventually([&] {
    return shows(
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"} 0");
  }));
  EXPECT_EQ(health_check().code, 503);
}

TEST_P(SurfaceTest, TheHealthCheckPortComesGoesAndMovesWithTheService) {
  launch();
  load_web(kHealthCheck + 1, "Local");
  EXPECT_TRUE(eventually([&] { return health_check(Family::V4, kHealthCheck + 1).code == 200; }));
  EXPECT_EQ(health_check().code, 0);
  load_web(0, "Cluster");
  EXPECT_TRUE(eventually([&] { return health_check(Family::V4, kHealthCheck + 1).code == 0; }));
  load_web(kHealthCheck, "Local");
  EXPECT_TRUE(eventually([&] { return health_check().code == 200; }));
  server_->erase(Resource::Services, kWeb);
  EXPECT_TRUE(eventually([&] { return health_check().code == 0; }));
}

TEST_P(SurfaceTest, HealthCheckPortsAnswerOnTheAddressesThatNodePortsAnswerOn) {
  launch({"--nodeport-addresses", "172.18.0.0/16"});
  EXPECT_EQ(health_check().code, 200);
  EXPECT_EQ(health_check(Family::V6).code, 200) << "nothing is selected in this family";
  EXPECT_EQ(get(kHealthCheck, "/").code, 0) << "loopback is not in there";
}

TEST_P(SurfaceTest, TheStartIsAnEvent) {
  launch();
  EXPECT_TRUE(eventually([&] {
    return has_event({R"("reason":"Starting")", R"("type":"Normal")", R"("reportingController":"kube-proxy")",
                      R"("kind":"Node","apiVersion":"v1","name":"node1")"});
  }));
}

TEST_P(SurfaceTest, AHealthCheckPortThatIsTakenIsAnEventAndIsOpenedLater) {
  ASSERT_OK(bed_->serve("node1", {cat("[::]:", kHealthCheck, "/tcp")}));
  launch();
  EXPECT_TRUE(eventually([&] {
    return has_event({R"("reason":"FailedToStartServiceHealthcheck")", R"("type":"Warning")", R"("action":"Listen")",
                      R"("uid":"uid-services-default/web")"});
  }));
  const auto status = agent_->status();
  ASSERT_OK(status);
  EXPECT_NE(status->text.find("Address already in use"), std::string::npos) << status->text;
  bed_->stop_server("node1");
  EXPECT_TRUE(eventually([&] { return health_check().code == 200; }));
}

TEST_P(SurfaceTest, AMetricsOrHealthPortThatIsTakenIsAnEvent) {
  ASSERT_OK(bed_->serve("node1", {cat("127.0.0.1:", kMetrics, "/tcp"), cat("127.0.0.1:", kHealthz, "/tcp")}));
  launch();
  EXPECT_TRUE(eventually([&] { return has_event({R"("reason":"FailedToStartMetricServer")"}); }));
  EXPECT_TRUE(eventually([&] { return has_event({R"("reason":"FailedToStartProxierHealthcheck")"}); }));
}

TEST_P(SurfaceTest, KubeProxysTablesAreToldOfAndRemovedWhenAsked) {
  const auto make = [&] { return bed_->run("node1", {"nft", "add", "table", "ip", "kube-proxy"}); };
  const auto is_there = [&] {
    const auto listed = bed_->run("node1", {"nft", "list", "tables"});
    return listed && listed->out.find("kube-proxy") != std::string::npos;
  };
  ASSERT_OK(make());
  launch();
  EXPECT_TRUE(
      eventually([&] { return agent_->log().find("kube-proxy's rules are still in place") != std::string::npos; }));
  EXPECT_TRUE(is_there());
  ASSERT_OK(agent_->terminate());
  launch({"--clean-kube-proxy"});
  EXPECT_TRUE(eventually([&] { return !is_there(); }));
  ASSERT_OK(agent_->terminate());

  ASSERT_OK(make());
  const auto cleaned = agent_->command("cleanup");
  ASSERT_OK(cleaned);
  EXPECT_EQ(cleaned->exit_code, 0) << cleaned->err;
  EXPECT_NE(cleaned->out.find("kube-proxy: nftables: table ip kube-proxy removed\n"), std::string::npos)
      << cleaned->out;
  EXPECT_FALSE(is_there());
}

}  // namespace
}  // namespace fairlead::testbed
