#include "proxy/dataplane/iptables/iptables.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "proxy/dataplane/iptables/family.h"
#include "proxy/dataplane/iptables/names.h"

namespace fairlead::proxy::dataplane::iptables {
namespace {

using base::cat;

constexpr net::Family kFamilies[] = {net::Family::V4, net::Family::V6};
constexpr const char* kRouteLocalnet = "net/ipv4/conf/all/route_localnet";
// So many services are set apart when iptables-restore refuses what is theirs; more means something else is wrong.
constexpr int kMostApart = 8;
// When others keep changing their rules, reading and repairing is followed by a rest of so many times its length.
constexpr int kRest = 5;
constexpr base::Duration kLongestWait = std::chrono::seconds(30);

Settings settings_of(System& system, Flavour flavour, const Options& options) {
  const std::string liberal = system.read_sysctl("net/netfilter/nf_conntrack_tcp_be_liberal");
  return {.masquerade_mark = options.masquerade_mark,
          .tcp_be_liberal = !liberal.empty() && liberal != "0",
          .short_transactions = flavour == Flavour::Nft};
}

// The line that "iptables-restore: line 12 failed" or "line 12: RULE_APPEND failed" is about.
std::string_view line_at_fault(std::string_view input, std::string_view message) {
  const std::size_t at = message.rfind("line ");
  if (at == std::string_view::npos) return {};
  const std::string_view digits = message.substr(at + 5, message.find_first_not_of("0123456789", at + 5) - at - 5);
  const std::size_t number = base::parse_number<std::size_t>(digits).value_or(0);
  const auto lines = base::split(input, '\n');
  return number == 0 || number > lines.size() ? std::string_view() : lines[number - 1];
}

std::uint32_t count_commits(std::string_view input) {
  std::uint32_t count = 0;
  for (const std::string_view line : base::split(input, '\n')) count += line == "COMMIT" ? 1 : 0;
  return count;
}

bool has_any_chain(System& system, Flavour flavour, net::Family family) {
  return std::any_of(std::begin(kTables), std::end(kTables), [&](Table table) {
    return system.has_chain(flavour, family, table, kCanary) ||
           (table != Table::Mangle && system.has_chain(flavour, family, table, kServices));
  });
}

Status remove_from(System& system, Flavour flavour, net::Family family) {
  if (!has_any_chain(system, flavour, family)) return {};
  FamilyState nothing(family, {});
  nothing.clear();
  const std::string text = TRY(system.save(flavour, family));
  nothing.believe(TRY(parse_save(text)));
  const Update update = nothing.update();
  return update.input.empty() ? Status() : system.restore(flavour, family, update.input);
}

class Iptables final : public Dataplane {
 public:
  Iptables(std::unique_ptr<System> system, std::unique_ptr<base::Clock> clock, Flavour flavour,
           const std::vector<net::Family>& families, const Settings& settings)
      : system_(std::move(system)), clock_(std::move(clock)), flavour_(flavour) {
    for (const net::Family family : families) families_.emplace_back(family, settings);
  }

  std::string_view name() const override { return "iptables"; }

  Report replace(const model::NodeState& node, const std::vector<model::ServiceState>& services) override {
    Report report;
    ready_ = true;
    for (FamilyState& family : families_) {
      family.begin(node);
      for (const model::ServiceState& state : services) family.upsert(state);
    }
    route_localnet(node, report);
    flush(report);
    if (report.ok() && !std::exchange(other_flavour_seen_to_, true)) remove_other_flavour(report);
    for (const FamilyState& family : families_) {
      for (const Conflict& conflict : family.conflicts()) report.failures.push_back(failure(conflict));
    }
    return report;
  }

  Report apply(const model::Changes& changes) override {
    Report report;
    if (!ready_) {
      report.failures.push_back({{}, Error("iptables: the complete state is not known yet")});
      return report;
    }
    for (FamilyState& family : families_) {
      for (const model::Key& key : changes.deleted) family.erase(key);
      for (const model::ServiceState& state : changes.upserted) family.upsert(state);
    }
    flush(report);
    report_conflicts(changes, report);
    return report;
  }

  Status remove() override {
    ready_ = false;
    seen_.clear();
    for (FamilyState& family : families_) family.clear();
    return remove_on(*system_);
  }

  int notification_fd() const override { return system_->timer_fd(); }

  // Comparing costs two system calls; reading again follows only a change by somebody else.
  Report handle_notification() override {
    Report report;
    system_->acknowledge_timer();
    const base::Instant start = clock_->now();
    if (!ready_ || start < next_read_) return report;
    if (unconfirmed_) seen_.clear();
    if (system_->fingerprint(flavour_) == seen_) return report;
    flush(report);
    const base::Instant end = clock_->now();
    next_read_ = end + std::min<base::Duration>((end - start) * kRest, kLongestWait);
    return report;
  }

