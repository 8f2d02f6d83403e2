#include "net/nft/types.h"

#include "base/strings.h"

namespace fairlead::net::nft {
namespace {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

std::string TableId::to_string() const {
  switch (layer) {
    case Layer::Inet: return base::cat("inet ", name);
    case Layer::Bridge: return base::cat("bridge ", name);
    case Layer::Ip: break;
  }
  return base::cat(family == Family::V4 ? "ip " : "ip6 ", name);
}

std::uint32_t size_of(DataType type) {
  switch (type) {
    case DataType::Ipv6:
    case DataType::InterfaceName: return 16;
    case DataType::Ether: return 8;
    default: return 4;
  }
}

std::uint32_t size_of(const std::vector<DataType>& fields) {
  std::uint32_t size = 0;
  for (DataType field : fields) size += size_of(field);
  return size;
}

std::uint32_t concatenated(const std::vector<DataType>& fields) {
  std::uint32_t type = 0;
  for (DataType field : fields) type = type << 6 | static_cast<std::uint32_t>(field);
  return type;
}

std::size_t count_writes(const Batch& batch) {
  std::size_t writes = 0;
  for (const Command& command : batch) {
    writes += std::visit(Overloaded{[](const AddElements& c) { return c.elements.size(); },
                                    [](const AddVerdicts& c) { return c.elements.size(); },
                                    [](const DeleteElements& c) { return c.elements.size(); },
                                    [](const auto&) { return std::size_t{1}; }},
                         command);
  }
  return writes;
}

std::string describe(const Command& command) {
  return std::visit(
      Overloaded{
          [](const AddTable& c) { return base::cat("add table ", c.table.to_string()); },
          [](const DeleteTable& c) { return base::cat("delete table ", c.table.to_string()); },
          [](const AddChain& c) { return base::cat("add chain ", c.table.to_string(), " ", c.chain.name); },
          [](const AddRule& c) {
            return base::cat("add rule ", c.table.to_string(), " ", c.rule.chain, " (", c.rule.comment, ")");
          },
          [](const FlushChain& c) { return base::cat("flush chain ", c.table.to_string(), " ", c.chain); },
          [](const AddSet& c) { return base::cat("add set ", c.table.to_string(), " ", c.set.name); },
          [](const AddElements& c) { return base::cat("add elements to ", c.table.to_string(), " ", c.set); },
          [](const AddVerdicts& c) { return base::cat("add elements to ", c.table.to_string(), " ", c.set); },
          [](const DeleteElements& c) { return base::cat("delete elements from ", c.table.to_string(), " ", c.set); }},
      command);
}

}  // namespace fairlead::net::nft
