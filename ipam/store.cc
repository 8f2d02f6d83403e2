#include "ipam/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"
#include "ipam/allocator.h"

namespace fairlead::ipam {
namespace {

// The names of a directory as they are now.
class Listed final : public Held {
 public:
  explicit Listed(const std::vector<net::Ip>& addresses) {
    for (const net::Ip& address : addresses) numbers_.push_back(to_number(address));
    std::sort(numbers_.begin(), numbers_.end());
  }
  std::optional<Number> first_free(Number from, Number to) const override {
    for (auto it = std::lower_bound(numbers_.begin(), numbers_.end(), from);; ++it) {
      if (it == numbers_.end() || *it != from) return from;
      if (from++ == to) return std::nullopt;
    }
  }
  Number count(Number from, Number to) const override {
    const auto first = std::lower_bound(numbers_.begin(), numbers_.end(), from);
    return static_cast<std::size_t>(std::upper_bound(first, numbers_.end(), to) - first);
  }

 private:
  std::vector<Number> numbers_;
};

std::string index_path(const Place& place, std::uint64_t device, std::uint64_t inode) {
  return base::cat(place.run_dir, "/host-local/", device, "-", inode, ".index");
}

Error exhausted(const RangeSet& set, std::size_t number, const Held& held, const std::string& path) {
  return Error(base::cat("no address is left in range set ", number, " (", to_string(set),
                         "): ", static_cast<std::uint64_t>(held_in(set, held)), " of its ",
                         static_cast<std::uint64_t>(usable(set)), " addresses are held in ", path),
               EADDRNOTAVAIL);
}

std::uint64_t key_of(const Found& found) { return found.content == Content::Holder ? holder_key(found.holder) : 0; }

}  // namespace

Result<Store> Store::open(const Place& place) {
  auto directory = TRY(Directory::open(place.directory(), true));
  if (!directory) return Error::from_errno(place.directory(), ENOENT);
  Store store(place, *std::move(directory));
  TRY(store.load());
  return store;
}

Result<std::optional<Store>> Store::open_existing(const Place& place) {
  auto directory = TRY(Directory::open(place.directory(), false));
  if (!directory) return std::optional<Store>();
  Store store(place, *std::move(directory));
  TRY(store.load());
  return std::optional(std::move(store));
}

Status Store::load() {
  const Mark now = TRY(directory_.mark());
  index_ = Index::open(index_path(place_, now.device, now.inode), place_.boot.id);
  if (index_ && index_->mark() == now) return {};
  TRY(rebuild());
  finish();
  return {};
}

Status Store::rebuild() {
  const Boot& boot = place_.boot;
  const auto marked = directory_.boot();
  const bool judged = boot.id.empty() || marked == boot.id;
  // The mark of another boot: we wrote here then and not yet in this one, so what is here is dead unless another plugin
  // wrote it since, and that has a time of this boot. Without a mark all of it is another plugin's, perhaps of this
  // boot, before its clock was set a second time: only what is older by either clock is dead.
  const auto is_earlier = [&](std::int64_t time) {
    return marked ? !boot.can_have_written(time) : boot.begins_after(time);
  };
  std::vector<Entry> entries;
  unreadable_.clear();
  for (const Found& found : TRY(directory_.list())) {
    const bool before_boot = !judged && found.content == Content::Holder && is_earlier(found.written);
    const bool dead = before_boot || found.content == Content::Empty;
    if (dead && directory_.release(found.address)) continue;
    entries.push_back({found.address, key_of(found)});
    if (found.content == Content::Unreadable) unreadable_.push_back(found.address);
  }
  if (!judged) directory_.set_boot(boot.id);
  const Mark now = TRY(directory_.mark());
  (void)base::make_directories(place_.run_dir + "/host-local").has_value();  // without, the index is this call's alone
  index_ = TRY(Index::build(index_path(place_, now.device, now.inode), boot.id, entries));
  rebuilt_ = true;
  return {};
}

void Store::finish() {
  const auto mark = directory_.next_mark();
  const bool sound = mark && !index_->damaged() && unreadable_.empty();
  // In the index first: whoever is killed between the two leaves a directory that no index claims to know.
  index_->set_mark(sound ? *mark : Mark());
  if (sound && !directory_.apply(*mark)) index_->set_mark(Mark());
}

std::optional<std::vector<net::Ip>> Store::confirmed(std::string_view text) const {
  std::vector<net::Ip> addresses = index_->held_by(holder_key(text));
  for (const net::Ip& address : addresses) {
    const auto found = directory_.read(address);
    if (!found || found->content != Content::Holder || found->holder != text) return std::nullopt;
  }
  if (index_->damaged()) return std::nullopt;
  return addresses;
}

Result<Store::Owned> Store::owned_by(const Holder& holder) {
  for (;;) {
    auto own = confirmed(holder.text());
    auto old = confirmed(holder.container_id);
    if (own && !own->empty()) return Owned{*std::move(own), holder.text()};
    if (own && old) return Owned{*std::move(old), holder.container_id};
    if (rebuilt_) return Error(base::cat(directory_.path(), ": it changes in spite of the lock"), EAGAIN);
    TRY(rebuild());
  }
}

Result<bool> Store::holds(const Holder& holder) {
  const Owned owned = TRY(owned_by(holder));
  if (rebuilt_) finish();
  if (owned.addresses.empty()) TRY(unreadable_error());
  return !owned.addresses.empty();
}

Status Store::unreadable_error() const {
  if (unreadable_.empty()) return {};
  return Error(base::cat(directory_.path(), "/", unreadable_.front().to_string(), ": cannot be read, one of ",
                         unreadable_.size(), " such; whose address it is cannot be told"),
               EIO);
}

Status Store::release(const Holder& holder) {
  const Owned owned = TRY(owned_by(holder));
  if (owned.addresses.empty()) {
    if (rebuilt_) finish();
    return unreadable_error();
  }
  return give_back(owned.addresses, owned.text);
}

Status Store::give_back(const std::vector<net::Ip>& addresses, const std::string& text) {
  Status result;
  for (const net::Ip& address : addresses) {
    Status released = directory_.release(address);
    if (released) {
      index_->remove({address, holder_key(text)});
    } else if (result) {
      result = std::move(released);
    }
  }
  finish();
  return result;
}

Result<std::vector<Lease>> Store::allocate(const Holder& holder, const std::vector<RangeSet>& sets,
                                           const std::vector<net::Ip>& wanted) {
  // The journal of whoever calls has undone what died half-way; a reservation that is still here is a living one's.
  const Owned owned = TRY(owned_by(holder));
  for (const net::Ip& address : owned.addresses) {
    for (const RangeSet& set : sets) {
      if (range_of(set, address) == nullptr) continue;
      return Error(base::cat(address.to_string(), " has been allocated to ", holder.container_id, " (", holder.ifname,
                             ") already; DEL comes before another ADD"),
                   EEXIST);
    }
  }
  std::vector<Lease> leases;
  std::vector<net::Ip> left = wanted;
  std::optional<Error> failed;
  for (std::size_t i = 0; i < sets.size() && !failed; ++i) {
    auto lease = allocate_one(holder, sets[i], i, left);
    if (!lease) {
      failed = std::move(lease).error();
      break;
    }
    left.erase(std::remove(left.begin(), left.end(), lease->address.address), left.end());
    leases.push_back(*std::move(lease));
  }
  if (!failed && !left.empty()) {
    failed = Error(base::cat("the wanted address ", left.front().to_string(),
                             " lies in no range set, or in one of which ", "another address was wanted too"),
                   EINVAL);
  }
  if (!failed) {
    finish();
    return leases;
  }
  std::vector<net::Ip> taken;
  for (const Lease& lease : leases) taken.push_back(lease.address.address);
  (void)give_back(taken, holder.text()).has_value();  // the first error is the one that counts
  return *std::move(failed);
}

Result<Lease> Store::allocate_one(const Holder& holder, const RangeSet& set, std::size_t number,
                                  const std::vector<net::Ip>& wanted) {
  const auto it =
      std::find_if(wanted.begin(), wanted.end(), [&](const net::Ip& ip) { return range_of(set, ip) != nullptr; });
  net::Ip address;
  if (it == wanted.end()) {
    address = TRY(reserve_next(holder.text(), set, number));
  } else {
    address = *it;
    if (address == range_of(set, address)->gateway) {
      return Error(base::cat("the wanted address ", address.to_string(), " is the gateway of its subnet"), EINVAL);
    }
    if (!TRY(reserve(holder.text(), address))) {
      return Error(
          base::cat("the wanted address ", address.to_string(), " is held by another (", directory_.path(), ")"),
          EADDRINUSE);
    }
  }
  directory_.set_last(number, address);
  const Range& range = *range_of(set, address);
  return Lease{{address, range.subnet.length}, range.gateway};
}

Result<net::Ip> Store::reserve_next(const std::string& text, const RangeSet& set, std::size_t number) {
  const auto last = directory_.last(number);
  for (;;) {
    const auto picked = pick(set, *index_, last);
    if (picked && !index_->damaged()) {
      if (TRY(reserve(text, picked->address))) return picked->address;
      if (!rebuilt_) {
        TRY(rebuild());
      } else {
        TRY(index_->add({picked->address, 0}));  // by one who did not lock
      }
      continue;
    }
    // Before it is said that nothing is left, the directory itself is asked.
    const Listed listed(TRY(directory_.addresses()));
    if (rebuilt_ || (!picked && !index_->damaged() && held_in(set, listed) >= usable(set))) {
      return exhausted(set, number, listed, directory_.path());
    }
    TRY(rebuild());
  }
}

Result<bool> Store::reserve(const std::string& text, const net::Ip& address) {
  if (!TRY(directory_.reserve(address, text))) return false;
  Status added = index_->add({address, holder_key(text)});
  if (added) return true;
  (void)directory_.release(address).has_value();  // no undo would find it by the index; the first error counts
  return std::move(added).error();
}

Status Store::keep_only(const std::set<Holder>& alive) {
  std::set<std::string> texts;
  for (const Holder& holder : alive) {
    texts.insert(holder.text());
    texts.insert(holder.container_id);
  }
  Status result;
  for (const Found& found : TRY(directory_.list())) {
    const bool readable = found.content == Content::Holder || found.content == Content::Empty;
    if (!readable || texts.count(found.holder) != 0) continue;
    Status released = directory_.release(found.address);
    if (!released && result) result = std::move(released);
  }
  TRY(rebuild());
  finish();
  return result ? unreadable_error() : std::move(result);
}

namespace {

// A directory that ADD would make: its nearest ancestor must let it.
Status writable(const std::string& path) {
  std::string part = path;
  struct stat status {};
  while (::stat(part.c_str(), &status) != 0) {
    if (errno != ENOENT || part.size() <= 1) return Error::from_errno(part, errno);
    const std::size_t slash = part.rfind('/');
    part = slash == part.npos ? "." : part.substr(0, std::max<std::size_t>(slash, 1));
  }
  if (!S_ISDIR(status.st_mode)) return Error(base::cat(part, ": is no directory"), ENOTDIR);
  if (::faccessat(AT_FDCWD, part.c_str(), W_OK | X_OK, AT_EACCESS) != 0) return Error::from_errno(part, errno);
  struct statvfs space {};
  if (::statvfs(part.c_str(), &space) != 0) return Error::from_errno(part, errno);
  const bool full = (space.f_blocks != 0 && space.f_bfree == 0) || (space.f_files != 0 && space.f_ffree == 0);
  if (full) {
    return Error(base::cat(part, ": its file system is full (", std::uint64_t{space.f_bfree}, " blocks and ",
                           std::uint64_t{space.f_ffree}, " inodes free)"),
                 ENOSPC);
  }
  return {};
}

Status room(const std::vector<RangeSet>& sets, const Held& held, const std::string& path) {
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (held_in(sets[i], held) >= usable(sets[i])) return exhausted(sets[i], i, held, path);
  }
  return {};
}

}  // namespace

Status available(const Place& place, const std::vector<RangeSet>& sets) {
  const std::string path = place.directory();
  TRY(writable(path));
  const base::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory && errno == ENOENT) return {};
  struct stat status {};
  if (!directory || ::fstat(directory.get(), &status) != 0) return Error::from_errno(path, errno);
  const auto index = Index::open(index_path(place, status.st_dev, status.st_ino), place.boot.id);
  if (index) {
    // Also when it is behind: what it does not know yet is one call under way. That nothing is left must be certain.
    Status free = room(sets, *index, path);
    const bool current = index->mark() == mark_of(status);
    if (!index->damaged() && (current || free)) return free;
  }
  // What an earlier boot left is taken away by the next ADD.
  if (!place.boot.id.empty() && read_boot(directory.get()) != place.boot.id) return {};
  return room(sets, Listed(TRY(list_addresses(directory.get(), path))), path);
}

}  // namespace fairlead::ipam
