// Containerd: a containerd of this machine, told what to do through the Container Runtime Interface as a kubelet does,
// or through `ctr`. It reads /etc/cni/net.d and runs the plugins of /opt/cni/bin.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cri.pb.h"
#include "tests/datapath/process.h"

namespace fairlead::tests::runtimes {

class Containerd {
 public:
  // With kImage imported, and after the runtime has reported its network ready.
  static Result<Containerd> start();

  Result<std::string> run_pod(const cri::PodConfig& config) const;              // RunPodSandbox; its id
  Result<std::vector<std::string>> addresses_of(const std::string& pod) const;  // PodSandboxStatus
  Result<std::string> run_container(const std::string& pod, const cri::PodConfig& config) const;  // of kImage; its id
  Result<std::string> exec(const std::string& container, const std::vector<std::string>& command) const;  // its stdout
  Status stop_pod(const std::string& pod) const;
  Status remove_pod(const std::string& pod) const;

  Result<std::string> ctr(const std::vector<std::string>& arguments) const;  // its stdout
  std::string log() const { return daemon_.log(); }

 private:
  explicit Containerd(testbed::Process daemon) : daemon_(std::move(daemon)) {}
  template <typename Answer, typename Request>
  Result<Answer> call(std::string_view method, const Request& request) const;
  Status wait_until_ready() const;

  testbed::Process daemon_;
};

}  // namespace fairlead::tests::runtimes
