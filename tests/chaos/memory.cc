#include "tests/chaos/memory.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::tests::chaos {
namespace {

constexpr std::size_t kFewest = 60;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <typename Field>
double median_of(const std::vector<MemorySample>& samples, std::size_t from, std::size_t to, Field field) {
  std::vector<double> values;
  for (std::size_t i = from; i < to; ++i) values.push_back(samples[i].*field);
  return median(std::move(values));
}

}  // namespace

std::optional<MemorySample> sample_process(pid_t pid, double seconds) {
  const auto status = base::read_file(base::cat("/proc/", pid, "/status"));
  if (!status) return std::nullopt;
  MemorySample sample{.seconds = seconds};
  for (const std::string_view line : base::split(*status, '\n')) {
    if (!line.starts_with("VmRSS:")) continue;
    const std::string_view number = base::trim(line.substr(6, line.size() - 6 - 3));
    sample.rss_mb = static_cast<double>(base::parse_number<std::uint64_t>(number).value_or(0)) * 1024 / 1e6;
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(base::cat("/proc/", pid, "/fd"), ignored)) {
    (void)entry;
    ++sample.descriptors;
  }
  return sample.rss_mb > 0 ? std::optional(sample) : std::nullopt;
}

std::optional<Growth> growth(const std::vector<MemorySample>& all) {
  if (all.size() < kFewest) return std::nullopt;
  const std::vector<MemorySample> samples(all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
  const std::size_t third = samples.size() / 3;
  Growth out;
  out.from_mb = median_of(samples, 0, third, &MemorySample::rss_mb);
  out.to_mb = median_of(samples, samples.size() - third, samples.size(), &MemorySample::rss_mb);
  out.descriptors = median_of(samples, samples.size() - third, samples.size(), &MemorySample::descriptors) -
                    median_of(samples, 0, third, &MemorySample::descriptors);
  double mean_x = 0;
  double mean_y = 0;
  for (const MemorySample& sample : samples) {
    mean_x += sample.seconds / static_cast<double>(samples.size());
    mean_y += sample.rss_mb / static_cast<double>(samples.size());
  }
  double xy = 0;
  double xx = 0;
  for (const MemorySample& sample : samples) {
    xy += (sample.seconds - mean_x) * (sample.rss_mb - mean_y);
    xx += (sample.seconds - mean_x) * (sample.seconds - mean_x);
  }
  out.mb_per_minute = xx > 0 ? xy / xx * 60 : 0;
  return out;
}

}  // namespace fairlead::tests::chaos
