#include "kube/store.h"

#include <gtest/gtest.h>

namespace fairlead::kube {
namespace {

Service service(std::string name, std::string version = "1") {
  Service out;
  out.meta = {{"ns", std::move(name)}, "uid", std::move(version)};
  return out;
}

EndpointSlice slice(std::string name, std::string owner, std::string version = "1") {
  EndpointSlice out;
  out.meta = {{"ns", std::move(name)}, "uid", std::move(version)};
  out.service_name = std::move(owner);
  return out;
}

Key key(std::string name) { return {"ns", std::move(name)}; }

std::vector<Key> keys_of(const std::vector<const EndpointSlice*>& slices) {
  std::vector<Key> out;
  for (const EndpointSlice* one : slices) out.push_back(one->meta.key);
  return out;
}

TEST(Store, RemembersWhichServicesChangedUntilAsked) {
  Store store;
  store.upsert(service("a"));
  store.upsert(slice("b-1", "b"));  // its service may come later, or never
  EXPECT_EQ(store.take_dirty().services, (std::set<Key>{key("a"), key("b")}));
  EXPECT_TRUE(store.take_dirty().empty());
  store.erase(Kind::Service, key("a"));
  store.erase(Kind::EndpointSlice, key("b-1"));
  EXPECT_EQ(store.take_dirty().services, (std::set<Key>{key("a"), key("b")}));
  store.erase(Kind::Service, key("a"));
  EXPECT_TRUE(store.take_dirty().empty());
}

TEST(Store, ANewResourceVersionAloneChangesNothing) {
  Store store;
  store.upsert(service("a", "1"));
  store.upsert(slice("a-1", "a", "1"));
  (void)store.take_dirty();
  store.upsert(service("a", "2"));
  store.upsert(slice("a-1", "a", "2"));
  EXPECT_TRUE(store.take_dirty().empty());
  EXPECT_EQ(store.service(key("a"))->meta.resource_version, "2");
  EXPECT_EQ(store.slices().at(key("a-1")).meta.resource_version, "2");

  EndpointSlice changed = slice("a-1", "a", "3");
  changed.endpoints.push_back({.address = net::Ip::v4(10, 0, 0, 1), .ready = {}, .serving = {}, .terminating = {}});
  store.upsert(changed);
  EXPECT_EQ(store.take_dirty().services, std::set<Key>{key("a")});
  EXPECT_EQ(store.slices().at(key("a-1")), changed);
}

TEST(Store, ASliceThatChangesItsOwnerMarksBothServices) {
  Store store;
  store.upsert(slice("s", "old"));
  (void)store.take_dirty();
  store.upsert(slice("s", "new"));
  EXPECT_EQ(store.take_dirty().services, (std::set<Key>{key("old"), key("new")}));
  EXPECT_TRUE(store.slices_of(key("old")).empty());
  EXPECT_EQ(keys_of(store.slices_of(key("new"))), std::vector<Key>{key("s")});
  store.upsert(slice("s", ""));  // belongs to nobody now
  EXPECT_EQ(store.take_dirty().services, std::set<Key>{key("new")});
  EXPECT_TRUE(store.slices_of(key("new")).empty());
  EXPECT_TRUE(store.slices_of(key("")).empty());
}

TEST(Store, SlicesComeInKeyOrder) {
  Store store;
  for (const char* name : {"s3", "s1", "s2"}) store.upsert(slice(name, "a"));
  store.upsert(slice("s0", "b"));
  EXPECT_EQ(keys_of(store.slices_of(key("a"))), (std::vector<Key>{key("s1"), key("s2"), key("s3")}));
}

TEST(Store, SlicesBelongToTheServiceOfTheirOwnNamespace) {
  Store store;
  EndpointSlice other = slice("s", "a");
  other.meta.key.ns = "elsewhere";
  store.upsert(other);
  EXPECT_TRUE(store.slices_of(key("a")).empty());
  EXPECT_EQ(store.slices_of({"elsewhere", "a"}).size(), 1U);
}

TEST(Store, CountsTheEndpointsThatBelongToAService) {
  Store store;
  const auto with = [](EndpointSlice slice, std::size_t endpoints) {
    slice.endpoints.resize(endpoints);
    return slice;
  };
  store.upsert(with(slice("s1", "a"), 3));
  store.upsert(with(slice("s2", "a"), 1));
  store.upsert(with(slice("s3", ""), 5));
  EXPECT_EQ(store.endpoint_count(), 4U);
  store.upsert(with(slice("s1", "a"), 2));
  EXPECT_EQ(store.endpoint_count(), 3U);
  store.upsert(with(slice("s1", "b"), 2));
  EXPECT_EQ(store.endpoint_count(), 3U);
  store.upsert(with(slice("s1", ""), 2));
  EXPECT_EQ(store.endpoint_count(), 1U);
  store.upsert(with(slice("s3", "b"), 5));
  EXPECT_EQ(store.endpoint_count(), 6U);
  store.erase(Kind::EndpointSlice, key("s3"));
  store.replace(Kind::EndpointSlice, {});
  EXPECT_EQ(store.endpoint_count(), 0U);
}

TEST(Store, ReplaceDeletesWhatIsMissingAndTouchesNothingThatIsEqual) {
  Store store;
  for (const char* name : {"gone", "same", "moved"}) store.upsert(service(name, "1"));
  store.upsert(slice("s-gone", "gone"));
  (void)store.take_dirty();
  Service moved = service("moved", "2");
  moved.ports.push_back({"", Protocol::Tcp, 80, 0});
  store.replace(Kind::Service, {moved, service("same", "2"), service("added", "2")});
  EXPECT_EQ(store.take_dirty().services, (std::set<Key>{key("added"), key("gone"), key("moved")}));
  EXPECT_EQ(store.services().size(), 3U);
  EXPECT_EQ(store.slices().size(), 1U);  // another kind
  store.replace(Kind::EndpointSlice, {});
  EXPECT_EQ(store.take_dirty().services, std::set<Key>{key("gone")});
}

TEST(Store, IsSyncedWhenServicesAndSlicesHaveBothBeenReplaced) {
  Store store;
  store.upsert(service("a"));
  EXPECT_FALSE(store.synced());
  store.replace(Kind::Service, {});
  store.replace(Kind::Node, {});
  EXPECT_FALSE(store.synced());
  EXPECT_TRUE(store.synced(Kind::Node));
  store.replace(Kind::EndpointSlice, {});
  EXPECT_TRUE(store.synced());
}

TEST(Store, TheNodeAndTheServiceCidrsHaveTheirOwnMarks) {
  Store store;
  EXPECT_EQ(store.node(), nullptr);
  Node node;
  node.meta = {{"", "node1"}, "uid", "1"};
  store.upsert(node);
  EXPECT_TRUE(store.take_dirty().node);
  node.meta.resource_version = "2";
  store.upsert(node);
  EXPECT_TRUE(store.take_dirty().empty());
  EXPECT_EQ(*store.node(), node);
  node.labels["zone"] = "a";
  store.upsert(node);
  EXPECT_TRUE(store.take_dirty().node);
  store.erase(Kind::Node, {"", "node1"});
  EXPECT_TRUE(store.take_dirty().node);
  EXPECT_EQ(store.node(), nullptr);

  ServiceCidr cidr;
  cidr.meta.key.name = "kubernetes";
  store.upsert(cidr);
  EXPECT_TRUE(store.take_dirty().service_cidrs);
  store.replace(Kind::ServiceCidr, {});
  const Dirty dirty = store.take_dirty();
  EXPECT_TRUE(dirty.service_cidrs);
  EXPECT_FALSE(dirty.node);
}

}  // namespace
}  // namespace fairlead::kube
