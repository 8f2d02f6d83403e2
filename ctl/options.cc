#include "ctl/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/strings.h"

namespace fairlead::ctl {
namespace {

Stop usage_error(const std::string& message) {
  return {.exit_code = 2,
          .text = base::cat("error: ", message, "\nhint: fairleadctl --help lists commands and flags\n")};
}

// A DNS label, which is what the API allows; anything else cannot name a namespace, and would need escaping in a URL.
bool is_namespace(const std::string& text) {
  return text.size() <= 63 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace

std::variant<Options, Stop> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  bool json = false;
  CLI::App app("Looks into the Fairlead agent of this node.", "fairleadctl");
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.add_option("--socket", options.socket, base::cat("The agent's status socket (default: ", options.socket, ")"))
      ->type_name("PATH");
  app.add_flag("--json", json, "Print what the agent answers, as JSON");
  const CLI::App* status = app.add_subcommand("status", "What the agent is doing, and what is wrong");
  CLI::App* services = app.add_subcommand("services", "Every Service: addresses, endpoints, age, last error");
  services->add_option("-n,--namespace", options.only_namespace, "Only this namespace")->type_name("NAME");
  CLI::App* dump = app.add_subcommand("dump", "What stands in this node's kernel; asks no agent");
  dump->require_subcommand(1);
  CLI::App* nftables = dump->add_subcommand("nftables", "The tables of the nftables dataplane, in words");
  nftables
      ->add_option("--instance", options.instance,
                   base::cat("The agent's --instance, which names the tables (default: ", options.instance, ")"))
      ->type_name("NAME");
  std::string family;
  nftables->add_option("--family", family, "Only this one: ipv4 or ipv6 (default: both)")->type_name("FAMILY");
  const CLI::App* version = app.add_subcommand("version", "Print the version");

  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them last first
  } catch (const CLI::CallForHelp&) {
    const CLI::App* asked = &app;
    while (!asked->get_subcommands().empty()) asked = asked->get_subcommands().front();
    return Stop{.exit_code = 0, .text = asked->help()};
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extra = app.remaining(true);
    return usage_error((extra.empty() ? std::string() : extra.front()) + ": no such flag or command");
  } catch (const CLI::ArgumentMismatch&) {
    return usage_error(arguments.back() + ": a value is missing");
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (!status->parsed() && !services->parsed() && !dump->parsed() && !version->parsed()) {
    return usage_error("a command is missing: use status, services, dump or version");
  }
  if (!family.empty() && family != "ipv4" && family != "ipv6") {
    return usage_error(base::cat("--family: \"", family, "\" is not allowed: use ipv4 or ipv6"));
  }
  if (nftables->parsed() && json) return usage_error("--json: dump prints text alone");
  if (!family.empty()) options.family = family == "ipv4" ? net::Family::V4 : net::Family::V6;
  if (!is_namespace(options.only_namespace)) {
    return usage_error(base::cat("--namespace: \"", options.only_namespace, "\" is not allowed: use a-z, 0-9 and -"));
  }
  if (services->parsed()) options.command = Command::Services;
  if (nftables->parsed()) options.command = Command::DumpNftables;
  if (version->parsed()) options.command = Command::Version;
  options.output = json ? Output::Json : Output::Table;
  return options;
}

}  // namespace fairlead::ctl
