// The bytes of our sets' elements, and back. Pure. Whatever names a frontend writes address 0 for a node port, except
// `nodeports` itself, which has no address.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "net/nft/types.h"
#include "proxy/dataplane/nftables/plan.h"

namespace fairlead::proxy::dataplane::nftables {

namespace nft = net::nft;

// Sets whose elements are ours to write. `sticky` is not among them: packets write it.
enum class SetId : std::uint8_t {
  Services,
  NodePorts,
  Externals,
  Endpoints,
  Sessions,
  Shares,
  Choices,
  Members,
  Restricted,
  Ranges,
  Hairpin,
  ClusterIps
};
inline constexpr SetId kElementSets[] = {SetId::Services,   SetId::NodePorts, SetId::Externals, SetId::Endpoints,
                                         SetId::Sessions,   SetId::Shares,    SetId::Choices,   SetId::Members,
                                         SetId::Restricted, SetId::Ranges,    SetId::Hairpin,   SetId::ClusterIps};
inline constexpr const char* kStickySet = "sticky";
const char* name_of(SetId set);
std::vector<nft::DataType> key_of(SetId set, net::Family family);
std::vector<nft::DataType> data_of(SetId set, net::Family family);  // empty: a set

// Slots of Pool::Local stand this far from those of Pool::Cluster.
inline constexpr std::uint32_t kLocalSlots = 1U << 23;

// Elements to delete carry the key alone.
nft::Element frontend_element(SetId set, const FrontendKey& frontend, std::optional<std::uint32_t> value = {});
nft::Element endpoint_element(const FrontendKey& frontend, bool local_pool, std::uint32_t index, const Slot* slot);
nft::Element share_element(std::uint32_t pool, std::optional<std::uint32_t> value);
nft::Element choice_element(std::uint32_t pool, std::uint32_t index, std::optional<std::uint32_t> member);
nft::Element member_element(net::Family family, std::uint32_t member, const Slot* slot);
nft::Element range_element(const FrontendKey& frontend, const net::Prefix& range);
nft::Element address_element(SetId set, const net::Ip& address);  // Hairpin, ClusterIps

// And back: nothing when the bytes are not of the form above.
struct ParsedEndpoint {
  FrontendKey frontend;
  bool local_pool = false;
  std::uint32_t index = 0;
  Slot slot;  // empty when the element had no data
};
struct ParsedChoice {
  std::uint32_t pool = 0;
  std::uint32_t index = 0;
};
std::optional<FrontendKey> parse_frontend(net::Family family, SetId set, const nft::Element& element);
std::uint32_t parse_value(const nft::Element& element);
std::optional<ParsedEndpoint> parse_endpoint(net::Family family, const nft::Element& element);
std::optional<std::uint32_t> parse_share(const nft::Element& element);  // the pool
std::optional<ParsedChoice> parse_choice(const nft::Element& element);
std::optional<std::uint32_t> parse_member(const nft::Element& element);
std::optional<Slot> parse_target(net::Family family, const nft::Element& element);
std::optional<std::pair<FrontendKey, net::Prefix>> parse_range(net::Family family, const nft::Element& element);
std::optional<net::Ip> parse_address(net::Family family, SetId set, const nft::Element& element);
// A client of `sticky`, and the member it stays with.
struct Client {
  net::Ip address;
  std::uint32_t group = 0;
  std::uint32_t member = 0;
};
std::optional<Client> parse_client(net::Family family, const nft::Element& element);

}  // namespace fairlead::proxy::dataplane::nftables
