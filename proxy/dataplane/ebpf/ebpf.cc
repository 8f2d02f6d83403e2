#include "proxy/dataplane/ebpf/ebpf.h"

#include "net/links.h"
#include "proxy/dataplane/ebpf/flows.h"
#include "proxy/dataplane/ebpf/install.h"
#include "proxy/dataplane/ebpf/kernel_maps.h"
#include "proxy/dataplane/ebpf/node.h"
#include "proxy/dataplane/ebpf/publisher.h"

namespace fairlead::proxy::dataplane::ebpf {
namespace {

class EbpfDataplane final : public Dataplane {
 public:
  EbpfDataplane(const Options& options, std::unique_ptr<Install> install, net::LinkWatch watch)
      : options_(options),
        install_(std::move(install)),
        maps_(install_->map_fd("frontends"), install_->map_fd("slots"), install_->map_fd("sources"),
              install_->max_entries("slots")),
        node_maps_{.addresses = install_->map_fd("node_addresses"),
                   .bridge_ports = install_->map_fd("bridge_ports"),
                   .pod_interfaces = install_->map_fd("pod_interfaces"),
                   .networks = install_->map_fd("networks"),
                   .config = install_->map_fd("node_config")},
        publisher_(maps_),
        watch_(std::move(watch)) {}

  std::string_view name() const override { return "ebpf"; }

  bool translates_by_conntrack() const override { return false; }

  Report replace(const model::NodeState& node, const std::vector<model::ServiceState>& services) override {
    node_ = node;
    Report report;
    const bool first = install_->fresh();
    sync_node(first ? Step::BeforeFirstServices : Step::BeforeServices, report);
    add(publisher_.replace(services), report);
    cut_flows(report);
    sync_node(first ? Step::AfterFirstServices : Step::AfterServices, report);
    return report;
  }

  Report apply(const model::Changes& changes) override {
    Report report = publisher_.apply(changes);
    cut_flows(report);
    return report;
  }

  Status remove() override { return Install::remove(options_); }

  int notification_fd() const override { return watch_.fd(); }

  Report handle_notification() override {
    Report report;
    if (const Status drained = watch_.drain(); !drained) report.failures.push_back({{}, drained.error(), "interfaces"});
    sync_node(Step::Notified, report);
    return report;
  }

 private:
  enum class Step { BeforeFirstServices, AfterFirstServices, BeforeServices, AfterServices, Notified };

  static void add(Report&& more, Report& report) {
    report.kernel_writes += more.kernel_writes;
    for (Failure& failure : more.failures) report.failures.push_back(std::move(failure));
  }

  // Maps before attachments: a program never runs without knowing what is local. The first time, every hook stands
  // before there is a service: a flow that one hook began would be lost at the next one, and another dataplane may
  // still be serving. Later new programs find their maps full.
  void sync_node(Step step, Report& report) {
    const Result<net::Links> links = net::list_links();
    if (!links) {
      report.failures.push_back({{}, links.error(), "interfaces"});
      return;
    }
    NodeRows rows = plan_node(node_, *links, read_node_facts());
    if (step == Step::BeforeFirstServices || step == Step::BeforeServices) rows = between(read_node(node_maps_), rows);
    write_node(rows, node_maps_, report);
    if (step == Step::AfterFirstServices || step == Step::BeforeServices) return;
    install_->attach(attachable(*links), step != Step::Notified, report);
  }

  void cut_flows(Report& report) {
    if (!publisher_.take_udp_loss()) return;
    // A program that has read the old row may be making a flow of it.
    if (const Status waited = maps_.wait_for_readers(); !waited)
      report.failures.push_back({{}, waited.error(), "map flows"});
    cut_udp_flows(install_->map_fd("flows"), publisher_, report);
  }

  Options options_;
  std::unique_ptr<Install> install_;
  KernelMaps maps_;
  NodeMaps node_maps_;
  Publisher publisher_;
  model::NodeState node_;
  net::LinkWatch watch_;
};

}  // namespace

Probe probe(const Options& options) { return probe_kernel(options); }

Result<std::unique_ptr<Dataplane>> open(const Options& options) { return open_with(options, nullptr); }

Result<std::unique_ptr<Dataplane>> open_with(const Options& options, std::unique_ptr<Attacher> attacher) {
  // First the watch, so that no change between the first listing and the first notification is lost.
  net::LinkWatch watch = TRY(net::LinkWatch::open());
  std::unique_ptr<Install> install = TRY(Install::open(options, std::move(attacher)));
  return std::unique_ptr<Dataplane>(std::make_unique<EbpfDataplane>(options, std::move(install), std::move(watch)));
}

Status remove(const Options& options) { return Install::remove(options); }

}  // namespace fairlead::proxy::dataplane::ebpf
