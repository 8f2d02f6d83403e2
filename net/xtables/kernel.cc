#include "net/xtables/kernel.h"

#include <fcntl.h>
#include <linux/netfilter/x_tables.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"

namespace fairlead::net::xtables {
namespace {

using base::cat;

// The same numbers for both families.
constexpr int kSetReplace = 64, kSetAddCounters = 65, kGetInfo = 64, kGetEntries = 65;
constexpr int kAttempts = 100;
constexpr std::chrono::seconds kLockWait{5};  // iptables -w 5

struct Info {  // ipt_getinfo
  char name[XT_TABLE_MAXNAMELEN];
  std::uint32_t valid_hooks, hook_entry[kHooks], underflow[kHooks], num_entries, size;
};
struct EntriesHead {  // ipt_get_entries
  char name[XT_TABLE_MAXNAMELEN];
  std::uint32_t size;
  alignas(8) char entries[0];
};
struct ReplaceHead {  // ipt_replace
  char name[XT_TABLE_MAXNAMELEN];
  std::uint32_t valid_hooks, num_entries, size, hook_entry[kHooks], underflow[kHooks], num_counters;
  xt_counters* counters;
  alignas(8) char entries[0];
};
struct CountersHead {  // xt_counters_info
  char name[XT_TABLE_MAXNAMELEN];
  std::uint32_t num_counters;
  alignas(8) char counters[0];
};

template <typename Head>
Head head_for(const std::string& name) {
  Head head{};
  name.copy(head.name, sizeof head.name - 1);
  return head;
}

class Socket {
 public:
  static Result<Socket> open(Family family) {
    base::Fd fd(::socket(family == Family::V4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
    if (!fd) return Error::from_errno("x_tables: socket", errno);
    return Socket(std::move(fd), family == Family::V4 ? IPPROTO_IP : IPPROTO_IPV6);
  }
  Status get(int option, void* data, std::size_t size) const {
    auto length = static_cast<socklen_t>(size);
    if (::getsockopt(fd_.get(), level_, option, data, &length) == 0) return {};
    return Error::from_errno("x_tables: read a table", errno);
  }
  Status set(int option, const std::string& data) const {
    if (::setsockopt(fd_.get(), level_, option, data.data(), static_cast<socklen_t>(data.size())) == 0) return {};
    return Error::from_errno("x_tables: write a table", errno);
  }

 private:
  Socket(base::Fd fd, int level) : fd_(std::move(fd)), level_(level) {}
  base::Fd fd_;
  int level_;
};

Result<Table> read_from(const Socket& socket, Family family, const std::string& name) {
  for (int attempt = 0;; ++attempt) {
    auto info = head_for<Info>(name);
    TRY(socket.get(kGetInfo, &info, sizeof info));
    std::string buffer(sizeof(EntriesHead) + info.size, '\0');
    auto head = head_for<EntriesHead>(name);
    head.size = info.size;
    std::memcpy(buffer.data(), &head, sizeof head);
    const Status got = socket.get(kGetEntries, buffer.data(), buffer.size());
    // Another size by now.
    if (!got && got.error().errno_value() == EAGAIN && attempt < kAttempts) continue;
    TRY(got);
    Places places{.valid_hooks = info.valid_hooks};
    for (std::size_t hook = 0; hook < kHooks; ++hook) {
      places.hook_entry[hook] = info.hook_entry[hook];
      places.underflow[hook] = info.underflow[hook];
    }
    return Table::parse(family, places, std::string_view(buffer).substr(sizeof(EntriesHead)));
  }
}

std::string bytes_of(const void* data, std::size_t size) { return {static_cast<const char*>(data), size}; }

Status replace(const Socket& socket, const std::string& name, const Table& table) {
  const Image image = TRY(lay_out(table));
  std::vector<xt_counters> before(table.rules_read);
  auto head = head_for<ReplaceHead>(name);
  head.valid_hooks = image.places.valid_hooks;
  for (std::size_t hook = 0; hook < kHooks; ++hook) {
    head.hook_entry[hook] = image.places.hook_entry[hook];
    head.underflow[hook] = image.places.underflow[hook];
  }
  head.num_entries = static_cast<std::uint32_t>(image.was.size());
  head.size = static_cast<std::uint32_t>(image.bytes.size());
  head.num_counters = table.rules_read;
  head.counters = before.data();
  TRY(socket.set(kSetReplace, bytes_of(&head, sizeof head) + image.bytes));
  // The kernel began anew to count.
  auto counters = head_for<CountersHead>(name);
  counters.num_counters = head.num_entries;
  std::vector<xt_counters> now(image.was.size());
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (image.was[i] != Rule::kNew) now[i] = before[image.was[i]];
  }
  return socket.set(kSetAddCounters,
                    bytes_of(&counters, sizeof counters) + bytes_of(now.data(), now.size() * sizeof(xt_counters)));
}

Result<base::Fd> lock() {
  const char* set = std::getenv("XTABLES_LOCKFILE");
  const std::string path = set != nullptr ? set : "/run/xtables.lock";
  base::Fd file(::open(path.c_str(), O_CREAT | O_CLOEXEC | O_RDONLY, 0600));
  if (!file) return Error::from_errno(path, errno);
  const auto deadline = std::chrono::steady_clock::now() + kLockWait;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return Error::from_errno(path, errno);
    if (std::chrono::steady_clock::now() > deadline)
      return Error(cat(path, ": another iptables has held it for ", kLockWait.count(), " s"));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return file;
}

}  // namespace

bool has_table(Family family, const std::string& name) {
  const auto names = base::read_file(family == Family::V4 ? "/proc/thread-self/net/ip_tables_names"
                                                          : "/proc/thread-self/net/ip6_tables_names");
  return names && cat("\n", *names).find(cat("\n", name, "\n")) != std::string::npos;
}

Result<Table> read_table(Family family, const std::string& name) {
  const Socket socket = TRY(Socket::open(family));
  return read_from(socket, family, name);
}

Status change_table(Family family, const std::string& name, const std::function<bool(Table&)>& change) {
  const Socket socket = TRY(Socket::open(family));
  const base::Fd held = TRY(lock());
  for (int attempt = 0;; ++attempt) {
    Table table = TRY(read_from(socket, family, name));
    if (!change(table)) return {};
    const Status done = replace(socket, name, table);
    // Somebody who takes no lock was in between.
    if (done || done.error().errno_value() != EAGAIN || attempt == kAttempts) return done;
  }
}

}  // namespace fairlead::net::xtables
