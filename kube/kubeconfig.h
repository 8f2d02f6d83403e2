// kubeconfig: who we are to which API server, from a kubeconfig file or from the pod we run in.
//
// Pure but for reading the files. Every error names file, line, field and value (never a secret's value) and what is
// allowed. Fields that would change who we are and that are not supported (exec, auth-provider, as, username) are
// errors; unknown ones are ignored, as client-go does.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kube/client_config.h"

namespace fairlead::kube {

struct KubeconfigOptions {
  std::string context;  // empty: current-context
  std::string server;   // --master: overrides the cluster's server
};

Result<ClientConfig> load_kubeconfig(const std::string& path, const KubeconfigOptions& options = {});
// `path` names the file in errors; relative paths in it are relative to its folder.
Result<ClientConfig> parse_kubeconfig(std::string_view text, const std::string& path,
                                      const KubeconfigOptions& options = {});

// What a pod finds out about itself; injected by tests.
struct PodEnvironment {
  std::string directory = "/var/run/secrets/kubernetes.io/serviceaccount";
  std::function<std::optional<std::string>(const char* name)> variable;  // empty: getenv
};
Result<ClientConfig> in_cluster_config(const PodEnvironment& environment = {});

}  // namespace fairlead::kube
