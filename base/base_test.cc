#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/beside.h"
#include "base/delta.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/result.h"
#include "base/strings.h"
#include "base/subprocess.h"

namespace fairlead::base {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error(cat(n, " is odd"));
  return n / 2;
}
Result<int> quarter(int n) {
  const int first = TRY(half(n));
  return TRY_CONTEXT(half(first), "second half");
}

TEST(Result, TryYieldsTheValueOrReturnsTheErrorWithItsContext) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(7).error().message(), "7 is odd");
  EXPECT_EQ(quarter(6).error().message(), "second half: 3 is odd");
}

TEST(Result, AnErrnoIsKeptBehindTheSentence) {
  const Error error = Error::from_errno("open", ENOENT).with_context("config");
  EXPECT_EQ(error.message(), "config: open: No such file or directory");
  EXPECT_EQ(error.errno_value(), ENOENT);
}

TEST(Delta, NamesWhatToWriteAndWhatToDeleteAndNothingElse) {
  const std::map<int, char> have = {{1, 'a'}, {2, 'b'}, {3, 'c'}};
  const std::map<int, char> want = {{2, 'b'}, {3, 'x'}, {4, 'd'}};
  const auto change = delta(have, want);
  EXPECT_EQ(change.deleted, std::vector<int>{1});
  EXPECT_EQ(change.upserted, (std::vector<std::pair<int, char>>{{3, 'x'}, {4, 'd'}}));
  EXPECT_TRUE(delta(want, want).empty());
}

TEST(Strings, NumbersAreReadWholeOrNotAtAll) {
  EXPECT_EQ(parse_number<int>("42"), 42);
  EXPECT_EQ(parse_number<int>("42 "), std::nullopt);
  EXPECT_EQ(parse_number<int>(""), std::nullopt);
  EXPECT_EQ(parse_number<unsigned short>("65536"), std::nullopt);
}

TEST(Strings, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), std::vector<std::string_view>{""});
}

TEST(Json, ValuesKnowTheLineTheyBeginOn) {
  const auto value = parse_json("{\n \"a\": [1,\n  true],\n \"b\": null\n}");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->line, 1);
  EXPECT_EQ((*value)["a"].line, 2);
  EXPECT_EQ((*(*value)["a"].as_array())[1].line, 3);
  EXPECT_EQ((*parse_json("{\"n\":\n1\n}"))["n"].line, 2);  // a number ends where the next line begins
}

TEST(Json, WritesWhatItRead) {
  constexpr std::string_view kText = R"({"z":[1,-2,2.5,"\u00e4\n",{}],"a":{"b":null,"c":false}})";
  const auto value = parse_json(kText);
  ASSERT_TRUE(value);
  EXPECT_EQ(*parse_json(to_json(*value)), *value);
  EXPECT_EQ(to_json(*value).substr(0, 5), "{\"z\":");
}

TEST(Json, RefusesTextThatIsNotJson) {
  const std::string deep(200, '[');
  for (const std::string& text : {std::string(), std::string("{"), std::string("{\"a\":1,}"), std::string("[1] 2"),
                                  std::string("{\"a\":1,\"a\":2}"), deep}) {
    EXPECT_FALSE(parse_json(text)) << text;
  }
}

TEST(File, AnAtomicWriteReplacesTheWholeFile) {
  char directory[] = "/tmp/fairlead-base-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string path = cat(std::string_view(directory), "/file");
  ASSERT_TRUE(write_file_atomically(path, "first, and longer"));
  ASSERT_TRUE(write_file_atomically(path, "second"));
  EXPECT_EQ(*read_file(path), "second");
  EXPECT_EQ(read_file(path, 3).error().errno_value(), EFBIG);
  ::unlink(path.c_str());
  ::rmdir(directory);
  EXPECT_EQ(read_file(path).error().errno_value(), ENOENT);
}

// Says in its first descriptor whether the second one is open, and the bytes it was given.
void tell(const Errand& errand) {
  const char open = ::lseek(errand.descriptors[0] + 1, 0, SEEK_CUR) < 0 ? 'n' : 'y';
  (void)!::write(errand.descriptors[0], &open, 1);
  (void)!::write(errand.descriptors[0], errand.bytes.data(), errand.size);
}

TEST(StartBeside, RunsTheErrandWithNoOtherDescriptorThanTheNamedOnes) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  const Fd other(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(other.get(), to.get() + 1);
  Errand errand{.descriptors = {to.get(), -1}};
  errand.size = std::string("hello").copy(errand.bytes.data(), errand.bytes.size());
  ASSERT_TRUE(start_beside(tell, errand));
  errand.bytes.fill('x');
  to.reset();
  std::string heard;
  char c = 0;
  while (::read(from.get(), &c, 1) == 1) heard += c;
  EXPECT_EQ(heard, "nhello");
  int status = 1;
  EXPECT_GT(::wait(&status), 0);
  EXPECT_EQ(status, 0);
}

TEST(Subprocess, FeedsInputAndCollectsBothOutputs) {
  const auto output = run_process({"sh", "-c", "cat; echo oops >&2; exit 3"}, "in");
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->out, "in");
  EXPECT_EQ(output->err, "oops\n");
  EXPECT_EQ(output->exit_code, 3);
}

TEST(Subprocess, KillsWhatOverruns) {
  const auto output = run_process({"sleep", "60"}, {}, std::chrono::milliseconds(20));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().errno_value(), ETIMEDOUT);
  EXPECT_FALSE(run_process({"/no/such/program"}));
}

}  // namespace
}  // namespace fairlead::base
