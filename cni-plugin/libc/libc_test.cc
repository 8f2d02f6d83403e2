// fairlead-cni is compiled with the headers of one C library and linked with another (docs/adr/0023): that both mean
// the same is shown for everything it uses.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"

extern "C" {
#include "cni-plugin/libc/facts.h"
}

namespace fairlead::cni::libc {
namespace {

std::vector<std::string> archives() {
  std::vector<std::string> paths;
  for (const std::string_view path : base::split(FAIRLEAD_CNI_ARCHIVES, ':')) paths.emplace_back(path);
  return paths;
}

// What comes with the compiler and not with the C library.
bool is_compilers(std::string_view symbol) {
  for (const std::string_view prefix : {"_Z", "__cxa_", "__gxx_", "_Unwind_", "_GLOBAL_", "__dso_handle"}) {
    if (symbol.starts_with(prefix)) return true;
  }
  return symbol.starts_with("__") && (symbol.ends_with("ti3") || symbol.ends_with("di2"));  // of libgcc
}

Result<std::set<std::string>> symbols_wanted() {
  std::vector<std::string> command = archives();
  command.insert(command.begin(), {"nm", "--undefined-only", "--format=just-symbols"});
  const auto output = TRY(base::run_process(command, "", {.timeout = std::chrono::seconds(30)}));
  std::set<std::string> symbols;
  for (const std::string_view line : base::split(output.out, '\n')) {
    const bool is_head = line.empty() || line.back() == ':';
    if (!is_head && !is_compilers(line)) symbols.emplace(line);
  }
  return symbols;
}

TEST(Libc, BothLibrariesMeanTheSameByWhatTheirHeadersSay) {
  std::size_t compared = 0;
  const fairlead_libc_fact* musl = fairlead_musl_facts;
  for (const auto* glibc = fairlead_glibc_facts; glibc->name != nullptr; ++glibc, ++musl, ++compared) {
    ASSERT_STREQ(musl->name, glibc->name);
    EXPECT_EQ(musl->value, glibc->value) << glibc->name;
  }
  EXPECT_EQ(musl->name, nullptr);
  EXPECT_GT(compared, 150U);
}

TEST(Libc, NothingIsCalledWhoseStructuresNobodyLookedAt) {
  const auto text = base::read_file(FAIRLEAD_CNI_SYMBOLS);
  ASSERT_TRUE(text) << text.error().message();
  std::set<std::string, std::less<>> known;
  for (const std::string_view line : base::split(*text, '\n')) {
    for (const std::string_view name : base::split(line.substr(0, line.find('#')), ' ')) known.emplace(name);
  }
  const auto wanted = symbols_wanted();
  ASSERT_TRUE(wanted) << wanted.error().message();
  EXPECT_GT(wanted->size(), 80U);
  for (const std::string& symbol : *wanted) {
    EXPECT_TRUE(known.contains(symbol))
        << symbol << ": put what it takes and returns into cni-plugin/libc/facts.c, then its name into symbols.txt";
  }
}

}  // namespace
}  // namespace fairlead::cni::libc
