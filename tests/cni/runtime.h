// Runtime: drives the plugins of a network as libcni does: prevResult from one to the next, runtimeConfig by
// capabilities, DEL in reverse, and the result kept for CHECK and DEL.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/cni/host.h"

namespace fairlead::cnitest {

enum class Implementation { Theirs, Ours };
std::string folder(Implementation implementation);  // of its plugins

// A conflist: cniVersion, name, plugins[].
struct Network {
  std::string name;
  std::string version;
  std::vector<base::Value> plugins;
};
Result<Network> parse_network(std::string_view conflist);

struct Attachment {
  std::string container = "c1";  // its network namespace at CniHost::netns()
  std::string ifname = "eth0";
  std::string args{};                                               // CNI_ARGS
  base::Value capabilities{};                                       // {"portMappings": [...]}
  std::optional<std::string> netns{};                               // instead of the container's
  std::string container_id{};                                       // "": the container's name
  std::map<std::string, std::optional<std::string>> environment{};  // what differs: set, or taken away
};

struct Run {
  std::string plugin;
  Outcome outcome;
};

class Runtime {
 public:
  Runtime(const CniHost& host, Implementation implementation) : host_(host), implementation_(implementation) {}

  // Each: what was run, in order; the last one failed or all went well.
  Result<std::vector<Run>> add(const Network& network, const Attachment& attachment);
  Result<std::vector<Run>> check(const Network& network, const Attachment& attachment);
  Result<std::vector<Run>> del(const Network& network, const Attachment& attachment);
  // Nobody lives on in the network.
  Result<std::vector<Run>> gc_all(const Network& network);

  // The result of the ADD; null before it.
  const base::Value& result(const Attachment& attachment) const;
  void forget(const Attachment& attachment) { results_.erase(key(attachment)); }  // as a runtime that lost its cache

  // One invocation: plugin number `index` of the network. `previous` null: no prevResult.
  Command command(const std::string& verb, const Network& network, std::size_t index, const Attachment& attachment,
                  const base::Value& previous) const;

 private:
  static std::string key(const Attachment& attachment) { return attachment.container + "/" + attachment.ifname; }
  const CniHost& host_;
  Implementation implementation_;
  std::map<std::string, base::Value> results_;
};

}  // namespace fairlead::cnitest
