#include "kube/manifests.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "base/strings.h"
#include "kube/store.h"

namespace fairlead::kube {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string service(std::string_view name, int port) {
  return base::cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name,
                   "}\nspec:\n  clusterIP: 10.96.0.1\n  ports:\n  - port: ", port, "\n");
}

// Counts what reaches the store behind it.
class CountingSink final : public Sink {
 public:
  explicit CountingSink(Store& store) : store_(store) {}
  void upsert(Object object) override {
    ++upserts;
    store_.upsert(std::move(object));
  }
  void erase(Kind kind, const Key& key) override {
    ++erases;
    store_.erase(kind, key);
  }
  void replace(Kind kind, std::vector<Object> objects) override {
    ++replaces;
    store_.replace(kind, std::move(objects));
  }
  int upserts = 0;
  int erases = 0;
  int replaces = 0;

 private:
  Store& store_;
};

class Manifests : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-manifests-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    directory_ = root_ / "d";
    fs::create_directory(directory_);
    auto loop = base::Loop::create();
    ASSERT_TRUE(loop);
    loop_ = std::move(*loop);
  }
  void TearDown() override {
    source_.reset();
    loop_.reset();
    fs::remove_all(root_);
  }

  Status open() {
    auto source = ManifestSource::open(*loop_, sink_,
                                       {.directory = directory_.string(),
                                        .node_name = "node1",
                                        .on_error = [this](const std::string& text) { errors_.push_back(text); },
                                        .on_note = [this](const std::string& text) { notes_.push_back(text); },
                                        .settle = settle_,
                                        .last_good_directory = (root_ / "last-good").string(),
                                        .directory_check = 20ms});
    if (!source) return source.error();
    source_ = std::move(*source);
    return {};
  }

  // In place, as an editor that does not rename.
  void write(const std::string& file, std::string_view text) { std::ofstream(directory_ / file) << text; }

  template <typename Condition>
  bool eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop_->run_once(20ms);
    }
    return true;
  }
  // A change of another file that has gone through: whatever came before it has too.
  void flush() {
    write("zz-flush.yaml", service("flush", ++flushes_));
    EXPECT_TRUE(eventually([&] { return port("flush") == flushes_; }));
  }

  // The port of a service in the store; 0 when there is none.
  int port(std::string_view name) const {
    const Service* found = store_.service({"default", std::string(name)});
    return found == nullptr ? 0 : found->ports[0].port;
  }
  std::string path(std::string_view file) const { return (directory_ / file).string(); }

  fs::path root_;
  fs::path directory_;
  std::unique_ptr<base::Loop> loop_;
  Store store_;
  CountingSink sink_{store_};
  std::unique_ptr<ManifestSource> source_;
  std::vector<std::string> errors_;
  std::vector<std::string> notes_;
  base::Duration settle_ = 30s;
  int flushes_ = 0;
};

TEST_F(Manifests, AllKindsAreSyncedAfterTheFirstRead) {
  write("a.yaml", service("a", 1) + service("b", 2));
  write("b.yml", service("c", 3));
  write("c.json", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"node1"}})");
  write("d.json", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"node2"}})");
  write("e.yaml.swp", "not: [read");
  write(".hidden.yaml", "not: [read");
  fs::create_directory(directory_ / "sub.yaml");
  ASSERT_TRUE(open());
  EXPECT_EQ(sink_.replaces, 4);
  for (const Kind kind : {Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::ServiceCidr}) {
    EXPECT_TRUE(store_.synced(kind));
  }
  EXPECT_EQ(port("a"), 1);
  EXPECT_EQ(port("b"), 2);
  EXPECT_EQ(port("c"), 3);
  ASSERT_NE(store_.node(), nullptr);
  EXPECT_EQ(store_.node()->meta.key.name, "node1");
  EXPECT_EQ(errors_, std::vector<std::string>());
}

TEST_F(Manifests, AMissingDirectoryIsAClearError) {
  fs::remove(directory_);
  const Status status = open();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), "manifest directory: " + directory_.string() + ": No such file or directory");
  std::ofstream(root_ / "file") << "";
  directory_ = root_ / "file";
  EXPECT_EQ(open().error().message(), "manifest directory: " + directory_.string() + ": Not a directory");
}

TEST_F(Manifests, ARestartBesideABadFileStillHasItsLastGoodObjects) {
  write("a.yaml", service("a", 1));
  write("gone.yaml", service("gone", 1));
  ASSERT_TRUE(open());
  write("a.yaml", service("a", 2));
  ASSERT_TRUE(eventually([&] { return port("a") == 2; }));
  source_.reset();
  write("a.yaml", service("a", 70000));
  fs::remove(path("gone.yaml"));
  store_ = Store();
  ASSERT_TRUE(open());
  EXPECT_EQ(port("a"), 2);
  ASSERT_EQ(source_->errors().size(), 1U);
  EXPECT_NE(source_->errors()[0].message.find("70000 is not a port (1-65535)"), std::string::npos);

  source_.reset();
  write("gone.yaml", "not: [read");
  store_ = Store();
  ASSERT_TRUE(open());
  EXPECT_EQ(port("gone"), 0) << "it was deleted in between";
}

