// options: the command line, checked. CLI11 stays inside options.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "net/ip.h"
#include "proxy/dataplane/dataplane.h"

namespace fairlead::agent {

enum class Command : std::uint8_t { Run, Cleanup, Probe, Version };

struct Listen {
  net::Ip address;
  std::uint16_t port = 0;  // 0: any free one
  bool operator==(const Listen&) const = default;
};

struct Options {
  Command command = Command::Run;

  std::string manifests;   // a directory; else an API server:
  std::string kubeconfig;  // a file
  std::string master;      // overrides the server's URL; in-cluster identity when all three are empty

  std::string node_name;
  std::string dataplane = "auto";
  proxy::dataplane::Options dataplane_options;
  base::Duration resync_period = std::chrono::minutes(15);

  // Remove what a kube-proxy left: at `cleanup`, or once our first complete state is in place.
  bool clean_kube_proxy = false;

  std::string state_dir = "/run/fairlead";
  std::string status_socket;                                                 // <state_dir>/agent.sock
  std::optional<Listen> metrics = Listen{net::Ip::v4(127, 0, 0, 1), 10249};  // nullopt: off
  std::optional<Listen> healthz = Listen{net::Ip::v4(127, 0, 0, 1), 10256};

  base::log::Level log_level = base::log::Level::Info;
  base::log::Format log_format = base::log::Format::Text;
};

// What the defaults depend on.
struct Surroundings {
  std::string node_name_variable;  // $NODE_NAME
  std::string hostname;
  std::function<std::string()> default_cgroup;
};

// Stop here: print `text` (stdout when exit_code is 0, else stderr) and exit.
struct Stop {
  int exit_code = 0;
  std::string text;
};

// `arguments` without the program's name.
std::variant<Options, Stop> parse_options(const std::vector<std::string>& arguments, const Surroundings& surroundings);

}  // namespace fairlead::agent
