#include "tests/datapath/probe/serve.h"

#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "base/strings.h"
#include "tests/datapath/probe/invalid_segment.h"
#include "tests/datapath/probe/sockets.h"

namespace fairlead::testbed::probe {
namespace {

using base::cat;

constexpr std::uint64_t kLargestTransfer = 64ULL << 20;

std::string answer(const std::string& name, const SocketAddress& peer, const net::Ip& local, std::uint16_t port) {
  return cat(name, " ", peer.ip().to_string(), " ", peer.port(), " ", local.to_string(), " ", port, "\n");
}

class Stream {
 public:
  Stream(std::string name, base::Fd fd) : name_(std::move(name)), fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }
  bool wants_to_write() const { return !out_.empty(); }

  // False: the connection is over.
  bool on_ready() {
    char buffer[65536];
    for (;;) {
      const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
      if (n < 0) break;
      if (!take(std::string_view(buffer, static_cast<std::size_t>(n)))) return false;
    }
    while (!out_.empty()) {
      const ssize_t n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN;
      out_.erase(0, static_cast<std::size_t>(n));
    }
    return true;
  }

 private:
  bool take(std::string_view data) {
    while (!data.empty()) {
      if (expected_ > 0) {
        const std::size_t size = std::min<std::uint64_t>(expected_, data.size());
        for (const char byte : data.substr(0, size)) intact_ = payload_byte(taken_++) == byte && intact_;
        expected_ -= size;
        data.remove_prefix(size);
        if (expected_ == 0) out_ += intact_ ? "intact\n" : "corrupt\n";
        continue;
      }
      const auto end = data.find('\n');
      line_.append(data.substr(0, end));
      if (line_.size() > 1000) return false;
      if (end == data.npos) return true;
      data.remove_prefix(end + 1);
      if (!obey(std::exchange(line_, {}))) return false;
    }
    return true;
  }

  bool obey(const std::string& line) {
    if (line == "who") {
      const SocketAddress local = local_address(fd_.get());
      out_ += answer(name_, peer_address(fd_.get()), local.ip(), local.port());
      return true;
    }
    if (line == "invalid") {
      const Status sent = send_invalid_segment(fd_.get());
      out_ += sent ? "sent\n" : cat(sent.error().message(), "\n");
      return true;
    }
    const auto number = line.size() > 5 ? base::parse_number<std::uint64_t>(line.substr(5)) : std::nullopt;
    if (!number || *number > kLargestTransfer) return false;
    if (line.substr(0, 5) == "take ") {
      expected_ = *number;
      taken_ = 0;
      intact_ = true;
      return true;
    }
    if (line.substr(0, 5) != "give ") return false;
    for (std::uint64_t i = 0; i < *number; ++i) out_.push_back(payload_byte(i));
    return true;
  }

  std::string name_;
  base::Fd fd_;
  std::string line_;
  std::string out_;
  std::uint64_t expected_ = 0;
  std::uint64_t taken_ = 0;
  bool intact_ = true;
};

// Answers from the address the datagram was sent to, so that a server on a node with many addresses is heard.
void answer_datagrams(const std::string& name, int fd) {
  char buffer[65536];
  char control[256];
  for (;;) {
    SocketAddress peer;
    iovec data{buffer, sizeof buffer};
    msghdr message{};
    message.msg_name = peer.raw();
    message.msg_namelen = peer.size;
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = ::recvmsg(fd, &message, 0);
    if (n < 0) {
      if (errno == EAGAIN) return;
      continue;  // an ICMP error of an earlier answer
    }
    net::Ip local;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
        auto* info = reinterpret_cast<in6_pktinfo*>(CMSG_DATA(part));
        info->ipi6_ifindex = 0;  // the route decides where the answer goes out
        std::array<std::uint8_t, 16> bytes{};
        std::memcpy(bytes.data(), &info->ipi6_addr, bytes.size());
        local = net::Ip::from_bytes(bytes);
      }
    }
    std::string reply = answer(name, peer, local, local_address(fd).port());
    reply.resize(std::max(reply.size(), static_cast<std::size_t>(n)), ' ');
    data = {reply.data(), reply.size()};
    ::sendmsg(fd, &message, MSG_NOSIGNAL);
  }
}

Result<base::Fd> listen_at(const Target& at) {
  // AF_INET6 sockets take both families unless bound to an address of one.
  base::Fd fd = TRY(open_socket(AF_INET6, at.transport));
  const int one = 1;
  const int zero = 0;
  ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (at.transport == Transport::Udp) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
  const SocketAddress address = socket_address(at.ip, at.port, Form::Mapped);
  if (::bind(fd.get(), address.raw(), address.size) != 0) return Error::from_errno(cat("bind ", at.to_string()), errno);
  if (at.transport != Transport::Udp && ::listen(fd.get(), 4096) != 0) {
    return Error::from_errno(cat("listen ", at.to_string()), errno);
  }
  return fd;
}

class Server {
 public:
  explicit Server(std::string name) : name_(std::move(name)) {}

  Status add(const Target& at) {
    if (!epoll_) epoll_ = base::Fd(::epoll_create1(EPOLL_CLOEXEC));
    base::Fd fd = TRY(listen_at(at));
    TRY(watch(fd.get(), EPOLL_CTL_ADD, EPOLLIN));
    const int number = fd.get();
    listeners_.emplace(number, std::make_pair(at.transport, std::move(fd)));
    return {};
  }

  Error run() {
    for (;;) {
      epoll_event events[64];
      const int n = ::epoll_wait(epoll_.get(), events, 64, -1);
      if (n < 0 && errno != EINTR) return Error::from_errno("epoll_wait", errno);
      for (int i = 0; i < n; ++i) dispatch(events[i].data.fd);
    }
  }

 private:
  Status watch(int fd, int operation, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) return Error::from_errno("epoll_ctl", errno);
    return {};
  }

  void dispatch(int fd) {
    if (const auto listener = listeners_.find(fd); listener != listeners_.end()) {
      if (listener->second.first == Transport::Udp) {
        answer_datagrams(name_, fd);
      } else {
        accept_all(fd);
      }
      return;
    }
    const auto stream = streams_.find(fd);
    if (stream == streams_.end()) return;
    if (!stream->second.on_ready()) {
      streams_.erase(stream);
      return;
    }
    const std::uint32_t events = stream->second.wants_to_write() ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (!watch(fd, EPOLL_CTL_MOD, events)) streams_.erase(stream);
  }

  void accept_all(int listener) {
    for (;;) {
      base::Fd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      const int number = fd.get();
      if (watch(number, EPOLL_CTL_ADD, EPOLLIN)) streams_.insert_or_assign(number, Stream(name_, std::move(fd)));
    }
  }

  std::string name_;
  base::Fd epoll_;
  std::map<int, std::pair<Transport, base::Fd>> listeners_;
  std::map<int, Stream> streams_;
};

}  // namespace

Error serve(const std::string& name, const std::vector<Target>& listeners, const std::function<void()>& ready) {
  Server server(name);
  for (const Target& at : listeners) {
    if (Status added = server.add(at); !added) return std::move(added).error();
  }
  ready();
  return server.run();
}

}  // namespace fairlead::testbed::probe
