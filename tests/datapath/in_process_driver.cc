#include "tests/datapath/in_process_driver.h"

#include "base/strings.h"
#include "kube/decode.h"
#include "kube/store.h"
#include "proxy/dataplane/select.h"
#include "proxy/model/resolve.h"
#include "tests/datapath/service_spec.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using proxy::dataplane::Dataplane;
using proxy::dataplane::Report;

struct NodeDataplane {
  std::string name;  // of the node
  std::unique_ptr<Dataplane> dataplane;
  kube::Store store;
  bool replaced = false;
};

Status status_of(const Report& report, const std::string& node) {
  if (report.ok()) return {};
  const auto& failure = report.failures.front();
  return failure.error.with_context(cat(node, ": ", failure.service.to_string()));
}

class InProcessDriver final : public Driver {
 public:
  InProcessDriver(Testbed& testbed, proxy::model::Config config) : testbed_(testbed), config_(std::move(config)) {}

  // Dataplanes belong to the namespace they were opened in.
  ~InProcessDriver() override {
    for (NodeDataplane& node : nodes_) {
      const auto close = [&]() -> Status {
        node.dataplane.reset();
        return {};
      };
      (void)testbed_.run_in(node.name, close).has_value();
    }
  }

  Status stop() override {
    for (NodeDataplane& node : nodes_) TRY(testbed_.run_in(node.name, [&] { return node.dataplane->remove(); }));
    return {};
  }

  Status open(const std::string& dataplane) {
    for (const auto& module : proxy::dataplane::modules()) {
      if (module.name != dataplane) continue;
      for (unsigned number = 1; number <= testbed_.nodes(); ++number) {
        NodeDataplane node;
        node.name = cat("node", number);
        proxy::dataplane::Options options;
        options.cgroup = testbed_.node_cgroup(number);
        options.bpf_root = testbed_.bpf_root(number);
        const auto open_it = [&]() -> Status {
          node.dataplane = TRY(module.open(options));
          return {};
        };
        TRY(testbed_.run_in(node.name, open_it));
        nodes_.push_back(std::move(node));
      }
      TRY(apply({}));
      return set_cluster(cluster_manifests({}, testbed_));
    }
    return Error(cat("no dataplane \"", dataplane, "\""));
  }

  Status apply(std::vector<base::Value> objects) override {
    return take(std::move(objects), {kube::Kind::Service, kube::Kind::EndpointSlice});
  }

  Status set_cluster(std::vector<base::Value> objects) override {
    return take(std::move(objects), {kube::Kind::Node, kube::Kind::ServiceCidr});
  }

  std::string diagnosis() override { return "in-process driver: run `./dev test` with the agents for their logs\n"; }

 private:
  // Each node sees what the agent's watch would let through.
  Status take(std::vector<base::Value> objects, const std::vector<kube::Kind>& kinds) {
    const base::Value document = TRY(base::parse_json(list_document(std::move(objects))));
    const kube::DecodedManifest decoded = TRY(kube::decode_manifest(document));
    for (NodeDataplane& node : nodes_) {
      std::vector<std::vector<kube::Object>> by_kind(kube::kKindCount);
      for (const auto& item : decoded.objects) {
        const bool foreign =
            kube::kind_of(item.object) == kube::Kind::Node && kube::meta_of(item.object).key.name != node.name;
        if (!foreign && kube::selected(item.object)) by_kind[item.object.index()].push_back(item.object);
      }
      for (const kube::Kind kind : kinds) node.store.replace(kind, by_kind[static_cast<std::size_t>(kind)]);
      TRY(testbed_.run_in(node.name, [&] { return bring_up_to_date(node); }));
    }
    return {};
  }

  Status bring_up_to_date(NodeDataplane& node) const {
    const proxy::model::NodeView view = proxy::model::node_view(node.store, node.name, config_);
    const kube::Dirty dirty = node.store.take_dirty();
    if (node.dataplane->notification_fd() >= 0) (void)node.dataplane->handle_notification();
    const bool whole = !node.replaced || dirty.node || dirty.service_cidrs;
    const Report report =
        whole ? node.dataplane->replace(proxy::model::node_state(view), proxy::model::resolve_all(node.store, view))
              : node.dataplane->apply(proxy::model::resolve_changes(node.store, dirty, view));
    node.replaced = report.ok();
    return status_of(report, node.name);
  }

  Testbed& testbed_;
  proxy::model::Config config_;
  std::vector<NodeDataplane> nodes_;
};

}  // namespace

Result<std::unique_ptr<Driver>> in_process_driver(Testbed& testbed, const std::string& dataplane,
                                                  const proxy::model::Config& config) {
  auto driver = std::make_unique<InProcessDriver>(testbed, config);
  TRY(driver->open(dataplane));
  return std::unique_ptr<Driver>(std::move(driver));
}

}  // namespace fairlead::testbed
