// Backoff: exponential delays with jitter, as client-go's reflector has them (k8s.io/client-go
// tools/cache/reflector.go). Pure but for the injected clock and random source.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>

#include "base/clock.h"

namespace fairlead::kube {

struct BackoffOptions {
  base::Duration first = std::chrono::milliseconds(800);
  base::Duration cap = std::chrono::seconds(30);
  double factor = 2;
  double jitter = 1;                                     // a delay d becomes d to d * (1 + jitter)
  base::Duration reset_after = std::chrono::minutes(2);  // without a failure
};

class Backoff {
 public:
  // `random` yields numbers in [0, 1).
  Backoff(BackoffOptions options, const base::Clock& clock, std::function<double()> random)
      : options_(options), clock_(clock), random_(std::move(random)), delay_(options.first) {}

  base::Duration next() {
    const base::Instant now = clock_.now();
    // Quiet time counts from the end of the last wait, or a wait longer than reset_after would reset itself.
    if (last_end_ && now - *last_end_ > options_.reset_after) delay_ = options_.first;
    const auto jittered = delay_ + scaled(delay_, options_.jitter * random_());
    delay_ = std::min(options_.cap, scaled(delay_, options_.factor));
    last_end_ = now + jittered;
    return jittered;
  }

 private:
  static base::Duration scaled(base::Duration duration, double by) {
    return base::Duration(static_cast<base::Duration::rep>(static_cast<double>(duration.count()) * by));
  }

  BackoffOptions options_;
  const base::Clock& clock_;
  std::function<double()> random_;
  base::Duration delay_;
  std::optional<base::Instant> last_end_;
};

}  // namespace fairlead::kube
