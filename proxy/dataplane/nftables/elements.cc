#include "proxy/dataplane/nftables/elements.h"

#include <array>
#include <cstring>
#include <utility>

#include "net/nft/match.h"
#include "proxy/dataplane/nftables/codes.h"

namespace fairlead::proxy::dataplane::nftables {
namespace {

using net::Family;
using nft::DataType;

// A service has at most this many endpoints; an element beyond was not written by us.
constexpr std::uint32_t kMaxIndex = 1U << 20;

using nft::match::address_size;
std::uint8_t bits_of(Family family) { return family == Family::V4 ? 32 : 128; }

// Writes fields one after the other, each padded to a register.
class Writer {
 public:
  explicit Writer(std::uint8_t* at) : start_(at), at_(at) {}
  Writer& address(Family family, const net::Ip& ip) {
    const std::uint32_t size = address_size(family);
    std::memcpy(at_, ip.bytes().data() + (16 - size), size);
    at_ += size;
    return *this;
  }
  Writer& frontend(const FrontendKey& f) {
    if (f.node_port) {
      at_ += address_size(f.family);
    } else {
      address(f.family, f.address);
    }
    return service(f);
  }
  Writer& service(const FrontendKey& f) {
    *at_ = static_cast<std::uint8_t>(f.protocol);
    at_ += 4;
    return port(f.port);
  }
  Writer& port(std::uint16_t p) {
    at_[0] = static_cast<std::uint8_t>(p >> 8);
    at_[1] = static_cast<std::uint8_t>(p);
    at_ += 4;
    return *this;
  }
  Writer& number(std::uint32_t n) {
    std::memcpy(at_, &n, sizeof n);
    at_ += 4;
    return *this;
  }
  std::uint8_t size() const { return static_cast<std::uint8_t>(at_ - start_); }

 private:
  std::uint8_t* start_;
  std::uint8_t* at_;
};

class Reader {
 public:
  explicit Reader(const std::uint8_t* at) : at_(at) {}
  net::Ip address(Family family) {
    const std::uint8_t* from = std::exchange(at_, at_ + address_size(family));
    if (family == Family::V4) return net::Ip::v4(from[0], from[1], from[2], from[3]);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), from, bytes.size());
    return net::Ip::from_bytes(bytes);
  }
  FrontendKey frontend(Family family) {
    FrontendKey out;
    out.family = family;
    const net::Ip ip = address(family);
    // 0.0.0.0 and :: alike stand for "any address of this node".
    out.node_port = ip.is_unspecified();
    if (!out.node_port) out.address = ip;
    service(out);
    return out;
  }
  void service(FrontendKey& out) {
    out.protocol = static_cast<model::Protocol>(*std::exchange(at_, at_ + 4));
    out.port = port();
  }
  std::uint16_t port() {
    const std::uint8_t* from = std::exchange(at_, at_ + 4);
    return static_cast<std::uint16_t>(from[0] << 8 | from[1]);
  }
  std::uint32_t number() {
    std::uint32_t n = 0;
    std::memcpy(&n, std::exchange(at_, at_ + 4), sizeof n);
    return n;
  }

 private:
  const std::uint8_t* at_;
};

template <typename Write>
nft::Element with_key(const Write& write) {
  nft::Element e;
  Writer key(e.key.data());
  write(key);
  e.key_size = key.size();
  return e;
}

void put_number(nft::Element& e, std::optional<std::uint32_t> value) {
  if (value) e.data_size = Writer(e.data.data()).number(*value).size();
}
void put_target(nft::Element& e, Family family, const Slot* slot) {
  if (slot != nullptr) e.data_size = Writer(e.data.data()).address(family, slot->address).port(slot->port).size();
}

bool has_key_of(SetId set, Family family, const nft::Element& element) {
  return element.key_size == nft::size_of(key_of(set, family));
}

}  // namespace

const char* name_of(SetId set) {
  switch (set) {
    case SetId::Services: return "services";
    case SetId::NodePorts: return "nodeports";
    case SetId::Externals: return "externals";
    case SetId::Endpoints: return "endpoints";
    case SetId::Sessions: return "sessions";
    case SetId::Shares: return "shares";
    case SetId::Choices: return "choices";
    case SetId::Members: return "members";
    case SetId::Restricted: return "restricted";
    case SetId::Ranges: return "ranges";
    case SetId::Hairpin: return "hairpin";
    case SetId::ClusterIps: return "cluster_ips";
  }
  return "?";
}

std::vector<DataType> key_of(SetId set, Family family) {
  const DataType address = family == Family::V4 ? DataType::Ipv4 : DataType::Ipv6;
  switch (set) {
    case SetId::Services:
    case SetId::Externals:
    case SetId::Sessions:
    case SetId::Restricted: return {address, DataType::Protocol, DataType::Service};
    case SetId::NodePorts: return {DataType::Protocol, DataType::Service};
    case SetId::Endpoints: return {address, DataType::Protocol, DataType::Service, DataType::Mark};
    case SetId::Shares:
    case SetId::Members: return {DataType::Mark};
    case SetId::Choices: return {DataType::Mark, DataType::Mark};
    case SetId::Ranges: return {address, DataType::Protocol, DataType::Service, address, DataType::Mark};
    case SetId::Hairpin: return {address, address};
    case SetId::ClusterIps: return {address};
  }
  return {};
}

std::vector<DataType> data_of(SetId set, Family family) {
  switch (set) {
    case SetId::Services:
    case SetId::NodePorts:
    case SetId::Externals:
    case SetId::Sessions:
    case SetId::Shares:
    case SetId::Choices: return {DataType::Mark};
    case SetId::Endpoints:
    case SetId::Members: return {family == Family::V4 ? DataType::Ipv4 : DataType::Ipv6, DataType::Service};
    case SetId::Restricted:
    case SetId::Ranges:
    case SetId::Hairpin:
    case SetId::ClusterIps: break;
  }
  return {};
}

