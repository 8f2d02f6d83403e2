#include "net/nft/netlink.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>

#include "base/strings.h"
#include "net/nft/decode.h"
#include "net/nft/encode.h"
#include "net/nft/objects.h"

namespace fairlead::net::nft {
namespace {

constexpr std::size_t kReceive = 1U << 16;
constexpr int kMaxDumpAttempts = 5;
// Bytes of a batch, some hundred elements, from which on telling us of our own writes costs more than not listening.
constexpr std::size_t kLarge = 1U << 16;

class Socket {
 public:
  static Result<Socket> open() {
    Socket result;
    result.socket_ = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (result.socket_ == nullptr) return Error::from_errno("cannot open a netfilter netlink socket", errno);
    if (mnl_socket_bind(result.socket_, 0, MNL_SOCKET_AUTOPID) < 0) {
      return Error::from_errno("cannot bind a netfilter netlink socket", errno);
    }
    return result;
  }
  Socket(Socket&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(socket_, other.socket_);
    return *this;
  }
  ~Socket() {
    if (socket_ != nullptr) mnl_socket_close(socket_);
  }

  int fd() const { return mnl_socket_get_fd(socket_); }
  std::uint32_t port() const { return mnl_socket_get_portid(socket_); }
  // Without CAP_NET_ADMIN in the first user namespace the force is refused; then up to the system's limit.
  void buffer(int force, int plain, std::size_t size) const {
    const auto value = static_cast<int>(size);
    if (setsockopt(fd(), SOL_SOCKET, force, &value, sizeof value) < 0) {
      setsockopt(fd(), SOL_SOCKET, plain, &value, sizeof value);
    }
  }
  void enable(int netlink_option) const {
    const int on = 1;
    setsockopt(fd(), SOL_NETLINK, netlink_option, &on, sizeof on);
  }

 private:
  Socket() = default;
  mnl_socket* socket_ = nullptr;
};

// The offset of the offending attribute within the refused message (linux v6.1 net/netlink/af_netlink.c).
std::uint32_t offset_of(const nlmsghdr* message) {
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return 0;
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  std::size_t skip = sizeof *error;
  if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) skip += error->msg.nlmsg_len - sizeof(nlmsghdr);
  std::uint32_t offset = 0;
  auto visit = [](const nlattr* attr, void* data) {
    if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_OFFS) *static_cast<std::uint32_t*>(data) = mnl_attr_get_u32(attr);
    return MNL_CB_OK;
  };
  mnl_attr_parse(message, static_cast<unsigned>(skip), visit, &offset);
  return offset;
}

class Netlink final : public Kernel {
 public:
  Netlink(Socket request, Socket events) : request_(std::move(request)), events_(std::move(events)) {}

  Status prepare() {
    request_.enable(NETLINK_CAP_ACK);  // an error answer does not repeat 60 kB of elements
    request_.enable(NETLINK_EXT_ACK);
    request_.buffer(SO_RCVBUFFORCE, SO_RCVBUF, 1U << 21);
    events_.buffer(SO_RCVBUFFORCE, SO_RCVBUF, 1U << 21);
    TRY(ignore_own_commits());
    if (!listen(true)) return Error::from_errno("cannot hear of nftables changes", errno);
    return {};
  }

  std::optional<Refusal> commit(const Batch& batch) override { return commit_prepared(Encoded(*this, batch, true)); }
  std::optional<Refusal> check(const Batch& batch) override { return exchange(Encoded(*this, batch, false)); }

  std::unique_ptr<Prepared> prepare(Batch batch) override {
    return std::make_unique<Encoded>(*this, std::move(batch), true);
  }
  std::optional<Refusal> commit_prepared(const Prepared& prepared) override {
    const auto& encoded = static_cast<const Encoded&>(prepared);
    return encoded.bytes.size >= kLarge ? run_unheard(encoded) : exchange(encoded);
  }

