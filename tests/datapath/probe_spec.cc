#include "tests/datapath/probe_spec.h"

#include <functional>
#include <ostream>

#include "base/strings.h"

namespace fairlead::testbed {
namespace {

using base::cat;
using base::Value;
using Arguments = std::vector<std::string>;

std::string_view style_name(SocketStyle style) {
  switch (style) {
    case SocketStyle::Connected: return "connected";
    case SocketStyle::Unconnected: return "unconnected";
    case SocketStyle::Mapped: return "mapped";
    case SocketStyle::MappedUnconnected: return "mapped-unconnected";
  }
  return "";
}

Status parse_style(std::string_view text, SocketStyle& style) {
  for (const SocketStyle candidate :
       {SocketStyle::Connected, SocketStyle::Unconnected, SocketStyle::Mapped, SocketStyle::MappedUnconnected}) {
    if (style_name(candidate) == text) {
      style = candidate;
      return {};
    }
  }
  return Error(cat("\"", text, "\" is none of connected, unconnected, mapped, mapped-unconnected"));
}

template <typename T>
Status parse_into(std::string_view text, T& value) {
  const auto number = base::parse_number<T>(text);
  if (!number) return Error(cat("\"", text, "\" is not a number in range"));
  value = *number;
  return {};
}

// "--name value" pairs.
using Options = std::map<std::string_view, std::function<Status(std::string_view)>>;

Status parse_options(const Arguments& arguments, const Options& options) {
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const auto option = options.find(arguments[i]);
    if (option == options.end()) return Error(cat("unknown option ", arguments[i]));
    if (i + 1 == arguments.size()) return Error(cat(arguments[i], " needs a value"));
    TRY_CONTEXT(option->second(arguments[i + 1]), arguments[i]);
  }
  return {};
}

template <typename T>
auto number_option(T& value) {
  return [&value](std::string_view text) { return parse_into(text, value); };
}

Status parse_target(std::string_view text, Target& target) {
  target = TRY(Target::parse(text));
  return {};
}

std::string text_of(const Value& object, std::string_view key) {
  const std::string* text = object[key].as_string();
  return text != nullptr ? *text : "";
}

template <typename T>
T number_of(const Value& object, std::string_view key) {
  const std::int64_t* number = object[key].as_int();
  return number != nullptr ? static_cast<T>(*number) : T{};
}

Value counts_value(const std::map<std::string, std::uint64_t>& counts) {
  Value::Object object;
  for (const auto& [name, count] : counts) object.emplace_back(name, Value(count));
  return Value(std::move(object));
}

std::map<std::string, std::uint64_t> counts_of(const Value& value) {
  std::map<std::string, std::uint64_t> counts;
  const Value::Object* object = value.as_object();
  if (object == nullptr) return counts;
  for (const auto& [name, count] : *object) {
    if (const std::int64_t* number = count.as_int()) counts[name] = static_cast<std::uint64_t>(*number);
  }
  return counts;
}

}  // namespace

std::string_view to_string(Transport transport) {
  switch (transport) {
    case Transport::Tcp: return "tcp";
    case Transport::Udp: return "udp";
    case Transport::Sctp: return "sctp";
  }
  return "";
}

Result<Target> Target::parse(std::string_view text) {
  Target target;
  const auto slash = text.rfind('/');
  const std::string_view protocol = slash == text.npos ? "tcp" : text.substr(slash + 1);
  const std::string_view address = text.substr(0, slash);
  if (protocol == "tcp") {
    target.transport = Transport::Tcp;
  } else if (protocol == "udp") {
    target.transport = Transport::Udp;
  } else if (protocol == "sctp") {
    target.transport = Transport::Sctp;
  } else {
    return Error(cat("\"", protocol, "\" is none of tcp, udp, sctp"));
  }
  const auto colon = address.rfind(':');
  if (colon == address.npos) return Error(cat("\"", text, "\" has no port"));
  std::string_view host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  target.ip = TRY(net::Ip::parse(host));
  TRY_CONTEXT(parse_into(address.substr(colon + 1), target.port), "port");
  return target;
}

std::string Target::to_string() const { return cat(net::host_port(ip, port), "/", testbed::to_string(transport)); }

std::ostream& operator<<(std::ostream& out, const Attempt& attempt) {
  if (!attempt.error.empty()) return out << attempt.error << " after " << attempt.latency_us << " us";
  return out << attempt.answer << " at " << attempt.local << " saw " << attempt.source << ":" << attempt.source_port
             << ", peer " << attempt.peer << ", " << attempt.latency_us << " us";
}

std::ostream& operator<<(std::ostream& out, const LoadReport& report) { return out << base::to_json(to_value(report)); }

std::vector<std::string> to_arguments(const ConnectSpec& spec) {
  return {"--to",
          spec.to.to_string(),
          "--style",
          std::string(style_name(spec.style)),
          "--count",
          cat(spec.count),
          "--parallel",
          cat(spec.parallel),
          "--timeout",
          cat(spec.timeout_ms),
          "--source-port",
          cat(spec.source_port),
          "--bytes",
          cat(spec.bytes),
          "--requests",
          cat(spec.requests),
          "--invalid-segment",
          cat(spec.invalid_segment ? 1 : 0)};
}

