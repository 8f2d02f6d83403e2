#include "tests/demo/source.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/file.h"
#include "base/strings.h"

namespace fairlead::demo {
namespace {

using base::cat;

class DirectorySource final : public Source {
 public:
  explicit DirectorySource(std::string directory) : directory_(std::move(directory)) {}

  Status put(const ManifestFile& file) override {
    return base::write_file_atomically(cat(directory_, "/", file.name), file.text);
  }
  std::vector<std::string> agent_flags() const override { return {"--manifests", directory_}; }
  std::string description() const override { return directory_; }
  std::string how_to_edit() const override { return cat("$EDITOR ", directory_, "/web.yaml"); }

 private:
  std::string directory_;
};

}  // namespace

Result<std::unique_ptr<Source>> directory_source(testbed::Testbed& testbed, const Manifests& manifests) {
  const std::string directory = testbed.dir() + "/manifests";
  if (::mkdir(directory.c_str(), 0755) != 0) return Error::from_errno(cat("mkdir ", directory), errno);
  auto source = std::make_unique<DirectorySource>(directory);
  for (const ManifestFile& file : manifests.files()) TRY(source->put(file));
  return std::unique_ptr<Source>(std::move(source));
}

}  // namespace fairlead::demo
