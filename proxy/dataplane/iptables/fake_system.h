// A kernel with iptables in memory: what a restore may and may not do, and faults to order.
#pragma once

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "proxy/dataplane/iptables/system.h"

namespace fairlead::proxy::dataplane::iptables::test {

struct FakeTable {
  std::map<std::string, std::vector<std::string>> chains;
};

struct FakeNetns {
  using Place = std::pair<Flavour, net::Family>;
  std::map<Place, std::map<std::string, FakeTable>> tables;
  std::map<std::string, std::string> sysctls;
  std::uint64_t generation = 1;
  std::function<void()> on_save = [] {};
  std::function<void()> after_restore = [] {};
  bool counts_commits = true;  // as the nft flavour can
  int restores = 0;
  int saves = 0;
  // Faults.
  int fail_commit = -1;        // the so manieth from now on is the last of its restore, which fails
  int fail_saves = 0;          // so many fail
  std::string refused;         // a line with this in it is refused
  std::string broken_flavour;  // whose programs are missing

  static FakeTable empty(const std::string& table) {
    FakeTable out;
    std::vector<std::string> chains{"INPUT", "FORWARD", "OUTPUT"};
    if (table == "nat") chains = {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"};
    for (const std::string& chain : chains) out.chains[chain];
    return out;
  }
  FakeTable& at(Flavour flavour, net::Family family, const std::string& table) {
    return tables[{flavour, family}].try_emplace(table, empty(table)).first->second;
  }
  // Everything somebody can see, for comparison.
  std::string text(Flavour flavour, net::Family family) const {
    std::string out;
    const auto place = tables.find({flavour, family});
    if (place == tables.end()) return out;
    for (const auto& [name, table] : place->second) {
      out += base::cat("*", name, "\n");
      for (const auto& [chain, rules] : table.chains) {
        const bool built_in = empty(name).chains.contains(chain);
        out += base::cat(":", chain, built_in ? " ACCEPT [0:0]\n" : " - [0:0]\n");
      }
      for (const auto& [chain, rules] : table.chains) {
        for (const std::string& rule : rules) out += base::cat("-A ", chain, " ", rule, "\n");
      }
      out += "COMMIT\n";
    }
    return out;
  }
};

class FakeSystem final : public System {
 public:
  explicit FakeSystem(std::shared_ptr<FakeNetns> ns) : ns_(std::move(ns)) {}

  Result<std::string> save(Flavour flavour, net::Family family) override {
    if (to_string(flavour) == ns_->broken_flavour) return Error("iptables-save: not found");
    ++ns_->saves;
    ns_->on_save();
    if (ns_->fail_saves > 0 && ns_->fail_saves-- > 0) return Error("iptables-save: exit 1");
    return ns_->text(flavour, family);
  }

  Status restore(Flavour flavour, net::Family family, const std::string& input) override {
    ++ns_->restores;
    auto& kernel = ns_->tables[{flavour, family}];
    std::string table;
    FakeTable next;
    std::size_t number = 0;
    for (const std::string_view line : base::split(input, '\n')) {
      ++number;
      if (line.empty()) continue;
      if (line[0] == '*') {
        table = std::string(line.substr(1));
        next = ns_->at(flavour, family, table);
      } else if (line == "COMMIT") {
        kernel[table] = std::move(next);
        ++ns_->generation;
        if (ns_->fail_commit >= 0 && ns_->fail_commit-- == 0) return Error("iptables-restore: killed", ETIMEDOUT);
      } else if (!command(line, next) || (!ns_->refused.empty() && line.find(ns_->refused) != std::string_view::npos)) {
        return Error(base::cat("iptables-restore: line ", number, " failed"));
      }
    }
    std::exchange(ns_->after_restore, [] {})();
    return {};
  }
  Status test(Flavour flavour, net::Family, const std::string&) override {
    if (to_string(flavour) == ns_->broken_flavour) return Error("iptables-restore: not found");
    return {};
  }

  bool has_chain(Flavour flavour, net::Family family, Table table, std::string_view chain) override {
    const auto place = ns_->tables.find({flavour, family});
    if (place == ns_->tables.end()) return false;
    const auto it = place->second.find(std::string(to_string(table)));
    return it != place->second.end() && it->second.chains.contains(std::string(chain));
  }
  std::string fingerprint(Flavour) override { return base::cat(ns_->generation); }
  std::string fingerprint_after(Flavour, const std::string& before, std::uint32_t commits) override {
    if (!ns_->counts_commits || before.empty()) return {};
    return base::cat(*base::parse_number<std::uint64_t>(before) + commits);
  }
  std::string read_sysctl(const std::string& name) override { return ns_->sysctls[name]; }
  Status write_sysctl(const std::string& name, const std::string& value) override {
    if (name.find(ns_->refused) != std::string::npos && !ns_->refused.empty()) return Error("read-only", EROFS);
    ns_->sysctls[name] = value;
    return {};
  }
  int timer_fd() const override { return -1; }
  void acknowledge_timer() override {}

 private:
  // False: iptables-restore would refuse it.
  static bool command(std::string_view line, FakeTable& table) {
    if (line[0] == ':') {
      const std::string name(line.substr(1, line.find(' ') - 1));
      table.chains[name].clear();
      return name.size() <= 28;
    }
    const std::string_view verb = line.substr(0, 2);
    const std::string_view rest = line.substr(3);
    const std::size_t space = rest.find(' ');
    const std::string chain(rest.substr(0, space));
    const auto it = table.chains.find(chain);
    if (it == table.chains.end()) return false;
    if (verb == "-X") {
      const bool empty = it->second.empty();
      table.chains.erase(it);
      return empty && !is_referred_to(chain, table);
    }
    const std::string rule(space == std::string_view::npos ? std::string_view() : rest.substr(space + 1));
    if (verb == "-D") {
      const auto found = std::find(it->second.begin(), it->second.end(), rule);
      if (found == it->second.end()) return false;
      it->second.erase(found);
      return true;
    }
    for (const std::string_view option : {"-j KUBE-", "-g KUBE-"}) {
      const std::size_t at = rule.rfind(option);
      if (at != std::string::npos && !table.chains.contains(rule.substr(at + 3))) return false;
    }
    it->second.insert(verb == "-I" ? it->second.begin() : it->second.end(), rule);
    return true;
  }
  static bool is_referred_to(const std::string& chain, const FakeTable& table) {
    for (const auto& [name, rules] : table.chains) {
      for (const std::string& rule : rules) {
        if (rule.size() > chain.size() && rule.substr(rule.size() - chain.size() - 1) == " " + chain) return true;
      }
    }
    return false;
  }

  std::shared_ptr<FakeNetns> ns_;
};

}  // namespace fairlead::proxy::dataplane::iptables::test
