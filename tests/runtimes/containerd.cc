#include "tests/runtimes/containerd.h"

#include <unistd.h>

#include <chrono>

#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "tests/runtimes/grpc.h"
#include "tests/runtimes/image.h"
#include "tests/runtimes/machine.h"

namespace fairlead::tests::runtimes {
namespace {

using base::cat;
using Clock = std::chrono::steady_clock;

constexpr char kDirectory[] = "/run/containerd-test";
constexpr char kSocket[] = "/run/containerd-test/socket";
constexpr char kArchive[] = "/run/containerd-test/image.tar";
constexpr char kSnapshotter[] = "overlayfs";
constexpr auto kPatience = std::chrono::seconds(60);

// Without cgroup limits and the kernel's out-of-memory priorities, which not every test machine grants.
std::string configuration() {
  return cat(R"(version = 2
root = ")",
             kDirectory, R"(/root"
state = ")",
             kDirectory, R"(/state"
disabled_plugins = ["io.containerd.internal.v1.tracing", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = ")",
             kSocket, R"("
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ")",
             kImage, R"("
  disable_cgroup = true
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = ")",
             kSnapshotter, R"("
)");
}

}  // namespace

template <typename Answer, typename Request>
Result<Answer> Containerd::call(std::string_view method, const Request& request) const {
  const std::string message =
      TRY(grpc_call(kSocket, cat("runtime.v1.RuntimeService/", method), request.SerializeAsString()));
  Answer answer;
  if (!answer.ParseFromString(message)) return Error(cat(method, ": the answer is no such message"));
  return answer;
}

Result<Containerd> Containerd::start() {
  TRY(base::make_directories(kDirectory));
  const std::string config = cat(kDirectory, "/config.toml");
  TRY(base::write_file_atomically(config, configuration()));
  Containerd containerd(TRY(testbed::Process::start({.argv = {"containerd", "--config", config},
                                                     .netns = {},
                                                     .cgroup = {},
                                                     .log = cat(kDirectory, "/log"),
                                                     .pipes = testbed::Pipes::None})));
  TRY_CONTEXT(containerd.wait_until_ready(), containerd.log());
  TRY(write_image(kArchive));
  TRY(containerd.ctr({"images", "import", "--snapshotter", kSnapshotter, kArchive}));
  return containerd;
}

Status Containerd::wait_until_ready() const {
  const auto deadline = Clock::now() + kPatience;
  for (;;) {
    const auto answer = call<cri::StatusResponse>("Status", cri::StatusRequest());
    bool ready = answer.has_value();
    if (answer) {
      for (const cri::RuntimeCondition& condition : answer->status().conditions()) ready = ready && condition.status();
    }
    if (ready) return {};
    if (Clock::now() > deadline) return Error(answer ? "NetworkReady stays false" : answer.error().message());
    ::usleep(20'000);
  }
}

Result<std::string> Containerd::run_pod(const cri::PodConfig& config) const {
  cri::RunPodSandboxRequest request;
  *request.mutable_config() = config;
  return TRY(call<cri::RunPodSandboxResponse>("RunPodSandbox", request)).pod_sandbox_id();
}

Result<std::vector<std::string>> Containerd::addresses_of(const std::string& pod) const {
  cri::PodRequest request;
  request.set_pod_sandbox_id(pod);
  const auto answer = TRY(call<cri::PodSandboxStatusResponse>("PodSandboxStatus", request));
  const cri::PodNetworkStatus& network = answer.status().network();
  std::vector<std::string> addresses{network.ip()};
  for (const cri::PodIp& more : network.additional_ips()) addresses.push_back(more.ip());
  return addresses;
}

Result<std::string> Containerd::run_container(const std::string& pod, const cri::PodConfig& config) const {
  cri::CreateContainerRequest create;
  create.set_pod_sandbox_id(pod);
  create.mutable_config()->mutable_metadata()->set_name("container");
  create.mutable_config()->mutable_image()->set_image(kImage);
  for (const char* word : {"sleep", "1000"}) create.mutable_config()->add_command(word);
  *create.mutable_sandbox_config() = config;
  const std::string id = TRY(call<cri::CreateContainerResponse>("CreateContainer", create)).container_id();
  cri::StartContainerRequest start;
  start.set_container_id(id);
  TRY(call<cri::Empty>("StartContainer", start));
  return id;
}

Result<std::string> Containerd::exec(const std::string& container, const std::vector<std::string>& command) const {
  cri::ExecSyncRequest request;
  request.set_container_id(container);
  request.set_timeout(20);
  for (const std::string& word : command) request.add_cmd(word);
  const auto answer = TRY(call<cri::ExecSyncResponse>("ExecSync", request));
  if (answer.exit_code() != 0)
    return Error(cat(base::join(command, " "), ": exit ", answer.exit_code(), ": ", answer.err()));
  return answer.out();
}

Status Containerd::stop_pod(const std::string& pod) const {
  cri::PodRequest request;
  request.set_pod_sandbox_id(pod);
  TRY(call<cri::Empty>("StopPodSandbox", request));
  return {};
}

Status Containerd::remove_pod(const std::string& pod) const {
  cri::PodRequest request;
  request.set_pod_sandbox_id(pod);
  TRY(call<cri::Empty>("RemovePodSandbox", request));
  return {};
}

Result<std::string> Containerd::ctr(const std::vector<std::string>& arguments) const {
  std::vector<std::string> argv{"ctr", "--address", kSocket, "--namespace", "k8s.io"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return base::run_checked(argv, {}, kPatience);
}

}  // namespace fairlead::tests::runtimes
