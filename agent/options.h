// options: the command line and the configuration file, checked. Fairlead's own flags, and kube-proxy's with its rules:
// with --config every setting of kube-proxy comes from that file, but for those of logging, --hostname-override and
// --master.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/kube_proxy_config.h"
#include "agent/kube_proxy_effect.h"
#include "agent/listen.h"
#include "agent/pod_network.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/dataplane/dataplane.h"
#include "proxy/model/node.h"

namespace fairlead::agent {

enum class Command : std::uint8_t { Run, InitOnly, Cleanup, Probe, Version, WriteConfig };

struct Options {
  Command command = Command::Run;
  std::string write_config_to;  // with Command::WriteConfig: a file

  std::string manifests;   // a directory; else an API server:
  std::string kubeconfig;  // a file
  std::string master;      // overrides the server's URL; in-cluster identity when all three are empty

  std::string config_file;            // --config; empty: flags alone
  KubeProxyConfiguration kube_proxy;  // in force: complete and checked
  proxy::model::Config model;         // what it means, with the next three
  base::Duration health_timeout = std::chrono::seconds(60);
  std::vector<Note> notes;           // for the log
  bool tune_conntrack = false;       // the node's conntrack settings are ours to write
  std::optional<int> oom_score_adj;  // nullopt: left alone

  std::string node_name;
  std::string dataplane = "auto";
  proxy::dataplane::Options dataplane_options;
  base::Duration resync_period = std::chrono::minutes(15);
  // Besides UDP: TCP and SCTP connections that nobody answered, to endpoints that do not serve any more.
  bool conntrack_clean_half_open = false;

  // Remove what a kube-proxy left: with Command::Cleanup, or once our first complete state is in place.
  bool clean_kube_proxy = false;

  std::string state_dir = "/run/fairlead";
  std::string status_socket;      // <state_dir>/agent.sock
  std::optional<Listen> metrics;  // nullopt: off
  std::optional<Listen> healthz;

  PodNetworkOptions pod_network;  // conf_dir empty: pods are wired by somebody else

  base::log::Level log_level = base::log::Level::Info;
  base::log::Format log_format = base::log::Format::Text;
};

// What the defaults depend on.
struct Surroundings {
  std::string node_name_variable;  // $NODE_NAME
  std::string hostname;
  NodeFamilies families = NodeFamilies::Both;
  std::function<std::string()> default_cgroup;
  std::function<Result<std::string>(const std::string& path)> read_file;  // the Error names the path
  std::string cni_binary = "fairlead-cni";
};

// Stop here: print `text` (stdout when exit_code is 0, else stderr) and exit.
struct Stop {
  int exit_code = 0;
  std::string text;
};

// `arguments` without the program's name. Wrong usage stops with 2, a wrong configuration file with 1.
std::variant<Options, Stop> parse_options(const std::vector<std::string>& arguments, const Surroundings& surroundings);

// For /configz: the configuration in force as {"kubeproxy.config.k8s.io": {...}}.
std::string configz_json(const Options& options);

}  // namespace fairlead::agent
