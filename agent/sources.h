// Source: whichever the options name, a directory of manifests or an API server, feeding one Sink. Loop thread.
#pragma once

#include <memory>

#include "agent/failure_log.h"
#include "agent/options.h"
#include "agent/status.h"
#include "base/clock.h"
#include "base/loop.h"
#include "kube/api_source.h"
#include "kube/http.h"
#include "kube/manifests.h"
#include "kube/source.h"

namespace fairlead::agent {

// Where copies of good manifests are kept for the next start.
std::string last_good_root(const std::string& state_dir);

class Source {
 public:
  // An Error is a mistake in the options (no such directory, a bad kubeconfig). An API server that does not answer is
  // none: it is asked again until it does, and what is in the kernel stays.
  static Result<std::unique_ptr<Source>> open(base::Loop& loop, const base::Clock& clock, kube::Sink& sink,
                                              const Options& options);
  SourceStatus status() const;
  kube::HttpClient* http() { return http_.get(); }  // to the API server; nullptr: there is none

 private:
  explicit Source(const base::Clock& clock) : failure_log_(clock) {}
  Status open_manifests(base::Loop& loop, kube::Sink& sink, const Options& options);
  Status open_api(base::Loop& loop, const base::Clock& clock, kube::Sink& sink, const Options& options);
  bool is_connected() const;
  void note_error(const kube::ReflectorStatus& status);
  void note_progress();

  FailureLog failure_log_;
  bool failing_ = false;  // told of an error, and not yet of its end
  std::string kind_;
  std::string where_;
  std::unique_ptr<kube::ManifestSource> manifests_;
  std::unique_ptr<kube::HttpClient> http_;
  std::unique_ptr<kube::ApiSource> api_;
};

}  // namespace fairlead::agent
