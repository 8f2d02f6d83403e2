// examples/manifests as an agent would read them: what newcomers see first has to be right.
#include <gtest/gtest.h>

#include <algorithm>

#include "kube/manifests.h"
#include "kube/store.h"
#include "proxy/model/resolve.h"

namespace fairlead::proxy::model {
namespace {

class Examples : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loop = base::Loop::create();
    ASSERT_TRUE(loop);
    loop_ = std::move(*loop);
    const auto complain = [this](const std::string& text) { complaints_.push_back(text); };
    auto source = kube::ManifestSource::open(*loop_, store_,
                                             {.directory = FAIRLEAD_SOURCE_DIR "/examples/manifests",
                                              .node_name = "node1",
                                              .on_error = complain,
                                              .on_note = complain});
    ASSERT_TRUE(source) << source.error().message();
  }

  ServiceState state(const Key& key) const {
    const kube::Service* service = store_.service(key);
    return service == nullptr ? ServiceState() : resolve(*service, store_.slices_of(key), node_view(store_, "node1"));
  }
  std::vector<std::string> ports(const ServiceState& state) const {
    std::vector<std::string> out;
    for (const PortState& port : state.ports) {
      out.push_back(std::string(net::to_string(port.family)) + " " + port.name + " " +
                    std::string(to_string(port.protocol)) + " to " + std::to_string(port.cluster_endpoints.size()));
    }
    return out;
  }

  std::unique_ptr<base::Loop> loop_;
  kube::Store store_;
  std::vector<std::string> complaints_;
};

TEST_F(Examples, AreReadWithoutAWord) {
  EXPECT_EQ(complaints_, std::vector<std::string>());
  EXPECT_EQ(store_.services().size(), 3U);
  ASSERT_NE(store_.node(), nullptr);
  EXPECT_EQ(node_view(store_, "node1").zone, "zone-a");
  EXPECT_EQ(store_.service_cidrs().size(), 1U);
}

TEST_F(Examples, WebHasTwoPodsPerNodeOnTwoNamedPortsInBothFamilies) {
  const ServiceState web = state({"default", "web"});
  EXPECT_EQ(ports(web), (std::vector<std::string>{"IPv4 http TCP to 6", "IPv4 admin TCP to 6", "IPv6 http TCP to 6",
                                                  "IPv6 admin TCP to 6"}));
  EXPECT_EQ(web.counts, (EndpointCounts{2, 6, 6}));
  ASSERT_FALSE(web.ports.empty());
  EXPECT_EQ(web.ports[0].frontends.size(), 2U);
  EXPECT_EQ(web.ports[0].frontends[1].port, 30080);
}

TEST_F(Examples, DnsAnswersOnUdpAndTcp) {
  EXPECT_EQ(ports(state({"kube-system", "dns"})),
            (std::vector<std::string>{"IPv4 dns UDP to 3", "IPv4 dns-tcp TCP to 3", "IPv6 dns UDP to 3",
                                      "IPv6 dns-tcp TCP to 3"}));
}

TEST_F(Examples, EmptyRefusesEverywhere) {
  const ServiceState empty = state({"default", "empty"});
  EXPECT_EQ(empty.ports.size(), 4U);
  for (const PortState& port : empty.ports) {
    EXPECT_TRUE(port.cluster_endpoints.empty());
    EXPECT_TRUE(std::all_of(port.frontends.begin(), port.frontends.end(),
                            [](const Frontend& f) { return f.when_empty == WhenEmpty::Reject; }));
  }
}

}  // namespace
}  // namespace fairlead::proxy::model
