#include "tests/cni/row.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <ostream>

#include "base/strings.h"
#include "tests/cni/echo.h"
#include "tests/cni/firewalld.h"

namespace fairlead::cnitest {
namespace {

using base::cat;
using base::Value;

// ".ips[0].address = 10.1.0.2/24". Members that say nothing ("dns": {}) are none.
void flatten(const Value& value, const std::string& path, Lines& out) {
  if (const Value::Object* object = value.as_object()) {
    for (const auto& [name, member] : *object) flatten(member, cat(path, ".", name), out);
  } else if (const Value::Array* array = value.as_array()) {
    for (std::size_t i = 0; i < array->size(); ++i) flatten((*array)[i], cat(path, "[", i, "]"), out);
  } else {
    const std::string* text = value.as_string();
    out.push_back(cat(path, " = ", text != nullptr ? *text : base::to_json(value)));
  }
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

class Teller {
 public:
  Teller(const Row& row, Network network, CniHost& host, Implementation implementation)
      : row_(row),
        network_(std::move(network)),
        host_(host),
        implementation_(implementation),
        runtime_(host, implementation),
        masks_(cat(row.plugins, row.prior)) {
    scope_ = {.containers = {"c1", "c2"},
              .folders = {"/run/cni", "/var/lib/cni"},
              .sysctls = row.sysctls,
              .container_sysctls = row.container_sysctls};
  }

  Result<Telling> tell() {
    for (const std::string& container : scope_.containers) TRY(host_.add_container(container));
    if (!row_.prior.empty()) TRY(host_.shell(row_.prior));
    if (row_.firewalld) TRY(start_firewalld());
    state_ = TRY(snapshot(host_, scope_, masks_));
    for (const Step& step : row_.steps) {
      ++number_;
      TRY(take(step));
    }
    return Telling{out_, messages_};
  }

 private:
  void say(const Step& step, const std::string& what) { out_.push_back(cat(number_, " ", step.verb, " ", what)); }

  Status start_firewalld() {
    firewalld_.emplace(TRY(Firewalld::create(host_.nsenter())));
    TRY(firewalld_->start());
    TRY(host_.shell(cat("mkdir /run/dbus; ln -s ", firewalld_->socket(), " /run/dbus/system_bus_socket")));
    return {};
  }

  Status take(const Step& step) {
    if (step.verb == "connect") return try_connection(step);
    if (step.verb == "zone") {
      const auto zone = TRY(firewalld_->zone_of(step.script));
      say(step, cat("of ", step.script, ": ", zone.value_or("none")));
      return {};
    }
    if (step.verb == "sh") {
      TRY(host_.shell(step.script));
    } else {
      if (step.lost_result) runtime_.forget(step.attachment);
      Lines answer = TRY(answer_of(step));
      // The names in it are known once the kernel has been asked.
      const Lines before = std::exchange(state_, TRY(snapshot(host_, scope_, masks_)));
      for (const std::string& line : answer) say(step, masks_.apply(line));
      for (const std::string& line : difference(before, state_)) say(step, masks_.apply(line));
      return {};
    }
    const Lines before = std::exchange(state_, TRY(snapshot(host_, scope_, masks_)));
    for (const std::string& line : difference(before, state_)) say(step, line);
    return {};
  }

  Result<Lines> answer_of(const Step& step) {
    Lines lines;
    const auto runs = TRY(run(step));
    const Run& last = runs.back();
    if (last.outcome.exit_code == 0) {
      lines.push_back("succeeds");
      if (step.verb == "ADD") flatten(runtime_.result(step.attachment), "result", lines);
      return lines;
    }
    const auto error = base::parse_json(last.outcome.out);
    if (!error) {
      messages_.push_back(cat(number_, " ", step.verb, " ", last.outcome.out, last.outcome.err));
      lines.push_back(cat("fails in ", last.plugin, " without an answer"));
      return lines;
    }
    lines.push_back(cat("fails in ", last.plugin, " with code ", base::to_json((*error)["code"])));
    const std::string message = base::to_json(*error);
    messages_.push_back(cat(number_, " ", step.verb, " ", message));
    if (lower(message).find(lower(mention())) == message.npos) lines.push_back(cat("says ", message));
    return lines;
  }

  std::string mention() const {
    const std::size_t bar = row_.mentions.find('|');
    if (bar == row_.mentions.npos) return row_.mentions;
    return implementation_ == Implementation::Theirs ? row_.mentions.substr(0, bar) : row_.mentions.substr(bar + 1);
  }

  Result<std::vector<Run>> run(const Step& step) {
    if (step.verb == "ADD") return runtime_.add(network_, step.attachment);
    if (step.verb == "CHECK") return runtime_.check(network_, step.attachment);
    if (step.verb == "DEL") return runtime_.del(network_, step.attachment);
    Outcome outcome = TRY(host_.run(runtime_.command(step.verb, network_, 0, step.attachment, Value())));
    return std::vector<Run>{{*network_.plugins[0]["type"].as_string(), outcome}};
  }

  Status try_connection(const Step& step) {
    for (const std::string& container : row_.servers) {
      if (!servers_.contains(container)) servers_[container] = TRY(EchoServer::start(host_, container));
    }
    const std::string seen = TRY(ask(host_, step.attachment.container, step.script));
    say(step, cat("from ", step.attachment.container.empty() ? "host" : step.attachment.container, " to ", step.script,
                  ": ", seen));
    return {};
  }

  const Row& row_;
  Network network_;
  CniHost& host_;
  Implementation implementation_;
  Runtime runtime_;
  Scope scope_;
  Masks masks_;
  Lines state_, out_, messages_;
  std::map<std::string, std::unique_ptr<EchoServer>> servers_;
  std::optional<Firewalld> firewalld_;
  unsigned number_ = 0;
};

Step step_of(std::string verb, Attachment attachment) {
  Step step;
  step.verb = std::move(verb);
  step.attachment = std::move(attachment);
  return step;
}

// '*' stands for any text, everything else for itself.
bool matches(std::string_view glob, std::string_view text) {
  const std::size_t star = glob.find('*');
  if (star == glob.npos) return glob == text;
  if (text.substr(0, star) != glob.substr(0, star)) return false;
  for (std::size_t at = star; at <= text.size(); ++at) {
    if (matches(glob.substr(star + 1), text.substr(at))) return true;
  }
  return false;
}

bool any_glob(const std::vector<std::string>& globs, const std::string& line) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) { return matches(glob, line); });
}

}  // namespace

