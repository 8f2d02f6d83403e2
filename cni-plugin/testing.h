// For the tests beside: a folder that goes, and a plugin whose doings are written down.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cni-plugin/dispatch.h"
#include "cni-plugin/fields.h"

namespace fairlead::cni::testing {

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/fairlead-cni-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return base::cat(path_, "/", name); }

 private:
  std::string path_;
};

// What the plugin "fake" was asked, and what it is to answer. One at a time.
struct Fake {
  std::vector<std::string> asked;  // "add c1 eth0 /netns MARK": MARK is the configuration's
  std::optional<Error> add_error, del_error, check_error, status_error, gc_error;
  NetResult result{{}, {{std::nullopt, *net::InterfaceAddress::parse("10.1.0.5/24"), std::nullopt}}, {}, {}};
  std::vector<Call> calls;

  inline static Fake* now = nullptr;
  Fake() { now = this; }
  ~Fake() { now = nullptr; }
  Fake(const Fake&) = delete;
  Fake& operator=(const Fake&) = delete;

  Status note(std::string_view verb, const Call& call, const std::optional<Error>& error) {
    const std::string* mark = call.config["mark"].as_string();
    asked.push_back(
        std::string(base::trim(base::cat(verb, " ", call.attachment.container_id, " ", call.attachment.ifname, " ",
                                         call.netns, " ", mark != nullptr ? *mark : ""))));
    calls.push_back(call);
    if (error) return *error;
    return {};
  }

  static Plugin plugin(std::string_view oldest_version = kVersions[0]) {
    Plugin fake;
    fake.name = "fake";
    fake.oldest_version = oldest_version;
    fake.about = "is asked";
    fake.add = [](const Call& call, const World&) -> Result<NetResult> {
      TRY(now->note("add", call, now->add_error));
      return now->result;
    };
    fake.del = [](const Call& call, const World&) { return now->note("del", call, now->del_error); };
    fake.check = [](const Call& call, const World&) { return now->note("check", call, now->check_error); };
    fake.status = [](const Call& call, const World&) { return now->note("status", call, now->status_error); };
    fake.gc = [](const Call& call, const World&) { return now->note("gc", call, now->gc_error); };
    return fake;
  }
};

inline Environment variables(std::string_view command, std::string_view container = "c1",
                             std::string_view netns = "/none") {
  Environment out{{"CNI_COMMAND", std::string(command)}, {"CNI_IFNAME", "eth0"}, {"CNI_PATH", "/opt/cni/bin"}};
  if (!container.empty()) out["CNI_CONTAINERID"] = container;
  if (!netns.empty()) out["CNI_NETNS"] = netns;
  return out;
}

inline Answer ask(const Plugin& plugin, const Environment& environment, std::string_view config, const World& world) {
  return dispatch(
      plugin, environment, [config]() -> Result<std::string> { return std::string(config); }, world);
}

inline base::Value json(std::string_view text) {
  auto value = base::parse_json(text);
  EXPECT_TRUE(value) << text;
  return value ? *std::move(value) : base::Value();
}

}  // namespace fairlead::cni::testing
