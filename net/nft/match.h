// Pieces of rules that every layout is made of: where a packet's addresses and ports stand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/nft/types.h"

namespace fairlead::net::nft::match {

using Exprs = std::vector<Expr>;

inline Exprs operator+(Exprs a, const Exprs& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline std::uint32_t address_size(Family f) { return f == Family::V4 ? 4 : 16; }
inline std::uint32_t address_registers(Family f) { return address_size(f) / 4; }

inline expr::LoadPayload source(Family f, std::uint32_t to) {
  return {expr::Base::Network, f == Family::V4 ? 12U : 8U, address_size(f), to};
}
inline expr::LoadPayload destination(Family f, std::uint32_t to) {
  return {expr::Base::Network, f == Family::V4 ? 16U : 24U, address_size(f), to};
}
// l4proto . dport; the destination port stands at byte 2 in TCP, UDP and SCTP alike.
inline Exprs load_port(std::uint32_t to) {
  return {expr::LoadMeta{expr::MetaKey::L4Protocol, to}, expr::LoadPayload{expr::Base::Transport, 2, 2, to + 1}};
}
// The first `bits` set, of an address' size.
inline std::string mask_of(Family f, std::uint32_t bits) {
  std::string mask(address_size(f), '\0');
  for (unsigned i = 0; i < bits; ++i) mask[i / 8] = static_cast<char>(mask[i / 8] | 0x80 >> i % 8);
  return mask;
}

}  // namespace fairlead::net::nft::match
