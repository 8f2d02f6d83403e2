// The reference plugins and ours, told the same.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/file.h"
#include "base/strings.h"
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
    for (const base::Value* type : {&plugin["type"], &plugin["ipam"]["type"]}) {
      if (type->as_string() == nullptr) continue;
      missing = cat(folder(implementation), "/", *type->as_string());
      if (::access(missing.c_str(), X_OK) != 0) return false;
    }
  }
  return true;
}

class DifferentialTest : public testing::TestWithParam<Case> {};

TEST_P(DifferentialTest, TheReferenceAndOursDifferOnlyWhereItIsDeclared) {
  const Row& row = *GetParam().row;
  std::string missing;
  for (const auto implementation : {Implementation::Theirs, Implementation::Ours}) {
    if (!has_plugins(implementation, row, missing)) GTEST_SKIP() << missing << " is not there";
  }
  const auto theirs = tell(row, GetParam().version, Implementation::Theirs);
  ASSERT_TRUE(theirs) << theirs.error().message();
  const auto ours = tell(row, GetParam().version, Implementation::Ours);
  ASSERT_TRUE(ours) << ours.error().message();
  EXPECT_FALSE(theirs->empty());
  EXPECT_EQ(to_string(verdict(row, *theirs, *ours)), "") << "theirs:\n"
                                                         << to_string(*theirs) << "\nours:\n"
                                                         << to_string(*ours);
}

INSTANTIATE_TEST_SUITE_P(Table, DifferentialTest, testing::ValuesIn(cases()),
                         [](const auto& c) { return name_of(c.param); });

TEST(DifferenceTest, EveryDeclarationIsUsed) {
  std::set<std::string> used;
  for (const Row& row : rows()) used.insert(row.differences.begin(), row.differences.end());
  for (const Difference& difference : declared_differences())
    EXPECT_TRUE(used.contains(difference.id)) << difference.id;
}

TEST(DifferenceTest, AnUndeclaredDifferenceAndADeclarationThatDoesNotOccurAreFaults) {
  const Row row{.name = "R", .plugins = "[]", .differences = {}};
  EXPECT_EQ(verdict(row, {"1 same", "1 b"}, {"1 c", "1 same"}), (Lines{"only theirs: 1 b", "only ours:   1 c"}));
  Row declares = row;
  declares.differences = {declared_differences().front().id};
  EXPECT_EQ(verdict(declares, {"1 same"}, {"1 same"}).size(), 1U);
}

std::string document() {
  std::string out =
      "# Where our CNI plugins differ from the reference plugins\n\n"
      "Written by `cni_differential_tests` from tests/cni/differences.cc (`FAIRLEAD_WRITE_DOCS=1` writes it anew). The "
      "table in\ntests/cni/rows*.cc is told to both; everything else in it is the same.\n\n"
      "| difference | why | seen in |\n|---|---|---|\n";
  for (const Difference& difference : declared_differences()) {
    std::vector<std::string> where;
    for (const Row& row : rows()) {
      if (std::find(row.differences.begin(), row.differences.end(), difference.id) != row.differences.end())
        where.push_back(row.name);
    }
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