  Result<std::optional<TableDump>> dump(const TableId& table) override {
    for (int attempt = 0; attempt < kMaxDumpAttempts; ++attempt) {
      TableDump out;
      const auto family = nfproto(table);
      Status found = request(NFT_MSG_GETTABLE, family, NLM_F_ACK, table.name, {},
                             [&](const nlmsghdr* m) { decode_table(m, out); });
      if (!found && found.error().errno_value() == ENOENT) return std::optional<TableDump>();
      if (found) found = dump_objects(table, out);
      if (found) return std::optional(std::move(out));
      if (found.error().errno_value() != EINTR) return found.error().with_context(table.to_string());
    }
    return Error(base::cat("table ", table.to_string(), " keeps changing while it is read"), EINTR);
  }

  Status dump_elements(const TableId& table, const std::string& set,
                       const std::function<void(const Element&)>& each) override {
    return request(NFT_MSG_GETSETELEM, nfproto(table), NLM_F_DUMP, table.name, set,
                   [&](const nlmsghdr* m) { decode_elements(m, each); });
  }
  Status dump_verdicts(const TableId& table, const std::string& set,
                       const std::function<void(const VerdictElement&)>& each) override {
    return request(NFT_MSG_GETSETELEM, nfproto(table), NLM_F_DUMP, table.name, set,
                   [&](const nlmsghdr* m) { decode_verdicts(m, each); });
  }

  Status find_elements(const TableId& table, const std::string& set, const std::vector<Element>& keys,
                       const std::function<void(const Element&)>& each) override {
    // Every element is answered by a packet of its own; the receive buffer holds this many (prepare()).
    constexpr std::size_t kAtOnce = 400;
    for (std::size_t at = 0; at < keys.size(); at += kAtOnce) {
      const std::size_t count = std::min(kAtOnce, keys.size() - at);
      const std::uint32_t number = take_numbers(1);
      const auto question = encode_question(table, set, keys.data() + at, count, number);
      if (send(request_.fd(), question.data(), question.size(), 0) < 0) {
        return Error::from_errno("cannot ask nftables", errno);
      }
      TRY(answers(number, [&](const nlmsghdr* m) { decode_elements(m, each); }));
    }
    return {};
  }

  int notification_fd() const override { return events_.fd(); }

  ForeignChanges read_notifications() override {
    ForeignChanges changes{.tables = {}, .lost = std::exchange(lost_, false)};
    // Bounded: whoever writes faster than this is met again at the next wake-up.
    for (int reads = 0; reads < 4096; ++reads) {
      const ssize_t got = recv(events_.fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == ENOBUFS) {
        changes.lost = true;
        continue;
      }
      if (got <= 0) break;
      auto left = static_cast<int>(got);
      for (auto* m = reinterpret_cast<const nlmsghdr*>(buffer_.data()); mnl_nlmsg_ok(m, left);
           m = mnl_nlmsg_next(m, &left)) {
        if (m->nlmsg_pid == request_.port()) continue;
        if (auto table = table_of_notification(m)) changes.tables.insert(std::move(*table));
      }
    }
    return changes;
  }

 private:
  struct Encoded final : Prepared {
    Encoded(Netlink& kernel, Batch of, bool commit)
        : Prepared(std::move(of)),
          // A message for each write at most; the batch's beginning and end have numbers too.
          first(kernel.take_numbers(static_cast<std::uint32_t>(count_writes(batch)) + 2) + 1),
          bytes(encode(batch, first, commit)) {}
    std::uint32_t first;  // number of the first message behind the beginning
    EncodedBatch bytes;
  };

  // The first of so many numbers that no other message has.
  std::uint32_t take_numbers(std::uint32_t count) { return next_number_.fetch_add(count); }

  bool listen(bool on) const {
    const int group = NFNLGRP_NFTABLES;
    const int option = on ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP;
    return setsockopt(events_.fd(), SOL_NETLINK, option, &group, sizeof group) == 0;
  }