 private:
  void flush(Report& report) {
    if (system_->fingerprint(flavour_) != seen_) {
      if (Status read = load(); !read) {
        report.failures.push_back({{}, std::move(read).error()});
        return;
      }
    }
    bool trusted = true;
    commits_ = 0;
    for (FamilyState& family : families_) {
      trusted = write(family, report) && trusted;
      const auto counts = family.counts();
      report.rules.insert(report.rules.end(), counts.begin(), counts.end());
    }
    if (trusted) {
      look_at_own_commits();
    } else {
      seen_.clear();
    }
  }

  // Between our commits and this look somebody else may have written. Where own commits can be counted, that shows;
  // else the tables are read once more, at the next tick.
  void look_at_own_commits() {
    if (commits_ == 0) return;
    const std::string now = system_->fingerprint(flavour_);
    const std::string expected = system_->fingerprint_after(flavour_, seen_, commits_);
    if (expected.empty() || expected != now) unconfirmed_ = true;  // until somebody reads, whatever we write meanwhile
    seen_ = now;
  }

  Status load() {
    // Taken first: what changes while we read is found at the next look.
    std::string seen = system_->fingerprint(flavour_);
    seen_.clear();
    for (FamilyState& family : families_) TRY(read(family));
    seen_ = std::move(seen);
    unconfirmed_ = false;
    return {};
  }

  Status read(FamilyState& family) {
    const std::string text = TRY_CONTEXT(system_->save(flavour_, family.family()), "iptables");
    family.believe(TRY(parse_save(text)));
    return {};
  }

  // False when what is in the kernel is not known any more.
  bool write(FamilyState& family, Report& report) {
    bool read_again = false;
    for (int apart = 0;;) {
      const Update update = family.update();
      if (update.input.empty()) {
        family.settle();
        return true;
      }
      report.kernel_writes += update.commands;
      Status written = system_->restore(flavour_, family.family(), update.input);
      if (written) {
        commits_ += count_commits(update.input);
        family.settle();
        return true;
      }
      // Most likely somebody else changed our chains: see what is there, and write what differs.
      if (!std::exchange(read_again, true)) {
        if (Status again = read(family); again) continue;
      }
      const auto owner = family.owner_of(line_at_fault(update.input, written.error().message()));
      report.failures.push_back({owner.value_or(model::Key()), std::move(written).error().with_context("iptables")});
      if (!owner || ++apart > kMostApart) return false;
      family.erase(*owner);
      read_again = false;  // one of the tables may have been written
    }
  }

  void route_localnet(const model::NodeState& node, Report& report) {
    const auto serves = [&](const FamilyState& family) { return serves_loopback(node, family.family()); };
    if (std::none_of(families_.begin(), families_.end(), serves) || system_->read_sysctl(kRouteLocalnet) == "1") return;
    ++report.kernel_writes;
    if (Status written = system_->write_sysctl(kRouteLocalnet, "1"); !written) {
      report.failures.push_back({{}, std::move(written).error(), "NodePorts on 127.0.0.1"});
    }
  }

  // The node changed its flavour: rules in the other one are ours or kube-proxy's of before, and packets still meet
  // them.
  void remove_other_flavour(Report& report) {
    const Flavour other = flavour_ == Flavour::Nft ? Flavour::Legacy : Flavour::Nft;
    for (const net::Family family : kFamilies) {
      if (Status removed = remove_from(*system_, other, family); !removed) {
        report.failures.push_back({{}, std::move(removed).error(), cat("old rules in iptables-", to_string(other))});
      }
    }
  }

  static Failure failure(const Conflict& conflict) {
    return {conflict.loser, Error(cat(conflict.frontend.to_string(), " of ", conflict.loser.to_string(), " belongs to ",
                                      conflict.owner.to_string(), " already"))};
  }

  void report_conflicts(const model::Changes& changes, Report& report) const {
    for (const FamilyState& family : families_) {
      std::set<std::pair<model::Key, FrontendKey>> seen;
      for (const model::ServiceState& state : changes.upserted) {
        for (const Conflict& conflict : family.conflicts_of(state.key)) {
          if (seen.emplace(conflict.loser, conflict.frontend).second) report.failures.push_back(failure(conflict));
        }
      }
    }
  }

