#include "kube/yaml.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace fairlead::kube {
namespace {

using base::Value;

// All documents as one line of JSON, or "error: ...".
std::string read(std::string_view text) {
  const auto documents = parse_yaml(text);
  if (!documents) return "error: " + documents.error().message();
  std::string out;
  for (const Value& document : *documents) out += (out.empty() ? "" : " ") + base::to_json(document);
  return out;
}

TEST(Yaml, ScalarsFollowTheCoreSchema) {
  EXPECT_EQ(read("[1, -2, +3, 0x1F, 0o17, 010, 1.5, -2e3, .5, 1., true, False, ~, null, NULL, ]"),
            "[1,-2,3,31,15,10,1.5,-2000.0,0.5,1.0,true,false,null,null,null]");
  EXPECT_EQ(read("[yes, on, \"1\", 'true', 1.2.3.4, 1-2, -, 0x, 12a, inf, nan, \"~\", \"\", +, 1e, -0x1]"),
            R"(["yes","on","1","true","1.2.3.4","1-2","-","0x","12a","inf","nan","~","","+","1e","-0x1"])");
  EXPECT_EQ(read("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(read("9223372036854775808"), "9.223372036854776e+18");
  EXPECT_EQ(read("[!!str 1, !!int \"1\", !!float 2]"), "[\"1\",1,2]");
}

TEST(Yaml, BlocksFlowAndFoldedTextAreRead) {
  EXPECT_EQ(read("a:\n  - b: 1\n    c: [x, {y: z}]\n  - |\n    two\n    lines\n"),
            R"({"a":[{"b":1,"c":["x",{"y":"z"}]},"two\nlines\n"]})");
}

TEST(Yaml, AStreamHasSeveralDocumentsAndEmptyOnesAreLeftOut) {
  EXPECT_EQ(read("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n---\n"), R"({"a":1} {"b":2})");
  EXPECT_EQ(read(""), "");
  EXPECT_EQ(read("# only a comment\n"), "");
}

TEST(Yaml, ValuesKnowTheLineTheyBeginOn) {
  const auto documents = parse_yaml("a: 1\nb:\n  - x\n  - y: 2\n---\nc: 3\n");
  ASSERT_TRUE(documents);
  const Value& first = (*documents)[0];
  EXPECT_EQ(first.line, 1);
  EXPECT_EQ(first["b"].line, 3);
  EXPECT_EQ((*first["b"].as_array())[1]["y"].line, 4);
  EXPECT_EQ((*documents)[1]["c"].line, 6);
}

TEST(Yaml, AnchorsAliasesAndMergeKeysAreResolved) {
  EXPECT_EQ(read("a: &x {p: 1, q: 2}\nb: *x\nc:\n  q: 3\n  <<: *x\n"),
            R"({"a":{"p":1,"q":2},"b":{"p":1,"q":2},"c":{"q":3,"p":1}})");
  EXPECT_EQ(read("[&x {p: 1}, &y {p: 2, q: 2}, {<<: [*x, *y]}]"), R"([{"p":1},{"p":2,"q":2},{"p":1,"q":2}])");
  EXPECT_EQ(read("\"<<\": 1"), R"({"<<":1})");
  EXPECT_EQ(read("{<<: 1}"), "error: line 1: \"<<\" merges maps, not an integer");
  EXPECT_EQ(read("&x [*x]"), "error: line 1: an alias to a node that contains it");
}

TEST(Yaml, ADuplicateKeyIsAnErrorThatNamesBothLines) {
  EXPECT_EQ(read("a: 1\nb: 2\na: 3\n"), "error: line 3: key \"a\" appears twice, first in line 1");
}

TEST(Yaml, TheLastOfDuplicateKeysCountsWhereThatIsAskedFor) {
  const auto documents = parse_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n", DuplicateKeys::LastWins);
  ASSERT_TRUE(documents.has_value());
  EXPECT_EQ(base::to_json(documents->at(0)), R"({"b":{"c":2},"a":3})");
}

TEST(Yaml, BrokenTextIsAnErrorWithItsLine) {
  EXPECT_EQ(read("a: 1\nb: [1, 2\n"), "error: line 3: not YAML: end of sequence flow not found");
  EXPECT_EQ(read("a:\n\t- b\n"), "error: line 2: not YAML: illegal block entry");
  EXPECT_EQ(read("a: *nowhere"), "error: line 1: not YAML: the referenced anchor is not defined");
  EXPECT_EQ(read("{80: a, true: b}"), R"({"80":"a","true":"b"})");
  EXPECT_EQ(read("{[a]: b}"), "error: line 1: a key must be text, not a list");
  EXPECT_EQ(read("a: 1\n---\n, b\n"), "error: line 3: not YAML: nothing can begin with this");
  EXPECT_EQ(read("!!int x"), "error: line 1: \"x\" is not what its tag tag:yaml.org,2002:int says");
  EXPECT_EQ(read("!mine x"), "error: line 1: tag !mine is not known here");
}

TEST(Yaml, ASmallFileCannotBecomeABigTree) {
  std::string laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n";
  for (int i = 1; i < 10; ++i) {
    laughs += base::cat("a", i, ": &a", i, " [");
    for (int n = 0; n < 10; ++n) laughs += base::cat("*a", i - 1, n == 9 ? "]\n" : ",");
  }
  EXPECT_EQ(read(laughs), "error: line 7: the documents are too large, or their aliases expand to too much");
  EXPECT_EQ(read(std::string(200, '[') + std::string(200, ']')), "error: line 1: nested deeper than 100");

  std::string ladder = "- &a0 [x]\n";  // each step refers to the last: deep only when expanded
  for (int i = 1; i < 150; ++i) ladder += base::cat("- &a", i, " [*a", i - 1, "]\n");
  EXPECT_EQ(read(ladder), "error: line 100: nested deeper than 100");
}

}  // namespace
}  // namespace fairlead::kube
