// The real kernel behind the seam, in a namespace of its own; and the fake one held against it.
#include "net/nft/netlink.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "net/nft/fake.h"

namespace fairlead::net::nft {
namespace {

const TableId kTable{Family::V4, "t"};
const Set kMap{.name = "m", .kind = Set::Kind::Map, .key = {DataType::Mark}, .data = {DataType::Ipv4}};
const Set kVerdicts{.name = "v", .kind = Set::Kind::VerdictMap, .key = {DataType::Mark}, .data = {}};
const Set kDynamic{
    .name = "d", .kind = Set::Kind::Map, .key = {DataType::Mark}, .data = {DataType::Mark}, .dynamic_size = 100};

Element element(std::uint32_t key, std::uint8_t value) {
  Element e;
  for (std::size_t i = 0; i < 4; ++i) e.key[i] = static_cast<std::uint8_t>(key >> 8 * i);
  e.key_size = 4;
  e.data[0] = value;
  e.data_size = 4;
  return e;
}

Element key_only(std::uint32_t key) {
  Element e = element(key, 0);
  e.data_size = 0;
  return e;
}

Batch table_with(std::vector<Element> elements) {
  return {AddTable{kTable, "test"}, AddSet{kTable, kMap}, AddElements{kTable, "m", std::move(elements)}};
}

// Sockets keep the namespace they were made in, and a namespace of one thread goes with its last socket.
class NetlinkKernel : public testing::Test {
 protected:
  void SetUp() override {
    std::thread([this] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
      for (auto* kernel : {&kernel_, &other_}) {
        auto opened = open_netlink();
        ASSERT_TRUE(opened) << opened.error().message();
        *kernel = std::move(*opened);
      }
    }).join();
    ASSERT_NE(other_, nullptr);
  }
  static std::set<Element> elements(Kernel& kernel) {
    std::set<Element> all;
    EXPECT_TRUE(kernel.dump_elements(kTable, "m", [&](const Element& e) { all.insert(e); }));
    return all;
  }
  std::unique_ptr<Kernel> kernel_;
  std::unique_ptr<Kernel> other_;  // somebody else in the same namespace
};

TEST_F(NetlinkKernel, ATableReadsBackAsWritten) {
  const Chain base{.name = "base", .base = BaseChain{ChainType::Nat, Hook::Prerouting, -100}};
  Batch batch = table_with({element(1, 1)});
  batch.push_back(AddSet{kTable, kVerdicts});
  batch.push_back(AddChain{kTable, {"plain", {}}});
  batch.push_back(AddChain{kTable, base});
  batch.push_back(AddRule{kTable, {"base", "a rule", {expr::Verdict{expr::Then::Goto, "plain"}}}});
  batch.push_back(AddRule{kTable, {"base", "before", {expr::Verdict{expr::Then::Jump, "plain"}}}, true});
  batch.push_back(AddVerdicts{kTable, "v", {{1, "plain"}, {2, ""}, {3, "plain", true}}});
  ASSERT_FALSE(kernel_->commit(batch));
  const auto dump = kernel_->dump(kTable);
  ASSERT_TRUE(dump && *dump);
  EXPECT_EQ(**dump, (TableDump{.comment = "test",
                               .chains = {{"plain", {}}, base},
                               .rules = {{"base", "before"}, {"base", "a rule"}},
                               .sets = {kMap, kVerdicts}}));
  std::set<VerdictElement> verdicts;
  ASSERT_TRUE(kernel_->dump_verdicts(kTable, "v", [&](const VerdictElement& e) { verdicts.insert(e); }));
  EXPECT_EQ(verdicts, (std::set<VerdictElement>{{1, "plain"}, {2, ""}, {3, "plain", true}}));
  EXPECT_EQ(kernel_->dump({Family::V6, "t"}).value(), std::nullopt);
}

TEST_F(NetlinkKernel, ARefusalNamesTheElementAmongThousands) {
  ASSERT_FALSE(kernel_->commit(table_with({element(7777, 1)})));
  std::vector<Element> many;
  for (std::uint32_t i = 0; i < 10000; ++i) many.push_back(element(i, 2));
  const auto refusal = kernel_->commit({DeleteElements{kTable, "m", {}}, AddElements{kTable, "m", many}});
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->error.errno_value(), EEXIST);
  EXPECT_EQ(refusal->error.message(), "add elements to ip t m: File exists");
  EXPECT_EQ(refusal->command, 1U);
  EXPECT_EQ(refusal->element, 7777U);
  EXPECT_EQ(elements(*kernel_), std::set<Element>{element(7777, 1)});
}