TEST_F(Manifests, CreatedChangedRenamedAndDeletedFilesAreNoticed) {
  ASSERT_TRUE(open());
  write("a.yaml", service("a", 1));
  EXPECT_TRUE(eventually([&] { return port("a") == 1; }));
  write("a.yaml", service("a", 2));
  EXPECT_TRUE(eventually([&] { return port("a") == 2; }));
  ASSERT_TRUE(base::write_file_atomically(path("a.yaml"), service("a", 3)));
  EXPECT_TRUE(eventually([&] { return port("a") == 3; }));
  fs::rename(path("a.yaml"), path("b.yaml"));
  write("a.yaml", service("other", 1));
  EXPECT_TRUE(eventually([&] { return port("other") == 1; }));
  EXPECT_EQ(port("a"), 3);
  fs::remove(path("b.yaml"));
  EXPECT_TRUE(eventually([&] { return port("a") == 0; }));
  EXPECT_EQ(errors_, std::vector<std::string>());
}

TEST_F(Manifests, OnlyTheFilesThatChangedAreReadAndOnlyTheObjectsThatDifferTravel) {
  for (int i = 0; i < 20; ++i) write(base::cat(i, ".yaml"), service(base::cat("s", i), 1));
  write("many.yaml", service("x", 1) + service("y", 1) + service("z", 1));
  ASSERT_TRUE(open());
  EXPECT_EQ(source_->files_read(), 21U);
  write("many.yaml", service("x", 1) + service("y", 2));
  ASSERT_TRUE(eventually([&] { return port("y") == 2; }));
  EXPECT_EQ(source_->files_read(), 22U);
  EXPECT_EQ(sink_.upserts, 1);
  EXPECT_EQ(sink_.erases, 1);
}

TEST_F(Manifests, AChangeOfEqualSizeWithinOneClockTickIsNoticed) {
  ASSERT_TRUE(open());
  for (int i = 1; i <= 9; ++i) {
    write("a.yaml", service("a", i));
    ASSERT_TRUE(eventually([&] { return port("a") == i; }));
  }
}

TEST_F(Manifests, ABadFileLeavesItsLastGoodStateAndTheOthersAlone) {
  write("a.yaml", service("a", 1) + service("b", 1));
  ASSERT_TRUE(open());
  write("a.yaml", service("a", 2) + service("b", 70000));
  ASSERT_TRUE(eventually([&] { return !errors_.empty(); }));
  const std::string expected = path("a.yaml") + ": line 16: spec.ports[0].port: 70000 is not a port (1-65535)";
  EXPECT_EQ(errors_, std::vector<std::string>{expected});
  EXPECT_EQ(source_->errors(), (std::vector<ManifestError>{{"a.yaml", expected}}));
  flush();
  EXPECT_EQ(port("a"), 1);
  EXPECT_EQ(port("b"), 1);

  write("a.yaml", "a: [");
  ASSERT_TRUE(eventually([&] { return errors_.size() == 2; }));
  EXPECT_EQ(port("a"), 1);
  write("a.yaml", service("a", 3));
  EXPECT_TRUE(eventually([&] { return port("a") == 3; }));
  EXPECT_EQ(port("b"), 0);
  EXPECT_TRUE(source_->errors().empty());
  EXPECT_EQ(notes_, std::vector<std::string>{path("a.yaml") + ": is good again"});
}

TEST_F(Manifests, ABadFileAtTheStartIsReportedAndTheOthersAreRead) {
  write("a.yaml", "kind: [");
  write("b.yaml", service("b", 1));
  ASSERT_TRUE(open());
  EXPECT_EQ(errors_.size(), 1U);
  EXPECT_EQ(port("b"), 1);
  fs::remove(path("a.yaml"));
  EXPECT_TRUE(eventually([&] { return source_->errors().empty(); }));
}

TEST_F(Manifests, AHalfWrittenFileIsNotRead) {
  write("a.yaml", service("a", 1) + service("b", 1));
  ASSERT_TRUE(open());
  std::ofstream writer(path("a.yaml"));
  writer << service("a", 2) << std::flush;
  flush();  // a scan takes place meanwhile
  EXPECT_EQ(port("a"), 1);
  EXPECT_EQ(port("b"), 1);
  writer << service("b", 2);
  writer.close();
  EXPECT_TRUE(eventually([&] { return port("a") == 2 && port("b") == 2; }));
  EXPECT_EQ(sink_.erases, 0);
}

TEST_F(Manifests, AFileThatNobodyClosesIsReadWhenItHasBeenStill) {
  settle_ = 20ms;
  ASSERT_TRUE(open());
  std::ofstream writer(path("a.yaml"));
  writer << service("a", 1) << std::flush;
  EXPECT_TRUE(eventually([&] { return port("a") == 1; }));
}

