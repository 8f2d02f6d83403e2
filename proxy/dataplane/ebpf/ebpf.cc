#include "proxy/dataplane/ebpf/ebpf.h"

#include "net/links.h"
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
        maps_(install_->map_fd("frontends"), install_->map_fd("slots"), install_->max_entries("slots")),
        publisher_(maps_),
        watch_(std::move(watch)) {}

  std::string_view name() const override { return "ebpf"; }

  bool translates_by_conntrack() const override { return false; }

  Report replace(const model::NodeState&, const std::vector<model::ServiceState>& services) override {
    // The first time, every hook stands before there is a service: a flow that one hook began would be lost at the next
    // one, and another dataplane may still be serving. Later new programs find their maps full.
    Report attached;
    const bool first = install_->fresh();
    if (first) sync_node(true, attached);
    Report report = publisher_.replace(services);
    if (!first) sync_node(true, report);
    report.kernel_writes += attached.kernel_writes;
    report.failures.insert(report.failures.end(), attached.failures.begin(), attached.failures.end());
    return report;
  }

  Report apply(const model::Changes& changes) override { return publisher_.apply(changes); }

  Status remove() override { return Install::remove(options_); }

  int notification_fd() const override { return watch_.fd(); }

  Report handle_notification() override {
    Report report;
    if (const Status drained = watch_.drain(); !drained) report.failures.push_back({{}, drained.error(), "interfaces"});
    sync_node(false, report);
    return report;
  }

 private:
  // Addresses before attachments: a program never runs without knowing what is local.
  void sync_node(bool check_all, Report& report) {
    const Result<net::Links> links = net::list_links();
    if (!links) {
      report.failures.push_back({{}, links.error(), "interfaces"});
      return;
    }
    const NodeMaps maps{.addresses = install_->map_fd("node_addresses"),
                        .bridge_ports = install_->map_fd("bridge_ports"),
                        .config = install_->map_fd("node_config")};
    write_node(*links, maps, report);
    install_->attach(attachable(*links), check_all, report);
  }

  Options options_;
  std::unique_ptr<Install> install_;
  KernelMaps maps_;
  Publisher publisher_;
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
