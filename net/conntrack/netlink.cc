#include "net/conntrack/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "base/strings.h"
#include "net/conntrack/message.h"

namespace fairlead::net::conntrack {
namespace {

constexpr std::size_t kReceive = 1U << 16;
// Requests in one packet. Each may be answered by an error of its own, about 1 kB of the receive buffer.
constexpr std::size_t kAtOnce = 256;
constexpr int kReceiveBuffer = 1 << 20;

Result<base::Fd> open_socket() {
  base::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd) return Error::from_errno("cannot open a netfilter netlink socket", errno);
  sockaddr_nl any{};
  any.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) < 0) {
    return Error::from_errno("cannot bind a netfilter netlink socket", errno);
  }
  const int on = 1;
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);  // an error does not repeat the request
  // Without CAP_NET_ADMIN in the first user namespace the force is refused; then up to the system's limit.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) < 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  }
  return fd;
}

// The errno that a message of type NLMSG_ERROR carries; 0 is an acknowledgement.
int code_of(const nlmsghdr* message) { return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error; }

class Netlink final : public Kernel {
 public:
  Netlink(base::Fd listing, base::Fd erasing) : listing_(std::move(listing)), erasing_(std::move(erasing)) {}

  Status list(const Question& question, const std::function<void(const Entry&)>& each) override {
    request_.clear();
    append_list(question, ++sequence_, request_);
    const std::uint32_t asked = sequence_;
    if (::send(listing_.get(), request_.data(), request_.size(), 0) < 0) {
      return Error::from_errno("cannot ask for conntrack entries", errno);
    }
    bool interrupted = false;
    std::optional<Status> end;
    while (!end) {
      TRY(read(listing_, list_buffer_, [&](const nlmsghdr* message) {
        if (message->nlmsg_seq != asked || end) return;
        interrupted = interrupted || (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (message->nlmsg_type == NLMSG_ERROR) {
          const int code = code_of(message);
          end = code == 0 ? Status() : Status(Error::from_errno("list conntrack entries", code));
        } else if (message->nlmsg_type == NLMSG_DONE) {
          end = Status();
        } else if (const auto entry = decode(message); entry && matches(question, *entry)) {
          each(*entry);
        }
      }));
    }
    if (*end && interrupted) return Error::from_errno("conntrack changed while it was read", EINTR);
    return *end;
  }

  Result<std::size_t> erase(const std::vector<Entry>& entries) override {
    std::size_t erased = 0;
    for (std::size_t at = 0; at < entries.size(); at += kAtOnce) {
      erased += TRY(erase_some(entries.data() + at, std::min(kAtOnce, entries.size() - at)));
    }
    return erased;
  }

 private:
  // In one packet: the kernel answers with errors, and acknowledges the last.
  Result<std::size_t> erase_some(const Entry* entries, std::size_t count) {
    request_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      append_erase(entries[i], i + 1 == count ? NLM_F_ACK : 0, ++sequence_, request_);
    }
    const std::uint32_t last = sequence_;
    const auto first = static_cast<std::uint32_t>(last - count + 1);
    if (::send(erasing_.get(), request_.data(), request_.size(), 0) < 0) {
      return Error::from_errno("cannot ask to delete conntrack entries", errno);
    }
    std::size_t gone = 0;
    std::optional<Error> failed;
    bool ended = false;
    while (!ended) {
      TRY(read(erasing_, erase_buffer_, [&](const nlmsghdr* message) {
        const std::uint32_t index = message->nlmsg_seq - first;
        if (message->nlmsg_type != NLMSG_ERROR || index >= count) return;
        ended = ended || index + 1 == count;
        const int code = code_of(message);
        if (code == ENOENT) {
          ++gone;
        } else if (code != 0 && !failed) {
          failed = Error::from_errno(base::cat("delete conntrack entry ", to_string(entries[index])), code);
        }
      }));
    }
    if (failed) return *failed;
    return count - gone;
  }

  // One packet.
  template <typename Each>
  Status read(const base::Fd& socket, std::vector<std::uint8_t>& buffer, Each each) {
    ssize_t got = -1;
    do got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    while (got < 0 && errno == EINTR);
    if (got < 0) return Error::from_errno("cannot read conntrack answers", errno);
    auto left = static_cast<int>(got);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      each(message);
    }
    return {};
  }

  base::Fd listing_;
  base::Fd erasing_;  // another, because what is listed may be deleted meanwhile
  std::vector<std::uint8_t> request_;
  std::vector<std::uint8_t> list_buffer_ = std::vector<std::uint8_t>(kReceive);
  std::vector<std::uint8_t> erase_buffer_ = std::vector<std::uint8_t>(kReceive);
  std::uint32_t sequence_ = 0;
};

}  // namespace

Result<std::unique_ptr<Kernel>> open_netlink() {
  base::Fd listing = TRY(open_socket());
  base::Fd erasing = TRY(open_socket());
  return std::unique_ptr<Kernel>(std::make_unique<Netlink>(std::move(listing), std::move(erasing)));
}

}  // namespace fairlead::net::conntrack