  // Every transaction in this namespace, whoever makes it, takes the next number.
  std::optional<std::uint32_t> generation() {
    std::optional<std::uint32_t> out;
    const Status asked =
        request(NFT_MSG_GETGEN, AF_UNSPEC, NLM_F_ACK, {}, {}, [&](const nlmsghdr* m) { out = decode_generation(m); });
    return asked ? out : std::nullopt;
  }

  // The filter of ignore_own_commits() looks at messages that are made already, one for each element: a third of what
  // a large transaction costs. So nobody listens to it, and the generations tell whether anybody else's went by.
  std::optional<Refusal> run_unheard(const Encoded& encoded) {
    const auto before = generation();
    listen(false);
    auto refusal = exchange(encoded);
    const bool listening = listen(true);
    const auto after = generation();
    if (!listening || !before || !after || *after - *before != (refusal ? 0 : 1)) remember_loss();
    return refusal;
  }

  // read_notifications() will tell, and whoever waits for the descriptor wakes up. It may not block: a socket too full
  // for one more message is readable.
  void remember_loss() {
    lost_ = true;
    const nlmsghdr wake{.nlmsg_len = sizeof(nlmsghdr),
                        .nlmsg_type = NLMSG_NOOP,
                        .nlmsg_flags = 0,
                        .nlmsg_seq = 0,
                        .nlmsg_pid = events_.port()};
    sockaddr_nl to{};
    to.nl_family = AF_NETLINK;
    to.nl_pid = events_.port();
    (void)sendto(events_.fd(), &wake, sizeof wake, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }

  // The kernel tells every listener of every element. A packet of notifications comes from one transaction and each
  // message carries the writer's port (linux v6.1 net/netfilter/nf_tables_api.c nft_commit_notify), so looking at the
  // first one drops our own before they are queued.
  Status ignore_own_commits() {
    const sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(nlmsghdr, nlmsg_pid)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(request_.port()), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    };
    const sock_fprog program{.len = 4, .filter = const_cast<sock_filter*>(code)};
    if (setsockopt(events_.fd(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) {
      return Error::from_errno("cannot filter nftables notifications", errno);
    }
    return {};
  }

  std::optional<Refusal> exchange(const Encoded& encoded) {
    if (encoded.batch.empty()) return std::nullopt;
    if (encoded.bytes.size > send_buffer_) {
      send_buffer_ = encoded.bytes.size + encoded.bytes.size / 8;
      request_.buffer(SO_SNDBUFFORCE, SO_SNDBUF, send_buffer_);
    }
    sockaddr_nl to{};
    to.nl_family = AF_NETLINK;
    const ssize_t sent = sendto(request_.fd(), encoded.bytes.bytes.get(), encoded.bytes.size, 0,
                                reinterpret_cast<const sockaddr*>(&to), sizeof to);
    if (sent < 0) return Refusal{Error::from_errno("cannot send an nftables batch", errno), {}, {}};
    return outcome(encoded);
  }

  // The kernel has answered everything by now: errors in order of the messages, and the last one's acknowledgement.
  std::optional<Refusal> outcome(const Encoded& encoded) {
    std::optional<Refusal> refusal;
    bool acknowledged = false;
    for (;;) {
      const ssize_t got = recv(request_.fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == ENOBUFS) continue;  // later errors were lost; the first ones are still to be read
      if (got <= 0) break;
      auto left = static_cast<int>(got);
      for (auto* m = reinterpret_cast<const nlmsghdr*>(buffer_.data()); mnl_nlmsg_ok(m, left);
           m = mnl_nlmsg_next(m, &left)) {
        if (m->nlmsg_type != NLMSG_ERROR) continue;
        const int code = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(m))->error;
        const std::uint32_t index = m->nlmsg_seq - encoded.first;
        if (code == 0) {
          acknowledged = acknowledged || index + 1 == encoded.bytes.messages.size();
        } else if (!refusal) {
          refusal = describe_refusal(encoded.batch, encoded.bytes, index, code, offset_of(m));
        }
      }
    }
    if (!refusal && !acknowledged) {
      refusal = Refusal{Error("the kernel did not acknowledge an nftables batch", EPROTO), {}, {}};
    }
    return refusal;
  }

  static Refusal describe_refusal(const Batch& batch, const EncodedBatch& encoded, std::uint32_t index, int code,
                                  std::uint32_t offset) {
    if (index >= encoded.messages.size()) return {Error::from_errno("nftables batch", code), {}, {}};
    const std::size_t command = encoded.messages[index].command;
    return {Error::from_errno(describe(batch[command]), code), command, encoded.element_at(index, offset)};
  }

  Status dump_objects(const TableId& table, TableDump& out) {
    const auto family = nfproto(table);
    out.chains.clear();
    TRY(request(NFT_MSG_GETCHAIN, family, NLM_F_DUMP, {}, {}, [&](const nlmsghdr* m) { decode_chain(m, table, out); }));
    TRY(request(NFT_MSG_GETRULE, family, NLM_F_DUMP, table.name, {},
                [&](const nlmsghdr* m) { decode_rule(m, table, out); }));
    return request(NFT_MSG_GETSET, family, NLM_F_DUMP, table.name, {},
                   [&](const nlmsghdr* m) { decode_set(m, table, out); });
  }

  // One question. The first two attributes of every question are the table and the object's name.
  Status request(std::uint16_t type, std::uint8_t family, std::uint16_t flags, const std::string& table,
                 const std::string& name, const std::function<void(const nlmsghdr*)>& each) {
    std::array<char, 1024> question{};
    const std::uint32_t number = take_numbers(1);
    nlmsghdr* header = nftnl_nlmsg_build_hdr(question.data(), type, family, flags, number);
    if (!table.empty()) mnl_attr_put_strz(header, 1, table.c_str());
    if (!name.empty()) mnl_attr_put_strz(header, 2, name.c_str());
    if (send(request_.fd(), header, header->nlmsg_len, 0) < 0) return Error::from_errno("cannot ask nftables", errno);
    return answers(number, each);
  }

  // To the question of that number, up to its end.
  Status answers(std::uint32_t number, const std::function<void(const nlmsghdr*)>& each) {
    bool interrupted = false;
    for (;;) {
      const ssize_t got = recv(request_.fd(), buffer_.data(), buffer_.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Error::from_errno("cannot read nftables", errno);
      auto left = static_cast<int>(got);
      for (auto* m = reinterpret_cast<const nlmsghdr*>(buffer_.data()); mnl_nlmsg_ok(m, left);
           m = mnl_nlmsg_next(m, &left)) {
        if (m->nlmsg_seq != number) continue;
        interrupted = interrupted || (m->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (m->nlmsg_type == NLMSG_ERROR) {
          const int code = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(m))->error;
          if (code != 0) return Error::from_errno("nftables", code);
          return {};
        }
        if (m->nlmsg_type == NLMSG_DONE) {
          if (interrupted) return Error::from_errno("nftables changed while it was read", EINTR);
          return {};
        }
        each(m);
      }
    }
  }

  Socket request_;
  Socket events_;
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(kReceive);
  std::atomic<std::uint32_t> next_number_ = 1;  // prepare() may be called beside another call
  std::size_t send_buffer_ = 0;
  bool lost_ = false;  // something may have happened while nobody listened
};

}  // namespace

Result<std::unique_ptr<Kernel>> open_netlink() {
  Socket request = TRY(Socket::open());
  Socket events = TRY(Socket::open());
  auto netlink = std::make_unique<Netlink>(std::move(request), std::move(events));
  TRY(netlink->prepare());
  return std::unique_ptr<Kernel>(std::move(netlink));
}

}  // namespace fairlead::net::nft
