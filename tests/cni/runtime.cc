#include "tests/cni/runtime.h"

#include <algorithm>
#include <cstdlib>

#include "base/strings.h"

namespace fairlead::cnitest {
namespace {

using base::cat;
using base::Value;

const Value kNull;

const std::string& text_of(const Value& value) {
  static const std::string kNone;
  return value.as_string() != nullptr ? *value.as_string() : kNone;
}

// What the plugin's `capabilities` declare and the runtime has.
Value runtime_config(const Value& plugin, const Value& capabilities) {
  Value out{Value::Object()};
  const Value::Object* declared = plugin["capabilities"].as_object();
  if (declared == nullptr) return out;
  for (const auto& [name, wanted] : *declared) {
    if (wanted.as_bool() != nullptr && *wanted.as_bool() && !capabilities[name].is_null())
      out.set(name, capabilities[name]);
  }
  return out;
}

// libcni hands `capabilities` on only as runtimeConfig.
Value request(const Network& network, const Value& plugin, const Value& capabilities) {
  Value out{Value::Object()};
  for (const auto& [name, value] : *plugin.as_object()) {
    if (name != "capabilities") out.set(name, value);
  }
  out.set("cniVersion", Value(network.version)).set("name", Value(network.name));
  const Value runtime = runtime_config(plugin, capabilities);
  if (!runtime.as_object()->empty()) out.set("runtimeConfig", runtime);
  return out;
}

}  // namespace

std::string folder(Implementation implementation) {
  if (implementation == Implementation::Theirs) return "/usr/lib/cni";
  const char* build = std::getenv("FAIRLEAD_BUILD_DIR");
  return cat(build != nullptr ? cat(build, "/bin") : std::string(FAIRLEAD_BIN_DIR), "/cni");
}

Result<Network> parse_network(std::string_view conflist) {
  const Value value = TRY(base::parse_json(conflist));
  Network network{.name = text_of(value["name"]), .version = text_of(value["cniVersion"]), .plugins = {}};
  if (const Value::Array* plugins = value["plugins"].as_array()) network.plugins = *plugins;
  for (const Value& plugin : network.plugins) {
    if (plugin["type"].as_string() == nullptr) return Error(cat("a plugin without a type in ", conflist));
  }
  return network;
}

Command Runtime::command(const std::string& verb, const Network& network, std::size_t index,
                         const Attachment& attachment, const Value& previous) const {
  const Value& plugin = network.plugins[index];
  Value config = request(network, plugin, attachment.capabilities);
  if (!previous.is_null()) config.set("prevResult", previous);
  if (verb == "GC") config.set("cni.dev/valid-attachments", Value(Value::Array()));
  const std::string type = text_of(plugin["type"]), home = folder(implementation_);
  Command command{.argv = {cat(home, "/", type)},
                  .environment = {{"CNI_COMMAND", verb}, {"CNI_PATH", home}, {"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}},
                  .input = base::to_json(config)};
  auto& environment = command.environment;
  if (verb != "GC" && verb != "STATUS") {
    environment["CNI_CONTAINERID"] = attachment.container_id.empty() ? attachment.container : attachment.container_id;
    environment["CNI_NETNS"] = attachment.netns.value_or(CniHost::netns(attachment.container));
    environment["CNI_IFNAME"] = attachment.ifname;
    if (!attachment.args.empty()) environment["CNI_ARGS"] = attachment.args;
  }
  for (const auto& [name, value] : attachment.environment) {
    if (value) {
      environment[name] = *value;
    } else {
      environment.erase(name);
    }
  }
  return command;
}

const Value& Runtime::result(const Attachment& attachment) const {
  const auto found = results_.find(key(attachment));
  return found == results_.end() ? kNull : found->second;
}

Result<std::vector<Run>> Runtime::add(const Network& network, const Attachment& attachment) {
  std::vector<Run> runs;
  Value previous;
  for (std::size_t i = 0; i < network.plugins.size(); ++i) {
    Outcome outcome = TRY(host_.run(command("ADD", network, i, attachment, previous)));
    runs.push_back({text_of(network.plugins[i]["type"]), outcome});
    if (outcome.exit_code != 0) return runs;
    previous = TRY(base::parse_json(outcome.out));
  }
  results_[key(attachment)] = previous;
  return runs;
}

Result<std::vector<Run>> Runtime::check(const Network& network, const Attachment& attachment) {
  std::vector<Run> runs;
  for (std::size_t i = 0; i < network.plugins.size(); ++i) {
    runs.push_back({text_of(network.plugins[i]["type"]),
                    TRY(host_.run(command("CHECK", network, i, attachment, result(attachment))))});
    if (runs.back().outcome.exit_code != 0) return runs;
  }
  return runs;
}

Result<std::vector<Run>> Runtime::del(const Network& network, const Attachment& attachment) {
  // Before 0.4.0 DEL has no prevResult.
  const bool old = network.version.starts_with("0.") && network.version < "0.4.0";
  std::vector<Run> runs;
  for (std::size_t i = network.plugins.size(); i-- > 0;) {
    runs.push_back({text_of(network.plugins[i]["type"]),
                    TRY(host_.run(command("DEL", network, i, attachment, old ? kNull : result(attachment))))});
    if (runs.back().outcome.exit_code != 0) return runs;
  }
  forget(attachment);
  return runs;
}

Result<std::vector<Run>> Runtime::gc_all(const Network& network) {
  std::vector<Run> runs;
  for (std::size_t i = 0; i < network.plugins.size(); ++i) {
    runs.push_back({text_of(network.plugins[i]["type"]), TRY(host_.run(command("GC", network, i, {}, kNull)))});
    if (runs.back().outcome.exit_code != 0) return runs;
  }
  return runs;
}

}  // namespace fairlead::cnitest
