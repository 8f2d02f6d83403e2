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

Result<base::Value> parse_list(const std::string& json) {
  base::Value answer = TRY(base::parse_json(json));
  if (answer.as_array() == nullptr) return Error(base::cat("answered ", answer.type_name(), ", not a list"));
  return answer;
}

std::vector<std::string> with(std::vector<std::string> command, const std::vector<std::string>& more) {
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

Result<std::string> record_of(const base::Value& item) {
  const std::string* record = item["record"].as_string();
  if (record == nullptr) return Error("answered with an item without a \"record\"");
  return *record;
}

}  // namespace

std::vector<std::string> DeadTwice::see(const std::vector<std::string>& dead) {
  std::set<std::string> now(dead.begin(), dead.end());
  std::vector<std::string> twice;
  std::set_intersection(now.begin(), now.end(), seen_.begin(), seen_.end(), std::back_inserter(twice));
  seen_ = std::move(now);
  return twice;
}

Result<std::vector<std::string>> parse_sweep(const std::string& json) {
  const base::Value answer = TRY(parse_list(json));
  std::vector<std::string> names;
  for (const base::Value& each : *answer.as_array()) names.push_back(TRY(record_of(each)));
  return names;
}

Result<Released> parse_release(const std::string& json) {
  const base::Value answer = TRY(parse_list(json));
  Released out;
  for (const base::Value& each : *answer.as_array()) {
    std::string record = TRY(record_of(each));
    const bool* released = each["released"].as_bool();
    const std::string* error = each["error"].as_string();
    if (released != nullptr && *released) {
      out.records.push_back(std::move(record));
    } else {
      out.errors.push_back(base::cat(record, ": ", error == nullptr ? "not released" : *error));
    }
  }
  return out;
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
  stopping_ = true;
  loop_->stop();
  if (thread_.joinable()) thread_.join();
  timer_.reset();
}

Status CniSweeper::sweep() {
  const std::string what = setup_.command.front() + " sweep";
  const base::ProcessOutput answer = TRY(base::run_process(with(setup_.command, {"sweep"}), {}, kSweepLimit));
  // What it could not judge is on stderr, and stays: an operator has to know.
  if (answer.err != std::exchange(complaint_, answer.err) && !answer.err.empty()) {
    setup_.failed(Error(base::cat(what, ": ", base::trim(answer.err))));
  }
  if (answer.exit_code != 0) return Error(base::cat(what, ": exit ", answer.exit_code));
  std::vector<std::string> dead = dead_.see(TRY_CONTEXT(parse_sweep(answer.out), what));
  for (std::size_t at = 0; at < dead.size() && !stopping_; at += kAtOnce) {
    const std::size_t end = std::min(dead.size(), at + kAtOnce);
    std::vector<std::string> argv = with(setup_.command, {"release"});
    argv.insert(argv.end(), dead.begin() + static_cast<std::ptrdiff_t>(at),
                dead.begin() + static_cast<std::ptrdiff_t>(end));
    const base::ProcessOutput output = TRY(base::run_process(argv, {}, kSweepLimit));  // exit 1: some stay
    setup_.released(
        TRY_CONTEXT(parse_release(output.out), base::cat(setup_.command.front(), " release: ", output.err)));
  }
  return {};
}

}  // namespace fairlead::agent