nft::Element frontend_element(SetId set, const FrontendKey& frontend, std::optional<std::uint32_t> value) {
  nft::Element e = with_key([&](Writer& key) {
    if (set == SetId::NodePorts) {
      key.service(frontend);
    } else {
      key.frontend(frontend);
    }
  });
  put_number(e, value);
  return e;
}

nft::Element endpoint_element(const FrontendKey& frontend, bool local_pool, std::uint32_t index, const Slot* slot) {
  nft::Element e =
      with_key([&](Writer& key) { key.frontend(frontend).number(index + (local_pool ? kLocalSlots : 0)); });
  put_target(e, frontend.family, slot);
  return e;
}

nft::Element share_element(std::uint32_t pool, std::optional<std::uint32_t> value) {
  nft::Element e = with_key([&](Writer& key) { key.number(pool); });
  put_number(e, value);
  return e;
}

nft::Element choice_element(std::uint32_t pool, std::uint32_t index, std::optional<std::uint32_t> member) {
  nft::Element e = with_key([&](Writer& key) { key.number(pool).number(index); });
  put_number(e, member);
  return e;
}

nft::Element member_element(Family family, std::uint32_t member, const Slot* slot) {
  nft::Element e = with_key([&](Writer& key) { key.number(member); });
  put_target(e, family, slot);
  return e;
}

nft::Element range_element(const FrontendKey& frontend, const net::Prefix& range) {
  return with_key(
      [&](Writer& key) { key.frontend(frontend).address(frontend.family, range.address).number(range.length); });
}

nft::Element address_element(SetId set, const net::Ip& address) {
  return with_key([&](Writer& key) {
    key.address(address.family(), address);
    if (set == SetId::Hairpin) key.address(address.family(), address);
  });
}

std::optional<FrontendKey> parse_frontend(Family family, SetId set, const nft::Element& element) {
  if (!has_key_of(set, family, element)) return std::nullopt;
  Reader key(element.key.data());
  if (set != SetId::NodePorts) return key.frontend(family);
  FrontendKey out;
  out.family = family;
  out.node_port = true;
  key.service(out);
  return out;
}

std::uint32_t parse_value(const nft::Element& element) { return Reader(element.data.data()).number(); }

std::optional<ParsedEndpoint> parse_endpoint(Family family, const nft::Element& element) {
  if (!has_key_of(SetId::Endpoints, family, element)) return std::nullopt;
  Reader key(element.key.data());
  ParsedEndpoint out;
  out.frontend = key.frontend(family);
  out.index = key.number();
  out.local_pool = out.index >= kLocalSlots;
  if (out.local_pool) out.index -= kLocalSlots;
  if (out.index >= kMaxIndex) return std::nullopt;
  if (element.data_size == 0) return out;
  const auto slot = parse_target(family, element);
  if (!slot) return std::nullopt;
  out.slot = *slot;
  return out;
}

std::optional<Slot> parse_target(Family family, const nft::Element& element) {
  if (element.data_size != nft::size_of(data_of(SetId::Endpoints, family))) return std::nullopt;
  Reader data(element.data.data());
  Slot slot;
  slot.address = data.address(family);
  slot.port = data.port();
  return slot.empty() ? std::nullopt : std::optional(slot);
}

std::optional<std::uint32_t> parse_share(const nft::Element& element) {
  if (element.key_size != 4) return std::nullopt;
  const std::uint32_t pool = Reader(element.key.data()).number();
  return (pool & kGroupMask) != 0 && (pool & kNumber) == 0 ? std::optional(pool) : std::nullopt;
}

std::optional<ParsedChoice> parse_choice(const nft::Element& element) {
  if (element.key_size != 8) return std::nullopt;
  Reader key(element.key.data());
  ParsedChoice out;
  out.pool = key.number();
  out.index = key.number();
  const bool fits = (out.pool & kGroupMask) != 0 && (out.pool & kNumber) == 0 && out.index < kNumber;
  return fits ? std::optional(out) : std::nullopt;
}

std::optional<std::uint32_t> parse_member(const nft::Element& element) {
  if (element.key_size != 4) return std::nullopt;
  const std::uint32_t member = Reader(element.key.data()).number();
  return (member & kGroupMask) != 0 && (member & kNumber) != 0 ? std::optional(member) : std::nullopt;
}

std::optional<std::pair<FrontendKey, net::Prefix>> parse_range(Family family, const nft::Element& element) {
  if (!has_key_of(SetId::Ranges, family, element)) return std::nullopt;
  Reader key(element.key.data());
  const FrontendKey frontend = key.frontend(family);
  const net::Ip address = key.address(family);
  const std::uint32_t length = key.number();
  if (length > bits_of(family)) return std::nullopt;
  return std::pair(frontend, net::Prefix{address, static_cast<std::uint8_t>(length)});
}

std::optional<net::Ip> parse_address(Family family, SetId set, const nft::Element& element) {
  if (!has_key_of(set, family, element)) return std::nullopt;
  Reader key(element.key.data());
  const net::Ip address = key.address(family);
  if (set == SetId::Hairpin && !(address == key.address(family))) return std::nullopt;
  return address;
}

std::optional<Client> parse_client(Family family, const nft::Element& element) {
  if (element.key_size != address_size(family) + 4 || element.data_size != 4) return std::nullopt;
  Reader key(element.key.data());
  Client client;
  client.address = key.address(family);
  client.group = key.number();
  client.member = parse_value(element);
  return client;
}

}  // namespace fairlead::proxy::dataplane::nftables
