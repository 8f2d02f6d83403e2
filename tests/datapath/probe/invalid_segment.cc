#include "tests/datapath/probe/invalid_segment.h"

#include <arpa/inet.h>
#include <linux/tcp.h>

#include <cerrno>
#include <cstring>

#include "tests/datapath/probe/sockets.h"

namespace fairlead::testbed::probe {
namespace {

constexpr std::uint32_t kFarAhead = 500'000'000;  // bytes; a window has at most 2^30

Status set_option(int fd, int level, int option, int value, const char* what) {
  if (::setsockopt(fd, level, option, &value, sizeof value) != 0) return Error::from_errno(what, errno);
  return {};
}

Result<std::uint32_t> queue_sequence(int fd, int queue) {
  TRY(set_option(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue, "TCP_REPAIR_QUEUE"));
  std::uint32_t sequence = 0;
  socklen_t size = sizeof sequence;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &sequence, &size) != 0) {
    return Error::from_errno("TCP_QUEUE_SEQ", errno);
  }
  return sequence;
}

struct Sequences {
  std::uint32_t sent = 0;
  std::uint32_t received = 0;
};

Result<Sequences> sequences_of(int fd) {
  TRY(set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, "TCP_REPAIR"));
  const auto sent = queue_sequence(fd, TCP_SEND_QUEUE);
  const auto received = queue_sequence(fd, TCP_RECV_QUEUE);
  TRY(set_option(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP, "TCP_REPAIR"));
  return Sequences{TRY(sent), TRY(received)};
}

// RFC 1071 over RFC 9293's pseudo header and the segment.
std::uint16_t checksum(const SocketAddress& from, const SocketAddress& to, const tcphdr& header) {
  std::uint8_t bytes[12 + sizeof header]{};
  const std::uint32_t source = from.ip().v4_be();
  const std::uint32_t destination = to.ip().v4_be();
  std::memcpy(bytes, &source, 4);
  std::memcpy(bytes + 4, &destination, 4);
  bytes[9] = IPPROTO_TCP;
  bytes[11] = sizeof header;
  std::memcpy(bytes + 12, &header, sizeof header);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < sizeof bytes; i += 2) sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<std::uint16_t>(~sum));
}

}  // namespace

Status send_invalid_segment(int connection) {
  const Sequences sequences = TRY(sequences_of(connection));
  const SocketAddress local = local_address(connection);
  const SocketAddress peer = peer_address(connection);
  const SocketAddress from = socket_address(local.ip(), 0);
  const SocketAddress to = socket_address(peer.ip(), 0);
  base::Fd raw(::socket(from.storage.ss_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!raw) return Error::from_errno("raw socket", errno);
  if (::bind(raw.get(), from.raw(), from.size) != 0) return Error::from_errno("bind a raw socket", errno);
  tcphdr header{};
  header.source = htons(local.port());
  header.dest = htons(peer.port());
  header.seq = htonl(sequences.sent + kFarAhead);
  header.ack_seq = htonl(sequences.received);
  header.doff = sizeof header / 4;
  header.ack = 1;
  header.window = htons(1000);
  if (local.ip().is_v4()) {
    header.check = checksum(from, to, header);
  } else {
    TRY(set_option(raw.get(), IPPROTO_IPV6, IPV6_CHECKSUM, offsetof(tcphdr, check), "IPV6_CHECKSUM"));
  }
  if (::sendto(raw.get(), &header, sizeof header, 0, to.raw(), to.size) < 0) return Error::from_errno("sendto", errno);
  return {};
}

}  // namespace fairlead::testbed::probe