Step add(Attachment attachment) { return step_of("ADD", std::move(attachment)); }
Step check(Attachment attachment) { return step_of("CHECK", std::move(attachment)); }
Step del(Attachment attachment) { return step_of("DEL", std::move(attachment)); }
Step del_without_result(Attachment attachment) {
  Step step = del(std::move(attachment));
  step.lost_result = true;
  return step;
}
Step sh(std::string script) {
  Step step = step_of("sh", {});
  step.script = std::move(script);
  return step;
}
Step connect(std::string from, std::string to) {
  Step step = step_of("connect", {});
  step.attachment.container = std::move(from);
  step.script = std::move(to);
  return step;
}
Step zone(std::string source) {
  Step step = step_of("zone", {});
  step.script = std::move(source);
  return step;
}

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

Result<Telling> tell(const Row& row, const std::string& version, Implementation implementation) {
  const Network network =
      TRY(parse_network(cat(R"({"cniVersion": ")", version, R"(", "name": "net", "plugins": )", row.plugins, "}")));
  CniHost host = TRY(CniHost::create());
  return Teller(row, network, host, implementation).tell();
}

bool declared_for(const Difference& difference, const std::string& row, const std::string& version) {
  for (const std::string_view part : base::split(difference.rows, ',')) {
    const std::string_view name = base::trim(part);
    if (matches(name, row) || matches(name, cat(row, " ", version))) return true;
  }
  return false;
}

Lines verdict(const std::vector<Difference>& declared, const Lines& theirs, const Lines& ours) {
  Lines out, a = theirs, b = ours;
  std::vector<bool> occurs(declared.size());
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  for (const std::string& line : difference(a, b)) {
    const bool of_theirs = line[0] == '-';
    bool known = false;
    for (std::size_t i = 0; i < declared.size(); ++i) {
      if (!any_glob(of_theirs ? declared[i].theirs : declared[i].ours, line.substr(2))) continue;
      occurs[i] = known = true;
    }
    if (!known) out.push_back(cat(of_theirs ? "only theirs: " : "only ours:   ", line.substr(2)));
  }
  for (std::size_t i = 0; i < declared.size(); ++i) {
    if (!occurs[i]) out.push_back(cat("the declared difference ", declared[i].id, " does not occur"));
  }
  return out;
}

}  // namespace fairlead::cnitest