TEST_F(Manifests, ASwapOfTheDataLinkOfAConfigMapChangesAllFilesAtOnce) {
  for (const int version : {1, 2}) {
    const fs::path data = directory_ / base::cat("..v", version);
    fs::create_directory(data);
    std::ofstream(data / "a.yaml") << service("a", version);
    if (version == 1) std::ofstream(data / "b.yaml") << service("b", version);
    if (version == 2) std::ofstream(data / "c.yaml") << service("c", version);
  }
  fs::create_symlink("..v1", directory_ / "..data");
  fs::create_symlink("..data/a.yaml", directory_ / "a.yaml");
  fs::create_symlink("..data/b.yaml", directory_ / "b.yaml");
  ASSERT_TRUE(open());
  EXPECT_EQ(port("a"), 1);
  EXPECT_EQ(port("b"), 1);
  // As the kubelet does it: a new link is renamed over the old one, then links are added and removed.
  fs::create_symlink("..v2", directory_ / "..data_tmp");
  fs::rename(directory_ / "..data_tmp", directory_ / "..data");
  fs::create_symlink("..data/c.yaml", directory_ / "c.yaml");
  EXPECT_TRUE(eventually([&] { return port("a") == 2 && port("b") == 0 && port("c") == 2; }));
  fs::remove(directory_ / "b.yaml");
  flush();
  EXPECT_EQ(errors_, std::vector<std::string>());
}

TEST_F(Manifests, TheOtherFileTakesOverWhenTheWinnerGoes) {
  write("a.yaml", service("x", 1));
  write("b.yaml", service("x", 2));
  ASSERT_TRUE(open());
  EXPECT_EQ(port("x"), 1);
  const std::string expected =
      path("b.yaml") + ": line 2: Service default/x is defined in a.yaml too; that definition is in force";
  EXPECT_EQ(errors_, std::vector<std::string>{expected});
  EXPECT_EQ(source_->errors(), (std::vector<ManifestError>{{"b.yaml", expected}}));
  fs::remove(path("a.yaml"));
  EXPECT_TRUE(eventually([&] { return port("x") == 2; }));
  EXPECT_TRUE(source_->errors().empty());
  EXPECT_EQ(sink_.erases, 0);
}

TEST_F(Manifests, ADirectoryThatGoesAwayLeavesItsStateAndRecovers) {
  write("a.yaml", service("a", 1));
  ASSERT_TRUE(open());
  fs::rename(directory_, root_ / "elsewhere");
  ASSERT_TRUE(eventually([&] { return !source_->errors().empty(); }));
  const std::string gone = directory_.string() + ": No such file or directory";
  EXPECT_EQ(source_->errors(), (std::vector<ManifestError>{{"", gone}}));
  EXPECT_EQ(errors_, std::vector<std::string>{gone + "; the last good objects stay in force"});
  EXPECT_EQ(port("a"), 1);

  fs::create_directory(root_ / "new");
  std::ofstream(root_ / "new" / "a.yaml") << service("a", 2);
  fs::rename(root_ / "new", directory_);
  EXPECT_TRUE(eventually([&] { return port("a") == 2; }));
  EXPECT_TRUE(source_->errors().empty());
  write("a.yaml", service("a", 3));
  EXPECT_TRUE(eventually([&] { return port("a") == 3; }));
}

TEST_F(Manifests, ADirectoryThatIsALinkMayBePointedElsewhere) {
  fs::create_directory(root_ / "other");
  std::ofstream(root_ / "other" / "a.yaml") << service("a", 2);
  write("a.yaml", service("a", 1));
  fs::create_directory_symlink(directory_, root_ / "link");
  const fs::path first = directory_;
  directory_ = root_ / "link";
  ASSERT_TRUE(open());
  EXPECT_EQ(port("a"), 1);
  fs::create_directory_symlink(root_ / "other", root_ / "link.tmp");
  fs::rename(root_ / "link.tmp", root_ / "link");
  EXPECT_TRUE(eventually([&] { return port("a") == 2; }));
}

TEST_F(Manifests, NotesNameTheFile) {
  write("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n");
  ASSERT_TRUE(open());
  EXPECT_EQ(notes_, std::vector<std::string>{
                        path("a.yaml") + ": line 1: apps/v1 Deployment is ignored: no business of a service proxy"});
}

TEST_F(Manifests, ManyChangesInOneGoAreAllSeen) {
  ASSERT_TRUE(open());
  constexpr int kFiles = 500;
  for (int i = 0; i < kFiles; ++i) write(base::cat(i, ".yaml"), service(base::cat("s", i), 1));
  for (int i = 0; i < kFiles; i += 2) fs::remove(path(base::cat(i, ".yaml")));
  EXPECT_TRUE(eventually([&] { return store_.services().size() == kFiles / 2 && port("s499") == 1; }));
}

}  // namespace
}  // namespace fairlead::kube