  std::unique_ptr<System> system_;
  std::unique_ptr<base::Clock> clock_;
  Flavour flavour_;
  std::vector<FamilyState> families_;
  std::string seen_;           // fingerprint with which belief is true; empty: it is not
  bool unconfirmed_ = false;   // somebody may have written beside us: to be read once more
  std::uint32_t commits_ = 0;  // of the flush at hand
  base::Instant next_read_{};  // not before
  bool ready_ = false;
  bool other_flavour_seen_to_ = false;
};

// Every match and target the layout uses.
std::string sample(net::Family family) {
  const bool v4 = family == net::Family::V4;
  const net::Ip address = net::Ip::parse(v4 ? "192.0.2.1" : "2001:db8::1").value();
  model::PortState port;
  port.family = family;
  port.frontends = {{.kind = model::FrontendKind::LoadBalancerIp,
                     .address = address,
                     .port = 80,
                     .masquerade = model::Masquerade::Always,
                     .short_circuit = true,
                     .restricted = true}};
  port.cluster_endpoints = {{address, 80, true}, {address, 81, true}};
  port.affinity_seconds = 10;
  port.allowed_sources = {host(address)};
  model::ServiceState state;
  state.key = {"fairlead", "probe"};
  state.ports = {port};
  FamilyState planned(family, {});
  planned.begin({});
  planned.upsert(state);
  return planned.text();
}

struct Usable {
  std::vector<net::Family> families;
  std::string reason;
};

Usable try_families(System& system, Flavour flavour) {
  Usable out;
  std::string why_not;
  for (const net::Family family : kFamilies) {
    if (const Status works = system.test(flavour, family, sample(family)); works) {
      out.families.push_back(family);
      out.reason += cat(out.reason.empty() ? "" : " and ", net::to_string(family));
    } else {
      why_not += cat(why_not.empty() ? "no " : "; no ", net::to_string(family), ": ", works.error().message());
    }
  }
  out.reason = out.families.empty() ? why_not : cat(out.reason, why_not.empty() ? "" : "; ", why_not);
  return out;
}

}  // namespace

Probe probe_on(System& system, const Options& options) {
  const auto choice = choose_flavour(system, options.iptables_flavour);
  if (!choice) return {.usable = false, .reason = choice.error().message()};
  const Usable found = try_families(system, choice->flavour);
  return {.usable = !found.families.empty(),
          .reason = cat("iptables-", to_string(choice->flavour), " (", choice->reason, ") for ", found.reason)};
}

Result<std::unique_ptr<Dataplane>> make(std::unique_ptr<System> system, std::unique_ptr<base::Clock> clock,
                                        const Options& options) {
  const Choice choice = TRY_CONTEXT(choose_flavour(*system, options.iptables_flavour), "iptables");
  const Usable found = try_families(*system, choice.flavour);
  if (found.families.empty()) return Error(cat("iptables-", to_string(choice.flavour), ": ", found.reason));
  const Settings settings = settings_of(*system, choice.flavour, options);
  return std::unique_ptr<Dataplane>(
      std::make_unique<Iptables>(std::move(system), std::move(clock), choice.flavour, found.families, settings));
}

bool has_traces_on(System& system) {
  for (const Flavour flavour : kFlavours) {
    for (const net::Family family : kFamilies) {
      if (system.has_chain(flavour, family, Table::Filter, kReject)) return true;
      if (system.has_chain(flavour, family, Table::Nat, kHairpin)) return true;
    }
  }
  return false;
}

Status remove_on(System& system) {
  for (const Flavour flavour : kFlavours) {
    for (const net::Family family : kFamilies) TRY(remove_from(system, flavour, family));
  }
  return {};
}

Probe probe(const Options& options) {
  const auto system = open_system(options.iptables_deadline);
  if (!system) return {.usable = false, .reason = system.error().message()};
  return probe_on(**system, options);
}

Result<std::unique_ptr<Dataplane>> open(const Options& options) {
  return make(TRY(open_system(options.iptables_deadline)), std::make_unique<base::SystemClock>(), options);
}

bool has_traces(const Options& options) {
  const auto system = open_system(options.iptables_deadline);
  return system && has_traces_on(**system);
}

Status remove(const Options& options) {
  const auto system = TRY(open_system(options.iptables_deadline));
  return remove_on(*system);
}

std::string plan_text(const model::NodeState& node, const std::vector<model::ServiceState>& services) {
  std::string out;
  for (const net::Family family : kFamilies) {
    FamilyState state(family, {});
    state.begin(node);
    for (const model::ServiceState& service : services) state.upsert(service);
    out += cat("# ", net::to_string(family), "\n", state.text());
  }
  return out;
}

}  // namespace fairlead::proxy::dataplane::iptables
