// TokenSource: the bearer token of each request. A token file is read again when its modification time changes and at
// least every minute (a service account token is rotated by replacing a symbolic link).
#pragma once

#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "kube/client_config.h"

namespace fairlead::kube {

class TokenSource {
 public:
  TokenSource(const ClientConfig& config, const base::Clock& clock, base::Duration re_read)
      : token_(config.token), file_(config.token_file), clock_(clock), re_read_(re_read) {}

  // Empty when there is none. While the file cannot be read the last token stays in use; an Error only without one.
  Result<std::string> token();

 private:
  std::string token_;
  std::string file_;
  const base::Clock& clock_;
  base::Duration re_read_;
  base::Instant read_at_{};
  std::int64_t modified_ns_ = -1;  // of the file, when it was read; -1: never read
};

}  // namespace fairlead::kube
