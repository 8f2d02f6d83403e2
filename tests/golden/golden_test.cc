// Golden files: for each folder of tests/golden, what every dataplane would put into the kernel of node1 for the
// cluster in cluster.yaml. A change of plan is seen, and reviewed, as a change of these files (./dev golden --update).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "agent/kube_proxy_config.h"
#include "agent/kube_proxy_effect.h"
#include "base/file.h"
#include "base/result.h"
#include "base/strings.h"
#include "kube/manifest_set.h"
#include "kube/store.h"
#include "proxy/dataplane/ebpf/plan.h"
#include "proxy/dataplane/iptables/iptables.h"
#include "proxy/dataplane/nftables/plan.h"
#include "proxy/model/resolve.h"

namespace fairlead {
namespace {

using base::cat;
using proxy::model::NodeState;
using proxy::model::ServiceState;

struct Planner {
  std::string dataplane;
  std::string (*plan_text)(const NodeState& node, const std::vector<ServiceState>& services);
};
const std::vector<Planner>& planners() {
  static const std::vector<Planner> all = {{"ebpf", proxy::dataplane::ebpf::plan_text},
                                           {"nftables", proxy::dataplane::nftables::plan_text},
                                           {"iptables", proxy::dataplane::iptables::plan_text}};
  return all;
}

constexpr std::string_view kNode = "node1";
constexpr std::string_view kSeparator = "---\n";
constexpr std::string_view kConfiguration = "kind: KubeProxyConfiguration\n";

struct Cluster {
  NodeState node;
  std::vector<ServiceState> services;
};

// The configuration is the document of that kind; everything else are manifests.
Result<Cluster> read_cluster(const std::filesystem::path& file) {
  const std::string text = TRY(base::read_file(file));
  std::string manifests;
  agent::KubeProxyConfiguration configuration;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(kSeparator, at), text.size());
    const std::string part = text.substr(at, end - at);
    if (part.find(kConfiguration) != part.npos) {
      configuration = TRY(agent::decode_kube_proxy_configuration(part)).configuration;
    } else {
      manifests += cat(kSeparator, part);
    }
    at = end + kSeparator.size();
  }
  kube::ManifestSet set{std::string(kNode)};
  (void)set.set_file("cluster.yaml", TRY(kube::parse_manifest("cluster.yaml", manifests)).objects);
  kube::Store store;
  for (const kube::Kind kind :
       {kube::Kind::Node, kube::Kind::ServiceCidr, kube::Kind::EndpointSlice, kube::Kind::Service}) {
    store.replace(kind, set.in_force(kind));
  }
  const agent::Effect effect = TRY(agent::effect_of(configuration, agent::NodeFamilies::Both));
  const proxy::model::NodeView view = proxy::model::node_view(store, kNode, effect.model);
  return Cluster{proxy::model::node_state(view), proxy::model::resolve_all(store, view)};
}

class GoldenTest : public testing::Test {
 public:
  GoldenTest(std::filesystem::path folder, const Planner& planner) : folder_(std::move(folder)), planner_(planner) {}

 protected:
  void TestBody() override {
    const auto cluster = read_cluster(folder_ / "cluster.yaml");
    ASSERT_TRUE(cluster) << cluster.error().message();
    const std::string plan = planner_.plan_text(cluster->node, cluster->services);
    const std::filesystem::path file = folder_ / (planner_.dataplane + ".txt");
    if (std::getenv("FAIRLEAD_GOLDEN_UPDATE") != nullptr) {
      const Status written = base::write_file_atomically(file, plan);
      ASSERT_TRUE(written) << written.error().message();
      return;
    }
    const auto known = base::read_file(file);
    ASSERT_TRUE(known) << known.error().message() << "; ./dev golden --update writes it";
    EXPECT_EQ(plan, *known) << "if it is meant: ./dev golden --update";
  }

 private:
  const std::filesystem::path folder_;
  const Planner& planner_;
};

std::vector<std::filesystem::path> clusters() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(FAIRLEAD_GOLDEN_DIR)) {
    if (entry.is_directory()) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void register_clusters() {
  for (const std::filesystem::path& folder : clusters()) {
    for (const Planner& planner : planners()) {
      testing::RegisterTest("Golden", cat(folder.filename().string(), "/", planner.dataplane).c_str(), nullptr, nullptr,
                            __FILE__, __LINE__,
                            [folder, &planner]() -> GoldenTest* { return new GoldenTest(folder, planner); });
    }
  }
}

// gtest_main calls RUN_ALL_TESTS itself; tests register before main, as TEST() does.
const bool registered = (register_clusters(), true);

}  // namespace
}  // namespace fairlead
