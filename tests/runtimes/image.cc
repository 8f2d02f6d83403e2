#include "tests/runtimes/image.h"

#include <array>
#include <cstring>

#include "base/file.h"
#include "base/strings.h"
#include "base/subprocess.h"

namespace fairlead::tests::runtimes {
namespace {

using base::cat;

enum class Kind : char { File = '0', Link = '2', Directory = '5' };

// POSIX.1-1988 "ustar" (tar(5)).
class Tar {
 public:
  void add(Kind kind, const std::string& name, std::string_view content = {}, const std::string& target = {}) {
    std::array<char, kBlock> head{};
    const auto text = [&](std::size_t at, const std::string& value) {
      std::memcpy(&head[at], value.data(), value.size());
    };
    const auto octal = [&](std::size_t at, std::size_t digits, std::size_t value) {
      for (std::size_t i = digits; i-- > 0; value /= 8) head[at + i] = static_cast<char>('0' + value % 8);
    };
    text(0, name);
    octal(100, 7, 0755);
    octal(108, 7, 0);  // uid
    octal(116, 7, 0);  // gid
    octal(124, 11, content.size());
    octal(136, 11, 0);  // mtime
    std::memset(&head[148], ' ', 8);
    head[156] = static_cast<char>(kind);
    text(157, target);
    text(257, "ustar");
    text(263, "00");
    unsigned sum = 0;
    for (const char byte : head) sum += static_cast<unsigned char>(byte);
    octal(148, 6, sum);
    head[154] = '\0';
    out_.append(head.data(), head.size()).append(content);
    out_.resize((out_.size() + kBlock - 1) / kBlock * kBlock);
  }
  std::string finish() && {
    out_.append(2 * kBlock, '\0');
    return std::move(out_);
  }

 private:
  static constexpr std::size_t kBlock = 512;
  std::string out_;
};

Result<std::string> sha256(std::string_view data) { return TRY(base::run_checked({"sha256sum"}, data)).substr(0, 64); }

Result<std::string> layer() {
  const std::string busybox = TRY(base::read_file("/bin/busybox"));
  Tar tar;
  for (const char* name : {"bin", "dev", "etc", "proc", "sys", "tmp"}) tar.add(Kind::Directory, name);
  tar.add(Kind::File, "bin/busybox", busybox);
  for (const char* name : {"cat", "hostname", "ip", "nc", "sh", "sleep"})
    tar.add(Kind::Link, cat("bin/", name), {}, "busybox");
  return std::move(tar).finish();
}

}  // namespace

Status write_image(const std::string& path) {
  const std::string content = TRY(layer());
  const std::string config =
      cat(R"({"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["nc","-ll","-p",")", kAnswerPort,
          R"(","-e","hostname"]},"rootfs":{"type":"layers","diff_ids":["sha256:)", TRY(sha256(content)), R"("]}})");
  Tar tar;
  tar.add(Kind::File, "config.json", config);
  tar.add(Kind::File, "layer.tar", content);
  tar.add(Kind::File, "manifest.json",
          cat(R"([{"Config":"config.json","RepoTags":[")", kImage, R"("],"Layers":["layer.tar"]}])"));
  return base::write_file_atomically(path, std::move(tar).finish());
}

}  // namespace fairlead::tests::runtimes
