#include <gtest/gtest.h>

#include "net/nft/encode.h"
#include "net/nft/fake.h"

namespace fairlead::net::nft {
namespace {

const TableId kTable{Family::V4, "t"};
const Set kMap{.name = "m", .kind = Set::Kind::Map, .key = {DataType::Mark}, .data = {DataType::Ipv4}};

Element element(std::uint8_t key, std::uint8_t value) {
  Element e;
  e.key[0] = key;
  e.key_size = 4;
  e.data[0] = value;
  e.data_size = 4;
  return e;
}

Element key_only(std::uint8_t key) {
  Element e = element(key, 0);
  e.data_size = 0;
  return e;
}

Batch with_map(std::vector<Element> elements) {
  return {AddTable{kTable, "test"}, AddSet{kTable, kMap}, AddElements{kTable, "m", std::move(elements)}};
}

std::vector<Element> elements_of(Kernel& kernel) {
  std::vector<Element> all;
  EXPECT_TRUE(kernel.dump_elements(kTable, "m", [&](const Element& e) { all.push_back(e); }));
  return all;
}

TEST(Types, AConcatenationIsNumberedAsNftDoes) {
  EXPECT_EQ(concatenated({DataType::Ipv4, DataType::Protocol, DataType::Service}), (7U << 12) + (12U << 6) + 13U);
  EXPECT_EQ(size_of({DataType::Ipv6, DataType::Protocol, DataType::Service, DataType::Mark}), 28U);
}

TEST(Types, WritesCountElementsAndObjects) { EXPECT_EQ(count_writes(with_map({element(1, 1), element(2, 2)})), 4U); }

TEST(Encode, ElementsBeyondOneAttributeTravelInSeveralMessages) {
  std::vector<Element> many(5000, element(1, 1));
  const EncodedBatch encoded = encode(with_map(many), 10, true);
  ASSERT_GT(encoded.messages.size(), 4U);
  const SentMessage& last = encoded.messages.back();
  EXPECT_EQ(last.command, 2U);
  EXPECT_EQ(encoded.element_at(encoded.messages.size() - 1, last.elements_at + last.stride), last.first_element + 1);
  EXPECT_EQ(encoded.element_at(0, 8), std::nullopt);
}

TEST(FakeKernel, ARefusedTransactionLeavesNothing) {
  auto ns = std::make_shared<FakeNamespace>();
  FakeKernel kernel(ns);
  ASSERT_FALSE(kernel.commit(with_map({element(1, 1)})));
  auto refusal = kernel.commit({DeleteElements{kTable, "m", {key_only(1)}}, AddElements{kTable, "m", {element(1, 2)}},
                                DeleteTable{{Family::V6, "t"}}});
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->command, 2U);
  EXPECT_EQ(refusal->error.errno_value(), ENOENT);
  EXPECT_EQ(elements_of(kernel), std::vector<Element>{element(1, 1)});
}

TEST(FakeKernel, AnElementChangesItsValueOnlyByDeletionFirst) {
  FakeKernel kernel(std::make_shared<FakeNamespace>());
  ASSERT_FALSE(kernel.commit(with_map({element(1, 1)})));
  auto refusal = kernel.commit({AddElements{kTable, "m", {element(3, 3), element(1, 2)}}});
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->error.errno_value(), EEXIST);
  EXPECT_EQ(refusal->element, 1U);
  EXPECT_FALSE(kernel.commit({DeleteElements{kTable, "m", {key_only(1)}}, AddElements{kTable, "m", {element(1, 2)}}}));
  EXPECT_EQ(elements_of(kernel), std::vector<Element>{element(1, 2)});
}

}  // namespace
}  // namespace fairlead::net::nft