TEST_F(NetlinkKernel, AFloodOfErrorsStillNamesTheFirst) {
  const Batch batch(20000, DeleteElements{kTable, "m", {key_only(1)}});
  const auto refusal = kernel_->commit(batch);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->error.errno_value(), ENOENT);
  EXPECT_EQ(refusal->command, 0U);
  ASSERT_FALSE(kernel_->commit(table_with({element(1, 1)})));  // and the connection still works
}

TEST_F(NetlinkKernel, ACheckLeavesNothing) {
  EXPECT_FALSE(kernel_->check(table_with({element(1, 1)})));
  EXPECT_EQ(kernel_->dump(kTable).value(), std::nullopt);
  EXPECT_EQ(kernel_->check({DeleteTable{kTable}})->error.errno_value(), ENOENT);
}

TEST_F(NetlinkKernel, ElementsAreFoundByKeyOrMissed) {
  std::vector<Element> many;
  std::vector<Element> keys;
  for (std::uint32_t i = 0; i < 3000; ++i) {
    many.push_back(element(i, 2));
    keys.push_back(key_only(i));
  }
  ASSERT_FALSE(kernel_->commit(table_with(many)));
  std::set<Element> found;
  ASSERT_TRUE(kernel_->find_elements(kTable, "m", keys, [&](const Element& e) { found.insert(e); }));
  EXPECT_EQ(found, std::set<Element>(many.begin(), many.end()));
  EXPECT_EQ(elements(*kernel_), found);
  const Status missing = kernel_->find_elements(kTable, "m", {key_only(1), key_only(9999)}, [](const Element&) {});
  EXPECT_EQ(missing.error().errno_value(), ENOENT);
}

TEST_F(NetlinkKernel, OnlyOthersChangesAreHeardOf) {
  ASSERT_FALSE(kernel_->commit(table_with({element(1, 1)})));
  EXPECT_TRUE(kernel_->read_notifications().tables.empty());
  EXPECT_EQ(other_->read_notifications().tables, std::set<TableId>{kTable});
  ASSERT_FALSE(other_->commit({DeleteElements{kTable, "m", {key_only(1)}}, AddTable{{Family::V6, "x"}, ""}}));
  const ForeignChanges heard = kernel_->read_notifications();
  EXPECT_EQ(heard.tables, (std::set<TableId>{kTable, {Family::V6, "x"}}));
  EXPECT_FALSE(heard.lost);
}

// Nobody listens to a large transaction; what another one does meanwhile must be told all the same.
TEST_F(NetlinkKernel, AChangeDuringALargeCommitIsToldOrTakenForLost) {
  std::vector<Element> many;
  for (std::uint32_t i = 0; i < 4000; ++i) many.push_back(element(i, 2));
  ASSERT_FALSE(kernel_->commit(table_with({})));
  bool lost = false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!lost && std::chrono::steady_clock::now() < deadline) {
    std::atomic<bool> done = false;
    std::thread writer([&] {
      const TableId theirs{Family::V6, "x"};
      do {
        EXPECT_FALSE(other_->commit({AddTable{theirs, ""}, DeleteTable{theirs}}));
      } while (!done);
    });
    EXPECT_FALSE(kernel_->commit({AddElements{kTable, "m", many}}));
    EXPECT_FALSE(kernel_->commit({DeleteElements{kTable, "m", many}}));
    done = true;
    writer.join();
    pollfd readable{.fd = kernel_->notification_fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&readable, 1, 0), 1);
    const ForeignChanges heard = kernel_->read_notifications();
    EXPECT_TRUE(heard.lost || !heard.tables.empty());
    lost = heard.lost;
  }
  EXPECT_TRUE(lost) << "the two never met";
  ASSERT_FALSE(kernel_->commit({AddElements{kTable, "m", many}}));
  EXPECT_FALSE(kernel_->read_notifications().lost);
  ASSERT_FALSE(other_->commit({DeleteTable{kTable}}));
  EXPECT_EQ(kernel_->read_notifications().tables, std::set<TableId>{kTable});
}

