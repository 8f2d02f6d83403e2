#include "net/nft/client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "base/beside.h"
#include "base/strings.h"
#include "net/nft/encode.h"
#include "net/nft/objects.h"

namespace fairlead::net::nft {
namespace {

std::string_view attributes_of(std::string_view body) {
  return body.size() < sizeof(nfgenmsg) ? std::string_view() : body.substr(sizeof(nfgenmsg));
}

std::string text_in(std::string_view attributes, std::uint16_t type) {
  std::string_view text = netlink_attribute(attributes, type);
  if (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  return std::string(text);
}

template <std::size_t N>
bool copy_value(std::string_view nest, std::array<std::uint8_t, N>& to, std::uint8_t& size) {
  const std::string_view value = netlink_attribute(nest, NFTA_DATA_VALUE);
  if (value.size() > N) return false;
  value.copy(reinterpret_cast<char*>(to.data()), N);
  size = static_cast<std::uint8_t>(value.size());
  return true;
}

void read_elements(std::string_view body, std::vector<NotedElement>& into) {
  const std::string_view list = netlink_attribute(attributes_of(body), NFTA_SET_ELEM_LIST_ELEMENTS);
  for_each_netlink_attribute(list, [&](std::uint16_t, std::string_view nest) {
    NotedElement noted;
    Element& e = noted.element;
    if (!copy_value(netlink_attribute(nest, NFTA_SET_ELEM_KEY), e.key, e.key_size)) return;
    if (!copy_value(netlink_attribute(nest, NFTA_SET_ELEM_DATA), e.data, e.data_size)) return;
    noted.comment = comment_in(netlink_attribute(nest, NFTA_SET_ELEM_USERDATA));
    into.push_back(std::move(noted));
  });
}

// The kernel goes on with a dump where it stopped by number. So when the hash is copied into a larger or smaller one
// meanwhile, which starts no generation, elements are told twice, or not at all (linux v6.18 net/netfilter/nft_set_hash.c
// nft_rhash_walk). What is told in one part is complete; of more parts, two dumps have to agree.
constexpr int kMaxDumps = 16;

struct Dump {
  std::vector<NotedElement> elements;  // in order, each once
  bool twice = false;                  // one was told twice
  std::size_t parts = 0;               // messages with elements in them
  std::set<std::uint16_t> generations{};
};

Dump read_dump(const std::vector<std::string>& bodies) {
  Dump dump;
  for (const std::string& body : bodies) {
    const std::size_t before = dump.elements.size();
    read_elements(body, dump.elements);
    if (dump.elements.size() != before) ++dump.parts;
    dump.generations.insert(netlink_value<nfgenmsg>(body).res_id);
  }
  const auto by_key = [](const NotedElement& a, const NotedElement& b) { return a.element < b.element; };
  std::sort(dump.elements.begin(), dump.elements.end(), by_key);
  const auto end = std::unique(dump.elements.begin(), dump.elements.end());
  dump.twice = end != dump.elements.end();
  dump.elements.erase(end, dump.elements.end());
  return dump;
}

bool missing(const Error& error) { return error.errno_value() == ENOENT; }

// The answers to a batch, which are all there when its send returns: the first refusal, or the last message's
// acknowledgement.
Status read_outcome(int fd, const Batch& batch, const EncodedBatch& encoded, std::uint32_t first) {
  std::array<char, 8192> buffer;
  std::optional<Error> refusal;
  bool acknowledged = false;
  for (;;) {
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (got <= 0) break;
    std::string_view rest(buffer.data(), static_cast<std::size_t>(got));
    while (rest.size() >= sizeof(nlmsghdr)) {
      const auto header = netlink_value<nlmsghdr>(rest);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) break;
      const int code = -netlink_value<int>(rest.substr(sizeof header));
      const std::uint32_t index = header.nlmsg_seq - first;
      rest.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
      if (header.nlmsg_type != NLMSG_ERROR) continue;
      if (code == 0) {
        acknowledged = acknowledged || index + 1 == encoded.messages.size();
      } else if (!refusal) {
        const bool known = index < encoded.messages.size();
        refusal = Error::from_errno(known ? describe(batch[encoded.messages[index].command]) : "nftables batch", code);
      }
    }
  }
  if (refusal) return *std::move(refusal);
  if (!acknowledged) return Error("the kernel did not acknowledge an nftables batch", EPROTO);
  return {};
}

// A message larger than the send buffer is refused as a whole (linux v6.1 net/netlink/af_netlink.c netlink_sendmsg). An
// unprivileged one may grow to net.core.wmem_max only.
void make_room(int fd, std::size_t bytes) {
  constexpr std::size_t kOverhead = 1024;
  int has = 0;
  socklen_t size = sizeof has;
  if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &has, &size) != 0) return;
  if (bytes + kOverhead <= static_cast<std::size_t>(has)) return;
  const int needed = static_cast<int>(bytes + kOverhead);
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &needed, sizeof needed) == 0) return;
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &needed, sizeof needed);
}

// In the child. The kernel waits with everybody's commits locked out. So two grace periods pass here first, in which
// its own ends.
void close_later(const base::Errand& errand) {
  char nothing = 0;
  while (::read(errand.descriptors[1], &nothing, 1) < 0 && errno == EINTR) {
  }
  for (int i = 0; i < 2; ++i) ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

}  // namespace

Result<Client> Client::open() { return Client(TRY(NetlinkSocket::open(NETLINK_NETFILTER))); }

