// What a KubeProxyConfiguration means to Fairlead (docs/adr/0014-kube-proxy-configuration.md). Pure.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "agent/kube_proxy_config.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "proxy/model/node.h"

namespace fairlead::agent {

// For the log, once it has a level and a format.
struct Note {
  base::log::Level level = base::log::Level::Info;
  std::string text;
  bool operator==(const Note&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Note& note);

struct Effect {
  std::string dataplane = "auto";  // what `mode` asks for
  proxy::model::Config model;
  std::uint32_t masquerade_mark = 1U << 14;
  base::Duration health_timeout = std::chrono::seconds(60);
  std::vector<Note> notes;  // what differs from kube-proxy, and what has no effect
};

enum class NodeFamilies : std::uint8_t { Ipv4Only, Both };  // what the node's kernel offers

// `configuration` is complete() and was check()ed. The Error begins with a field's path.
Result<Effect> effect_of(const KubeProxyConfiguration& configuration, NodeFamilies families);

}  // namespace fairlead::agent
