#include "proxy/dataplane/nftables/nftables.h"

#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "net/nft/netlink.h"
#include "proxy/dataplane/nftables/claims.h"
#include "proxy/dataplane/nftables/engine.h"
#include "proxy/dataplane/nftables/sessions.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

constexpr net::Family kFamilies[] = {net::Family::V4, net::Family::V6};

Settings settings_of(const Options& options, const Tuning& tuning) {
  return {.mark = options.masquerade_mark, .drop_invalid = tuning.drop_invalid};
}

class Nftables final : public Dataplane {
 public:
  Nftables(std::unique_ptr<nft::Kernel> kernel, const Options& options, const std::vector<net::Family>& families,
           Tuning tuning)
      : engine_(std::move(kernel), options.instance, settings_of(options, tuning), families, tuning,
                [this](const FrontendKey& frontend) {
                  const model::Key* owner = claims_.owner(frontend);
                  return owner == nullptr ? model::Key() : *owner;
                }) {}

  std::string_view name() const override { return "nftables"; }

  Report replace(const model::NodeState& node, const std::vector<model::ServiceState>& services) override {
    Report report;
    claims_ = Claims();
    sessions_ = Sessions();
    ready_ = false;
    if (Status read = engine_.load(node); !read) {
      report.failures.push_back({{}, std::move(read).error()});
      return report;
    }
    ready_ = true;
    const Adopted adopted = engine_.adopted();
    for (const model::ServiceState& state : services) upsert(state, adopted);
    engine_.flush(report);
    for (const Conflict& conflict : claims_.conflicts()) report.failures.push_back(failure(conflict));
    return report;
  }

  Report apply(const model::Changes& changes) override {
    Report report;
    if (!ready_) {
      report.failures.push_back({{}, Error("nftables: nothing was read from the kernel yet")});
      return report;
    }
    // What is deleted first, so that a frontend that moves between services is not contested on the way.
    for (const model::Key& key : changes.deleted) {
      claims_.erase(key, engine_.edits.frontends);
      sessions_.erase(key, engine_.edits.groups);
    }
    for (const model::ServiceState& state : changes.upserted) upsert(state, {});
    engine_.flush(report);
    report_conflicts(changes, report);
    return report;
  }

  Status remove() override {
    claims_ = Claims();
    sessions_ = Sessions();
    ready_ = false;
    return engine_.remove();
  }

  int notification_fd() const override { return engine_.kernel().notification_fd(); }

  Report handle_notification() override {
    Report report;
    const nft::ForeignChanges changes = engine_.kernel().read_notifications();
    if (!ready_ || !engine_.is_ours(changes)) return report;
    if (Status read = engine_.reload(); !read) {
      report.failures.push_back({{}, std::move(read).error()});
      return report;
    }
    engine_.flush(report);
    return report;
  }

  const Belief& belief() const { return engine_.belief(); }

 private:
  void upsert(const model::ServiceState& state, const Adopted& adopted) {
    auto foreign = [this](const model::PortState& port) { return !engine_.has_family(port.family); };
    if (std::none_of(state.ports.begin(), state.ports.end(), foreign)) return upsert_usable(state, adopted);
    // A family this kernel does not have; the probe said so.
    model::ServiceState rest = state;
    std::erase_if(rest.ports, foreign);
    upsert_usable(rest, adopted);
  }
  void upsert_usable(const model::ServiceState& state, const Adopted& adopted) {
    sessions_.upsert(state, engine_.edits.groups, adopted);
    claims_.upsert(state, sessions_.groups_of(state.key), engine_.edits.frontends,
                   [this](const FrontendKey& frontend) { return engine_.current(frontend); });
  }

  static Failure failure(const Conflict& conflict) {
    return {conflict.loser, Error(base::cat(conflict.frontend.to_string(), " of ", conflict.loser.to_string(),
                                            " belongs to ", conflict.owner.to_string(), " already"))};
  }