Result<std::uint32_t> Client::generation() {
  const auto bodies = TRY_CONTEXT(socket_.ask(table_message(NFT_MSG_GETGEN, 0, {})), "nftables generation");
  if (bodies.empty()) return Error("the kernel did not tell the nftables generation", EPROTO);
  return ntohl(netlink_value<std::uint32_t>(netlink_attribute(attributes_of(bodies[0]), NFTA_GEN_ID)));
}

Result<bool> Client::has_chain(const TableId& table, const std::string& chain) {
  NetlinkMessage question = table_message(NFT_MSG_GETCHAIN, 0, table);
  question.text(NFTA_CHAIN_TABLE, table.name).text(NFTA_CHAIN_NAME, chain);
  const auto bodies = socket_.ask(question);
  if (bodies) return true;
  if (missing(bodies.error())) return false;
  return bodies.error().with_context(base::cat("chain ", table.to_string(), " ", chain));
}

Result<std::vector<DumpedRule>> Client::rules(const TableId& table, const std::string& chain) {
  NetlinkMessage question = table_message(NFT_MSG_GETRULE, NLM_F_DUMP, table);
  question.text(NFTA_RULE_TABLE, table.name);
  if (!chain.empty()) question.text(NFTA_RULE_CHAIN, chain);
  std::vector<DumpedRule> rules;
  const auto bodies = socket_.ask(question);
  if (!bodies && missing(bodies.error())) return rules;
  if (!bodies) return bodies.error().with_context(base::cat("rules of ", table.to_string()));
  for (const std::string& body : *bodies) {
    const std::string_view attributes = attributes_of(body);
    if (text_in(attributes, NFTA_RULE_TABLE) != table.name) continue;
    rules.push_back({.chain = text_in(attributes, NFTA_RULE_CHAIN),
                     .comment = comment_in(netlink_attribute(attributes, NFTA_RULE_USERDATA))});
  }
  return rules;
}

Result<std::vector<NotedElement>> Client::elements(const TableId& table, const std::string& set) {
  NetlinkMessage question = table_message(NFT_MSG_GETSETELEM, NLM_F_DUMP, table);
  question.text(NFTA_SET_ELEM_LIST_TABLE, table.name).text(NFTA_SET_ELEM_LIST_SET, set);
  std::optional<Dump> last;
  for (int attempt = 0; attempt < kMaxDumps; ++attempt) {
    const auto bodies = socket_.ask(question);
    if (!bodies && missing(bodies.error())) return std::vector<NotedElement>();
    if (!bodies) return bodies.error().with_context(base::cat("elements of ", table.to_string(), " ", set));
    Dump dump = read_dump(*bodies);
    // By somebody's commit: then ours is refused, if there is one.
    const bool changed = dump.generations.size() > 1 || (last && dump.generations != last->generations);
    if (dump.parts <= 1 || changed || (last && !dump.twice && dump.elements == last->elements)) return dump.elements;
    last = std::move(dump);
  }
  return Error(base::cat("elements of ", table.to_string(), " ", set, ": no two dumps agree"), EAGAIN);
}

Result<std::optional<NotedElement>> Client::find(const TableId& table, const std::string& set, const Element& key) {
  NetlinkMessage question = table_message(NFT_MSG_GETSETELEM, 0, table);
  question.text(NFTA_SET_ELEM_LIST_TABLE, table.name).text(NFTA_SET_ELEM_LIST_SET, set);
  question.nest(NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED, [&](NetlinkMessage& list) {
    list.nest(NFTA_LIST_ELEM | NLA_F_NESTED, [&](NetlinkMessage& element) {
      element.nest(NFTA_SET_ELEM_KEY | NLA_F_NESTED,
                   [&](NetlinkMessage& value) { value.attribute(NFTA_DATA_VALUE, key.key_view()); });
    });
  });
  const auto bodies = socket_.ask(question);
  if (!bodies && missing(bodies.error())) return std::optional<NotedElement>();
  if (!bodies) return bodies.error().with_context(base::cat("an element of ", table.to_string(), " ", set));
  std::vector<NotedElement> found;
  for (const std::string& body : *bodies) read_elements(body, found);
  if (found.empty()) return std::optional<NotedElement>();
  return std::optional(std::move(found.front()));
}

Status Client::still(std::uint32_t generation) {
  if (TRY(this->generation()) != generation) return Error("nftables has changed", ERESTART);
  return {};
}

Status Client::commit(const Batch& batch, std::uint32_t generation) {
  if (batch.empty()) return generation == 0 ? Status() : still(generation);
  const std::uint32_t first = sequence_ + 1;
  const EncodedBatch encoded = encode(batch, first, true, generation);
  sequence_ = first + static_cast<std::uint32_t>(encoded.messages.size());
  make_room(socket_.fd(), encoded.size);
  if (::send(socket_.fd(), encoded.bytes.get(), encoded.size, 0) < 0) {
    return Error::from_errno("cannot send an nftables batch", errno);
  }
  return read_outcome(socket_.fd(), batch, encoded, first);
}

void close_elsewhere(NetlinkSocket socket) {
  int gone[2] = {-1, -1};
  if (::pipe2(gone, O_CLOEXEC) != 0) return;
  const base::Fd waits(gone[0]);
  const base::Fd tells(gone[1]);  // closed behind our side of the socket, which lets the child go on to its own
  const NetlinkSocket ours = std::move(socket);
  base::start_beside(close_later, {.descriptors = {ours.fd(), waits.get()}});  // without a child we wait ourselves
}

}  // namespace fairlead::net::nft
