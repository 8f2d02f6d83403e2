// One HTTP request from inside a place, not waiting longer than a second or so.
#pragma once

#include <string>

#include "base/result.h"
#include "tests/datapath/testbed.h"

namespace fairlead::testbed {

struct HttpAnswer {
  unsigned status = 0;
  std::string text;  // all of it, head and body
};
// An Error when nothing answers.
Result<HttpAnswer> http_get_at(const Place& from, const Target& to, const std::string& path);

}  // namespace fairlead::testbed
