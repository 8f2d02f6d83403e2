// Random: the same numbers for the same seed with every standard library (std's distributions are free to differ).
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace fairlead::tests::chaos {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  unsigned below(std::size_t limit) { return static_cast<unsigned>(engine_() % limit); }  // REQUIRES limit > 0
  bool one_in(unsigned n) { return below(n) == 0; }
  bool coin() { return below(2) == 0; }
  template <typename T>
  const T& pick(const std::vector<T>& choices) {  // REQUIRES choices not empty
    return choices[below(choices.size())];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace fairlead::tests::chaos
