// The reference plugins and ours, told the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "base/strings.h"
#include "tests/cni/firewalld.h"
#include "tests/cni/row.h"

namespace fairlead::cnitest {
namespace {

using base::cat;

struct Case {
  const Row* row;
  std::string version;
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << *c.row << " " << c.version; }

std::string name_of(const Case& c) {
  std::string name = c.row->name;
  if (c.row->versions.size() > 1) {
    name += "_";
    for (const char digit : c.version) name += digit == '.' ? '_' : digit;
  }
  return name;
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const Row& row : rows()) {
    for (const std::string& version : row.versions) out.push_back({&row, version});
  }
  return out;
}

bool has_plugins(Implementation implementation, const Row& row, std::string& missing) {
  const auto plugins = base::parse_json(row.plugins);
  for (const base::Value& plugin : *plugins->as_array()) {
    missing = cat(folder(implementation), "/", *plugin["type"].as_string());
    if (::access(missing.c_str(), X_OK) != 0) return false;
  }
  return true;
}

std::vector<Difference> declared(const std::string& row, const std::string& version) {
  std::vector<Difference> out;
  for (const Difference& difference : declared_differences()) {
    if (declared_for(difference, row, version)) out.push_back(difference);
  }
  return out;
}

class DifferentialTest : public testing::TestWithParam<Case> {};

TEST_P(DifferentialTest, TheReferenceAndOursDifferOnlyWhereItIsDeclared) {
  const Row& row = *GetParam().row;
  std::string missing;
  for (const auto implementation : {Implementation::Theirs, Implementation::Ours}) {
    if (!has_plugins(implementation, row, missing)) GTEST_SKIP() << missing << " is not there";
  }
  if (missing = row.firewalld ? Firewalld::missing() : ""; !missing.empty())
    GTEST_SKIP() << missing << " is not installed (CI=true ./dev test does that)";
  const auto theirs = tell(row, GetParam().version, Implementation::Theirs);
  ASSERT_TRUE(theirs) << theirs.error().message();
  const auto ours = tell(row, GetParam().version, Implementation::Ours);
  ASSERT_TRUE(ours) << ours.error().message();
  EXPECT_FALSE(theirs->lines.empty());
  EXPECT_EQ(to_string(verdict(declared(row.name, GetParam().version), theirs->lines, ours->lines)), "")
      << "theirs:\n"
      << to_string(theirs->lines) << "\n"
      << to_string(theirs->messages) << "\nours:\n"
      << to_string(ours->lines) << "\n"
      << to_string(ours->messages);
}

INSTANTIATE_TEST_SUITE_P(Table, DifferentialTest, testing::ValuesIn(cases()),
                         [](const auto& c) { return name_of(c.param); });

TEST(DifferenceTest, EveryDeclarationNamesRowsOfTheTable) {
  const std::vector<Case> all = cases();
  for (const Difference& difference : declared_differences()) {
    EXPECT_FALSE(difference.rows.empty()) << difference.id;
    for (const std::string_view name : base::split(difference.rows, ',')) {
      Difference one = difference;
      one.rows = name;
      EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const Case& c) {
        return declared_for(one, c.row->name, c.version);
      })) << difference.id << ": " << name;
    }
  }
}

TEST(DifferenceTest, AnUndeclaredDifferenceAndADeclarationThatDoesNotOccurAreFaults) {
  const Difference known{.id = "d", .reason = "", .theirs = {"* b*"}, .ours = {"* c"}, .rows = "R"};
  EXPECT_EQ(verdict({}, {"1 same", "1 b"}, {"1 c", "1 same"}), (Lines{"only theirs: 1 b", "only ours:   1 c"}));
  EXPECT_EQ(verdict({known}, {"1 same", "1 b"}, {"1 c", "1 same"}), Lines());
  EXPECT_EQ(verdict({known}, {"1 same"}, {"1 same"}), (Lines{"the declared difference d does not occur"}));
}

std::string document() {
  std::string out =
      "# Where our CNI plugins differ from the reference plugins\n\n"
      "Written by `cni_differential_tests` from tests/cni/differences.cc (`FAIRLEAD_WRITE_DOCS=1` writes it anew). The "
      "table in\ntests/cni/rows*.cc is told to both; everything else in it is the same.\n\n"
      "| difference | why | seen in |\n|---|---|---|\n";
  for (const Difference& difference : declared_differences()) {
    std::vector<std::string> where;
    for (const std::string_view name : base::split(difference.rows, ',')) where.emplace_back(base::trim(name));
    if (where.size() > 3) where = {where[0], where[1], cat("and ", where.size() - 2, " more")};
    out += cat("| ", difference.id, " | ", difference.reason, " | ", base::join(where, ", "), " |\n");
  }
  return out;
}

TEST(DifferenceTest, TheDocumentIsTheTable) {
  const std::string path = cat(FAIRLEAD_DOCS_DIR, "/cni-differences.md");
  if (std::getenv("FAIRLEAD_WRITE_DOCS") != nullptr) {
    ASSERT_TRUE(base::write_file_atomically(path, document()));
  }
  const auto text = base::read_file(path);
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_EQ(*text, document()) << "FAIRLEAD_WRITE_DOCS=1 writes it anew";
}

}  // namespace
}  // namespace fairlead::cnitest