  void report_conflicts(const model::Changes& changes, Report& report) const {
    std::set<std::pair<model::Key, FrontendKey>> seen;
    for (const model::ServiceState& state : changes.upserted) {
      for (const Conflict& conflict : claims_.conflicts_of(state.key)) {
        if (seen.emplace(conflict.loser, conflict.frontend).second) report.failures.push_back(failure(conflict));
      }
    }
  }

  Claims claims_;
  Sessions sessions_;
  Engine engine_;
  bool ready_ = false;  // the kernel was read, so that belief means something
};

// Everything the layout uses, under a name nobody has.
void add_everything(nft::Batch& to, net::Family family, const Options& options) {
  const nft::TableId table{family, options.instance + "-probe"};
  const Settings settings{.mark = options.masquerade_mark};
  const model::NodeState node;
  nft::Batch batch = create_table(table, settings, node);
  for (const std::uint32_t code :
       {std::uint32_t{2}, 2 | kMasquerade | kNodePort, 2 | kOffCluster, 2 | kShort, 10 | kSticky, 2 | kPick}) {
    add_code(batch, table, code, settings, node);
  }
  add_length(batch, table, {.node_port = false, .bits = 24});
  std::move(batch.begin(), batch.end(), std::back_inserter(to));
}

// Whether the kernel takes out-of-window packets for part of their connection, so that none of them is invalid.
bool tcp_is_liberal() {
  const auto text = base::read_file("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal");
  return text && base::trim(*text) != "0";
}

struct Tried {
  std::vector<net::Family> usable;
  std::string reason;
};

Tried try_families(nft::Kernel& kernel, const Options& options) {
  Tried tried;
  std::string why_not;
  // Both at once if they will do: the kernel waits for a grace period before it forgets what it checked (linux v6.1
  // net/netfilter/nf_tables_api.c __nf_tables_abort).
  nft::Batch both;
  for (net::Family family : kFamilies) add_everything(both, family, options);
  const bool both_usable = !kernel.check(both);
  for (net::Family family : kFamilies) {
    nft::Batch one;
    add_everything(one, family, options);
    const auto refusal = both_usable ? std::nullopt : kernel.check(one);
    if (!refusal) {
      tried.usable.push_back(family);
      tried.reason += base::cat(tried.reason.empty() ? "" : " and ", net::to_string(family));
    } else {
      why_not += base::cat(why_not.empty() ? "no " : "; no ", net::to_string(family), ": ", refusal->error.message());
    }
  }
  tried.reason = tried.usable.empty() ? why_not
                                      : base::cat("nf_tables with maps, numgen, fib, nat and reject for ", tried.reason,
                                                  why_not.empty() ? "" : "; ", why_not);
  return tried;
}

}  // namespace

Probe probe(const Options& options) {
  auto kernel = net::nft::open_netlink();
  if (!kernel) return {.usable = false, .reason = kernel.error().message()};
  Tried tried = try_families(**kernel, options);
  return {.usable = !tried.usable.empty(), .reason = std::move(tried.reason)};
}

bool has_traces(const Options& options) {
  auto kernel = net::nft::open_netlink();
  if (!kernel) return false;
  return std::any_of(std::begin(kFamilies), std::end(kFamilies), [&](net::Family family) {
    const auto dump = (*kernel)->dump({family, options.instance});
    return !dump || dump->has_value();
  });
}

Result<std::unique_ptr<Dataplane>> open(const Options& options) {
  auto kernel = TRY_CONTEXT(net::nft::open_netlink(), "nftables");
  const Tried tried = try_families(*kernel, options);
  if (tried.usable.empty()) return Error(base::cat("nftables: ", tried.reason));
  return make(std::move(kernel), options, tried.usable, {.drop_invalid = !tcp_is_liberal()});
}

std::unique_ptr<Dataplane> make(std::unique_ptr<net::nft::Kernel> kernel, const Options& options,
                                const std::vector<net::Family>& families, Tuning tuning) {
  return std::make_unique<Nftables>(std::move(kernel), options, families, tuning);
}

std::string dump_text(const Dataplane& dataplane) {
  const auto* ours = dynamic_cast<const Nftables*>(&dataplane);
  return ours == nullptr ? std::string() : ours->belief().text();
}

}  // namespace fairlead::proxy::dataplane::nftables
