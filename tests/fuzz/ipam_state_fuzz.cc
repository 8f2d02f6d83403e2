// libFuzzer entry for what host-local meets on a node: a configuration, then "\n\n", then files of a state directory,
// "name\tcontent\n" each. Beyond not crashing: an address is handed out once, out of its ranges, and nobody's
// reservation is lost.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

#include "base/strings.h"
#include "cni-plugin/host_local_config.h"
#include "ipam/store.h"

namespace fairlead::ipam {
namespace {

void check(bool holds) {
  if (!holds) __builtin_trap();
}

// One per process; emptied before each input.
std::string folder() {
  static const std::string path = [] {
    std::string name = "/dev/shm/fairlead-ipam-fuzz-XXXXXX";
    check(::mkdtemp(name.data()) != nullptr);
    std::atexit([] { std::filesystem::remove_all(folder()); });
    return name;
  }();
  return path;
}

std::map<std::string, std::string> files(const std::string& directory) {
  std::map<std::string, std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream in(entry.path(), std::ios::binary);
    found[entry.path().filename()] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return found;
}

void write_files(const std::string& directory, std::string_view text) {
  std::filesystem::create_directories(directory);
  for (const std::string_view line : base::split(text, '\n')) {
    const std::string_view name = line.substr(0, line.find('\t'));
    const bool usable = !name.empty() && name.size() < 200 && name != "." && name != ".." &&
                        name.find('/') == name.npos && name.find('\0') == name.npos;
    if (usable && name != line) std::ofstream(base::cat(directory, "/", name)) << line.substr(name.size() + 1);
  }
}

void run(std::string_view config, std::string_view state) {
  cni::Call call;
  call.version = "1.0.0";
  auto parsed = base::parse_json(config, base::Duplicates::LastWins);
  if (!parsed) return;
  call.config = *std::move(parsed);
  (void)cni::host_local_data_dir(call).has_value();
  const auto read = cni::read_host_local(call);
  if (!read) return check(!read.error().message().empty() && read.error().code() != 0);

  const Place place{folder(), "n", folder() + "/run", Boot{"boot", {0, std::int64_t{1} << 40}}};  // every time is of it
  std::filesystem::remove_all(place.directory());
  write_files(place.directory(), state);
  const auto before = files(place.directory());
  const Holder holder{"fuzz", "eth0"};

  auto store = Store::open(place);
  if (!store) return check(store.error().errno_value() != 0);
  const bool held_before = *store->holds(holder);
  const auto leases = store->allocate(holder, read->sets, read->wanted);
  if (leases) {
    check(leases->size() == read->sets.size());
    const auto now = files(place.directory());
    for (std::size_t i = 0; i < leases->size(); ++i) {
      const net::Ip& address = (*leases)[i].address.address;
      const Range* const range = range_of(read->sets[i], address);
      check(range != nullptr && address != range->gateway);
      const auto old = before.find(address.to_string());
      check(old == before.end() || base::trim(old->second).empty());
      check(now.at(address.to_string()) == holder.text());
    }
    if (!read->sets.empty()) check(!store->allocate(holder, read->sets).has_value());
    check(store->release(holder).has_value());
  } else {
    check(leases.error().errno_value() != 0);
  }
  const auto after = files(place.directory());
  for (const auto& [name, content] : before) {
    const bool reservation = !base::trim(content).empty() && net::Ip::parse(name).has_value();
    const bool ours = held_before || base::trim(content) == holder.text() || base::trim(content) == "fuzz";
    if (reservation && !ours) check(after.count(name) != 0 && after.at(name) == content);
  }
  check(store->keep_only({}).has_value());
}

}  // namespace
}  // namespace fairlead::ipam

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t end = text.find("\n\n");
  fairlead::ipam::run(text.substr(0, end), end == text.npos ? std::string_view() : text.substr(end + 2));
  return 0;
}