TEST_F(NetlinkKernel, ANoteThatWasLostIsToldAsSuch) {
  ASSERT_FALSE(other_->commit(table_with({})));
  std::vector<Element> many;
  for (std::uint32_t i = 0; i < 100000; ++i) many.push_back(element(i, 2));
  ASSERT_FALSE(other_->commit({AddElements{kTable, "m", many}}));
  EXPECT_TRUE(kernel_->read_notifications().lost);
}

// The same transactions put to the fake and to the real kernel get the same answers and leave the same elements.
TEST_F(NetlinkKernel, TheFakeAnswersAsTheKernelDoes) {
  FakeKernel fake(std::make_shared<FakeNamespace>());
  const std::vector<Batch> batches{
      {DeleteTable{kTable}},
      {AddSet{kTable, kMap}},
      table_with({element(1, 1), element(2, 2)}),
      table_with({element(1, 1)}),
      {AddElements{kTable, "m", {element(3, 3), element(1, 9)}}},
      {DeleteElements{kTable, "m", {key_only(1)}}, AddElements{kTable, "m", {element(1, 9)}}},
      {DeleteElements{kTable, "m", {key_only(2), key_only(5)}}},
      {AddRule{kTable, {"none", "", {}}}},
      {AddChain{kTable, {"c", {}}},
       AddRule{kTable, {"c", "", {expr::LoadMeta{expr::MetaKey::Mark, 0}, expr::Lookup{"absent", 0, std::nullopt}}}}},
      {AddSet{kTable, kVerdicts}, AddVerdicts{kTable, "v", {{1, "absent"}}}},
      {AddSet{kTable, kVerdicts}, AddChain{kTable, {"c", {}}}, AddVerdicts{kTable, "v", {{1, "c"}}}},
      {AddVerdicts{kTable, "v", {{1, ""}}}},
      {AddVerdicts{kTable, "v", {{1, "c", true}}}},
      {AddRule{kTable, {"c", "second", {}}}, AddRule{kTable, {"c", "first", {}}, true}},
      {FlushChain{kTable, "c"}, AddRule{kTable, {"c", "third", {}}}},
      {FlushChain{kTable, "absent"}},
      {AddSet{kTable, kDynamic}, AddRule{kTable,
                                         {"c",
                                          "remember",
                                          {expr::LoadMeta{expr::MetaKey::Mark, 0},
                                           expr::Remember{expr::Remember::What::Update, "d", 0, 0, 10}}}}},
      {AddRule{kTable,
               {"c",
                "",
                {expr::LoadMeta{expr::MetaKey::Mark, 0},
                 expr::Remember{expr::Remember::What::Update, "absent", 0, 0, 10}}}}},
      {DeleteTable{kTable}, AddTable{kTable, "again"}, AddSet{kTable, kMap}, AddElements{kTable, "m", {element(8, 8)}}},
  };
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto real = kernel_->commit(batches[i]);
    const auto played = fake.commit(batches[i]);
    EXPECT_EQ(real ? real->error.message() : "", played ? played->error.message() : "") << i;
    if (real && played) {
      EXPECT_EQ(real->command, played->command) << i;
    }
    if (real && played && real->element) {
      EXPECT_EQ(real->element, played->element) << i;
    }
    if (i >= 2) {
      EXPECT_EQ(elements(*kernel_), elements(fake)) << i;
    }
    EXPECT_EQ(kernel_->dump(kTable).value(), fake.dump(kTable).value()) << i;
  }
}

}  // namespace
}  // namespace fairlead::net::nft
