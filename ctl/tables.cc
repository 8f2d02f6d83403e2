#include "ctl/tables.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "net/ip.h"

namespace fairlead::ctl {
namespace {

using base::Value;

enum class Tone { Plain, Strong, Warning, Bad };

std::string painted(std::string text, Tone tone, Colour colour) {
  if (colour == Colour::Off || tone == Tone::Plain || text.empty()) return text;
  const std::string_view code = tone == Tone::Strong ? "1" : tone == Tone::Warning ? "33" : "31";
  return base::cat("\033[", code, "m", text, "\033[0m");
}

std::string text_of(const Value& value) { return value.as_string() != nullptr ? *value.as_string() : std::string(); }
std::int64_t int_of(const Value& value) { return value.as_int() != nullptr ? *value.as_int() : 0; }
bool bool_of(const Value& value) { return value.as_bool() != nullptr && *value.as_bool(); }
const Value::Array& list_of(const Value& value) {
  static const Value::Array kEmpty;
  return value.as_array() != nullptr ? *value.as_array() : kEmpty;
}

// "12.3 ms" out of microseconds
std::string milliseconds_text(std::int64_t us) { return base::cat(us / 1000, ".", us % 1000 / 100, " ms"); }
std::string megabytes_text(std::int64_t bytes) {
  return base::cat(bytes / 1000000, ".", bytes % 1000000 / 100000, " MB");
}

struct Line {
  std::string name;
  std::string text;
  Tone tone = Tone::Plain;
};

std::string aligned(const std::vector<Line>& lines, Colour colour) {
  constexpr std::size_t kIndent = 14;
  std::string out;
  for (const Line& line : lines) {
    out += painted(line.name, Tone::Strong, colour);
    out.append(kIndent - std::min(kIndent - 1, line.name.size()), ' ');
    out += painted(line.text, line.tone, colour) + "\n";
  }
  return out;
}

void add_dataplane(std::vector<Line>& lines, const Value& status) {
  const std::string chosen = text_of(status["dataplane"]);
  if (chosen.empty()) lines.push_back({"dataplane", "not chosen yet", Tone::Warning});
  for (const Value& probe : list_of(status["probes"])) {
    const std::string name = text_of(probe["dataplane"]);
    const bool usable = bool_of(probe["usable"]);
    lines.push_back({name == chosen ? "dataplane" : "",
                     base::cat(name, usable ? ": " : " unusable: ", text_of(probe["reason"])),
                     usable ? Tone::Plain : Tone::Warning});
  }
}

void add_source(std::vector<Line>& lines, const Value& source) {
  const bool connected = bool_of(source["connected"]);
  lines.push_back({"source",
                   base::cat(text_of(source["kind"]), " ", text_of(source["where"]),
                             connected ? ", connected" : ", NOT CONNECTED: the last known state stays in force"),
                   connected ? Tone::Plain : Tone::Bad});
  for (const Value& error : list_of(source["errors"])) lines.push_back({"", text_of(error), Tone::Bad});
}

void add_progress(std::vector<Line>& lines, const Value& status) {
  lines.push_back(
      {"services", base::cat(int_of(status["services"]), " with ", int_of(status["endpoints"]), " endpoints")});
  if (!bool_of(status["synced"])) {
    lines.push_back({"first sync", "not done yet", Tone::Warning});
  } else {
    const Value& first = status["first_sync"];
    lines.push_back({"first sync", base::cat(int_of(first["since_start_ms"]), " ms after the start, ",
                                             milliseconds_text(int_of(first["apply_us"])), " of it in the kernel")});
  }
  const std::int64_t pending = int_of(status["pending"]);
  lines.push_back({"changes",
                   base::cat(int_of(status["generation"]), " batches, ", int_of(status["applied"]), " applied, ",
                             pending, " pending; the last took ", milliseconds_text(int_of(status["last_apply_us"]))),
                   pending > 0 ? Tone::Warning : Tone::Plain});
  const Value& writes = status["kernel_writes"];
  lines.push_back(
      {"kernel writes", base::cat(int_of(writes["total"]), " since the start, ", int_of(writes["first_sync"]),
                                  " by the first sync, ", int_of(writes["last"]), " by the last change")});
}

std::string words_of(const Value& list) {
  std::string out;
  for (const Value& each : list_of(list)) out += (out.empty() ? "" : " ") + text_of(each);
  return out;
}

void add_node_state(std::vector<Line>& lines, const Value& status) {
  const Value& node = status["node_state"];
  if (node.is_null()) return;
  const std::string interface = text_of(node["pod_interface"]);
  const std::string sources = words_of(node["pods"]);
  const bool known = !interface.empty() || !sources.empty();
  lines.push_back({"pods",
                   known ? (interface.empty() ? sources : base::cat("on ", interface)) : "not told from strangers",
                   Tone::Plain});
  const std::string cidrs = words_of(node["service_cidrs"]);
  lines.push_back({"node ports", base::cat("on ", words_of(node["node_port_addresses"]))});
  lines.push_back({"service CIDRs", cidrs.empty() ? "none known" : cidrs});
}

void add_health_ports(std::vector<Line>& lines, const Value& status) {
  const Value::Array& failing = list_of(status["health_check_ports_failing"]);
  const std::int64_t count = int_of(status["health_check_ports"]);
  if (count == 0) return;
  lines.push_back({"health checks", base::cat(count, count == 1 ? " node port" : " node ports")});
  for (const Value& each : failing) {
    lines.push_back(
        {"", base::cat(text_of(each["service"]), ": ", text_of(each["error"]), ", trying again"), Tone::Bad});
  }
}

void add_failures(std::vector<Line>& lines, const Value& status) {
  if (const std::string error = text_of(status["error"]); !error.empty()) lines.push_back({"ERROR", error, Tone::Bad});
  const std::int64_t failing = int_of(status["failing"]);
  lines.push_back({"failing", failing == 0 ? "nothing" : base::cat(failing), failing == 0 ? Tone::Plain : Tone::Bad});
  const Value::Array& shown = list_of(status["failures"]);
  for (const Value& failure : shown) {
    lines.push_back(
        {"",
         base::cat(text_of(failure["object"]), ": ", text_of(failure["error"]), " (", int_of(failure["attempts"]),
                   " attempts in ", age_text(int_of(failure["age_seconds"])), ")"),
         Tone::Bad});
  }
  const auto listed = static_cast<std::int64_t>(shown.size());
  if (failing > listed) lines.push_back({"", base::cat("and ", failing - listed, " more"), Tone::Bad});
}

// One printed line; cells of a service's further frontends are empty but for the address.
struct Row {
  std::array<std::string, 6> cells;
  Tone error_tone = Tone::Plain;
};

std::string address_text(const Value& frontend) {
  const std::string address = text_of(frontend["address"]);
  const auto port = static_cast<std::uint16_t>(int_of(frontend["port"]));
  const std::string protocol = text_of(frontend["protocol"]);
  if (address.empty()) return base::cat("node:", port, "/", protocol);  // NodePort: any address of the node
  const auto ip = net::Ip::parse(address);
  return base::cat(ip ? net::host_port(*ip, port) : address, "/", protocol);
}

std::vector<std::string> addresses_of(const Value& service) {
  std::vector<std::string> addresses;
  for (const Value& frontend : list_of(service["frontends"])) {
    std::string text = address_text(frontend);
    // A NodePort of two families is one line.
    if (std::find(addresses.begin(), addresses.end(), text) == addresses.end()) addresses.push_back(std::move(text));
  }
  if (addresses.empty()) addresses.emplace_back("-");
  return addresses;
}

void add_rows(std::vector<Row>& rows, const Value& service) {
  const std::vector<std::string> addresses = addresses_of(service);
  const Value& endpoints = service["endpoints"];
  std::string error = text_of(service["last_error"]);
  Tone tone = error.empty() ? Tone::Plain : Tone::Bad;
  if (error.empty() && int_of(endpoints["ready"]) == 0 && !list_of(service["frontends"]).empty()) {
    error = "no endpoints";
    tone = Tone::Warning;
  }
  rows.push_back({.cells = {base::cat(text_of(service["namespace"]), "/", text_of(service["name"])),
                            text_of(service["type"]), addresses.front(),
                            base::cat(int_of(endpoints["local"]), "/", int_of(endpoints["ready"]), "/",
                                      int_of(endpoints["total"])),
                            age_text(int_of(service["age_seconds"])), error.empty() ? "-" : error},
                  .error_tone = tone});
  for (std::size_t i = 1; i < addresses.size(); ++i) rows.push_back({.cells = {"", "", addresses[i], "", "", ""}});
}

}  // namespace

std::string age_text(std::int64_t seconds) {
  const std::int64_t minutes = seconds / 60;
  const std::int64_t hours = minutes / 60;
  if (minutes == 0) return base::cat(seconds, "s");
  if (hours == 0) return base::cat(minutes, "m", seconds % 60, "s");
  if (hours < 48) return base::cat(hours, "h", minutes % 60, "m");
  return base::cat(hours / 24, "d", hours % 24, "h");
}

std::string status_text(const Value& status, Colour colour) {
  std::vector<Line> lines;
  lines.push_back({"agent", base::cat(text_of(status["version"]), " on node ", text_of(status["node"]), ", instance ",
                                      text_of(status["instance"]), ", pid ", int_of(status["pid"]), ", up ",
                                      age_text(int_of(status["uptime_seconds"])), ", ",
                                      megabytes_text(int_of(status["rss_bytes"])))});
  add_dataplane(lines, status);
  add_source(lines, status["source"]);
  add_progress(lines, status);
  add_node_state(lines, status);
  const std::string metrics = text_of(status["metrics_address"]);
  const std::string healthz = text_of(status["healthz_address"]);
  lines.push_back({"listens", base::cat("metrics ", metrics.empty() ? "off" : metrics, ", health ",
                                        healthz.empty() ? "off" : healthz)});
  add_health_ports(lines, status);
  add_failures(lines, status);
  return aligned(lines, colour);
}

std::string services_table(const Value& services, Colour colour) {
  std::vector<Row> rows = {
      {.cells = {"NAMESPACE/NAME", "TYPE", "ADDRESS:PORT/PROTO", "LOCAL/READY/TOTAL", "AGE", "LAST-ERROR"}}};
  for (const Value& service : list_of(services)) add_rows(rows, service);
  std::array<std::size_t, 6> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row.cells[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      line += row.cells[i];
      line.append(widths[i] - row.cells[i].size() + 2, ' ');
    }
    const bool header = &row == rows.data();
    line += painted(row.cells.back(), row.error_tone, colour);
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += (header ? painted(line, Tone::Strong, colour) : line) + "\n";
  }
  return out;
}

}  // namespace fairlead::ctl
