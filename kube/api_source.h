// ApiSource: Services, EndpointSlices, the own Node and ServiceCIDRs of an API server -> a Sink, kept up to date.
//
// Four reflectors over one HttpClient, with kube-proxy's selectors (kubernetes v1.36 cmd/kube-proxy/app/server.go).
// Loop thread only; objects are decoded on it as their bytes arrive. Errors never end it: they are counted, kept in
// status() and told to on_error.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/loop.h"
#include "kube/http.h"
#include "kube/reflector.h"
#include "kube/source.h"

namespace fairlead::kube {

struct ApiSourceOptions {
  std::string node_name;  // whose Node is watched
  Encoding encoding = Encoding::Protobuf;
  ReflectorOptions reflector;
  StreamLimits limits;
  // A list or the initial events of a watch from which nothing comes for this long are given up; so is a watch that
  // outlives its own timeout by as much.
  base::Duration patience = std::chrono::seconds(60);
  std::function<double()> random;                        // [0, 1); empty: a generator of its own
  std::function<void()> after_batch;                     // the Sink may have changed: one call per piece received
  std::function<void(const ReflectorStatus&)> on_error;  // last_error is new
};

class ApiSource {
 public:
  ApiSource(base::Loop& loop, const base::Clock& clock, HttpClient& http, Sink& sink, ApiSourceOptions options);
  ~ApiSource();
  ApiSource(const ApiSource&) = delete;
  ApiSource& operator=(const ApiSource&) = delete;

  void start();
  std::vector<ReflectorStatus> status() const;  // in the order of Kind

 private:
  class Feed;
  std::unique_ptr<ApiSourceOptions> options_;  // the feeds refer to it
  std::vector<std::unique_ptr<Feed>> feeds_;
};

// What one reflector asks for. Exposed for tests.
struct Resource {
  std::string path;            // "/api/v1/services"
  std::string label_selector;  // on every request
  std::string field_selector;
};
Resource resource_of(Kind kind, const std::string& node_name);
std::string request_path(const Resource& resource, const ListRequest& request);
std::string request_path(const Resource& resource, const WatchRequest& request);

}  // namespace fairlead::kube