Result<ConnectSpec> connect_spec_from(const Arguments& arguments) {
  ConnectSpec spec;
  unsigned invalid_segment = 0;
  TRY(parse_options(arguments, {{"--to", [&](std::string_view text) { return parse_target(text, spec.to); }},
                                {"--style", [&](std::string_view text) { return parse_style(text, spec.style); }},
                                {"--count", number_option(spec.count)},
                                {"--parallel", number_option(spec.parallel)},
                                {"--timeout", number_option(spec.timeout_ms)},
                                {"--source-port", number_option(spec.source_port)},
                                {"--bytes", number_option(spec.bytes)},
                                {"--requests", number_option(spec.requests)},
                                {"--invalid-segment", number_option(invalid_segment)}}));
  spec.invalid_segment = invalid_segment != 0;
  if (spec.to.port == 0) return Error("--to ADDRESS:PORT/tcp|udp|sctp is needed");
  return spec;
}

std::vector<std::string> to_arguments(const LoadSpec& spec) {
  return {"--to",           spec.to.to_string(),
          "--style",        std::string(style_name(spec.style)),
          "--long-lived",   cat(spec.long_lived ? 1 : 0),
          "--parallel",     cat(spec.parallel),
          "--rate",         cat(spec.rate),
          "--timeout",      cat(spec.timeout_ms),
          "--for",          cat(spec.seconds),
          "--report-every", cat(spec.report_every_ms)};
}

Result<LoadSpec> load_spec_from(const Arguments& arguments) {
  LoadSpec spec;
  unsigned long_lived = 0;
  TRY(parse_options(arguments, {{"--to", [&](std::string_view text) { return parse_target(text, spec.to); }},
                                {"--style", [&](std::string_view text) { return parse_style(text, spec.style); }},
                                {"--long-lived", number_option(long_lived)},
                                {"--parallel", number_option(spec.parallel)},
                                {"--rate", number_option(spec.rate)},
                                {"--timeout", number_option(spec.timeout_ms)},
                                {"--for", number_option(spec.seconds)},
                                {"--report-every", number_option(spec.report_every_ms)}}));
  spec.long_lived = long_lived != 0;
  if (spec.to.port == 0) return Error("--to ADDRESS:PORT/tcp|udp|sctp is needed");
  if (spec.rate == 0 || spec.parallel == 0) return Error("--rate and --parallel must be at least 1");
  return spec;
}

base::Value to_value(const std::vector<Attempt>& attempts) {
  Value::Array list;
  for (const Attempt& attempt : attempts) {
    Value object;
    object.set("answer", Value(attempt.answer))
        .set("source", Value(attempt.source))
        .set("source_port", Value(int{attempt.source_port}))
        .set("local", Value(attempt.local))
        .set("peer", Value(attempt.peer))
        .set("error", Value(attempt.error))
        .set("latency_us", Value(std::uint64_t{attempt.latency_us}));
    list.push_back(std::move(object));
  }
  return Value(std::move(list));
}

Result<std::vector<Attempt>> attempts_from(const base::Value& value) {
  const Value::Array* list = value.as_array();
  if (list == nullptr) {
    const std::string failure = text_of(value, "failure");
    return Error(failure.empty() ? cat("expected a list of attempts, got ", value.type_name()) : failure);
  }
  std::vector<Attempt> attempts;
  for (const Value& object : *list) {
    attempts.push_back({.answer = text_of(object, "answer"),
                        .source = text_of(object, "source"),
                        .source_port = number_of<std::uint16_t>(object, "source_port"),
                        .local = text_of(object, "local"),
                        .peer = text_of(object, "peer"),
                        .error = text_of(object, "error"),
                        .latency_us = number_of<std::uint32_t>(object, "latency_us")});
  }
  return attempts;
}

base::Value to_value(const LoadReport& report) {
  Value object;
  object.set("requests", Value(report.requests))
      .set("answered", Value(report.answered))
      .set("connections", Value(report.connections))
      .set("answers", counts_value(report.answers))
      .set("reached", counts_value(report.reached))
      .set("errors", counts_value(report.errors))
      .set("p50_us", Value(std::uint64_t{report.p50_us}))
      .set("p99_us", Value(std::uint64_t{report.p99_us}))
      .set("max_us", Value(std::uint64_t{report.max_us}));
  return object;
}

Result<LoadReport> load_report_from(const base::Value& value) {
  if (value.as_object() == nullptr) return Error(cat("expected a load report, got ", value.type_name()));
  return LoadReport{.requests = number_of<std::uint64_t>(value, "requests"),
                    .answered = number_of<std::uint64_t>(value, "answered"),
                    .connections = number_of<std::uint64_t>(value, "connections"),
                    .answers = counts_of(value["answers"]),
                    .reached = counts_of(value["reached"]),
                    .errors = counts_of(value["errors"]),
                    .p50_us = number_of<std::uint32_t>(value, "p50_us"),
                    .p99_us = number_of<std::uint32_t>(value, "p99_us"),
                    .max_us = number_of<std::uint32_t>(value, "max_us")};
}

}  // namespace fairlead::testbed
