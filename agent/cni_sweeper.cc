#include "agent/cni_sweeper.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "base/subprocess.h"

namespace fairlead::agent {
namespace {

constexpr std::chrono::seconds kSweepLimit{30};
constexpr std::size_t kAtOnce = 100;  // records on one command line

}  // namespace

std::vector<std::string> DeadTwice::see(const std::vector<std::string>& dead) {
  std::set<std::string> now(dead.begin(), dead.end());
  std::vector<std::string> twice;
  std::set_intersection(now.begin(), now.end(), seen_.begin(), seen_.end(), std::back_inserter(twice));
  seen_ = std::move(now);
  return twice;
}

Result<std::vector<std::string>> parse_sweep(const std::string& json) {
  const base::Value answer = TRY(base::parse_json(json));
  const base::Value::Array* dead = answer["dead"].as_array();
  if (dead == nullptr) return Error(base::cat("\"dead\" is ", answer["dead"].type_name(), ", not a list"));
  std::vector<std::string> names;
  for (const base::Value& each : *dead) {
    const std::string* name = each.as_string();
    if (name == nullptr) return Error(base::cat("\"dead\" holds ", each.type_name(), ", not strings"));
    names.push_back(*name);
  }
  return names;
}

Result<std::unique_ptr<CniSweeper>> CniSweeper::start(Setup setup) {
  std::unique_ptr<CniSweeper> sweeper(new CniSweeper(std::move(setup)));
  sweeper->loop_ = TRY(base::Loop::create());
  CniSweeper* self = sweeper.get();
  sweeper->timer_ = self->loop_->every(self->setup_.period, [self] {
    if (const Status swept = self->sweep(); !swept) self->setup_.failed(swept.error());
  });
  sweeper->thread_ = std::thread([self] { self->loop_->run(); });
  return sweeper;
}

CniSweeper::~CniSweeper() {
  if (!loop_) return;
  loop_->stop();
  if (thread_.joinable()) thread_.join();
  timer_.reset();
}

Status CniSweeper::sweep() {
  const std::string answer = TRY(base::run_checked({setup_.binary, "sweep"}, {}, kSweepLimit));
  std::vector<std::string> dead = dead_.see(TRY_CONTEXT(parse_sweep(answer), setup_.binary + " sweep"));
  for (std::size_t at = 0; at < dead.size(); at += kAtOnce) {
    const std::size_t end = std::min(dead.size(), at + kAtOnce);
    std::vector<std::string> argv = {setup_.binary, "release"};
    argv.insert(argv.end(), dead.begin() + static_cast<std::ptrdiff_t>(at),
                dead.begin() + static_cast<std::ptrdiff_t>(end));
    (void)TRY(base::run_checked(argv, {}, kSweepLimit));
    setup_.released({argv.begin() + 2, argv.end()});
  }
  return {};
}

}  // namespace fairlead::agent
