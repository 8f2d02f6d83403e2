// ServiceFacts: what the agent itself says of a Service beside programming it (health check ports, a gauge), and
// FactBook: the facts of what is in the kernel, which is not what was handed over last.
//
// Loop thread, pure bookkeeping. Costs follow the change: most services have no facts and are not kept.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "agent/ledger.h"
#include "agent/work.h"

namespace fairlead::agent {

// Ports with a Local traffic policy and no endpoint on this node while there are some elsewhere, by family (V4, V6).
struct WithoutLocal {
  std::array<std::uint64_t, 2> internal{};
  std::array<std::uint64_t, 2> external{};
  bool operator==(const WithoutLocal&) const = default;
};

struct ServiceFacts {
  std::uint16_t health_check_node_port = 0;
  std::uint32_t local_endpoints = 0;  // that are ready, when there is such a port
  WithoutLocal without_local{};
  bool operator==(const ServiceFacts&) const = default;
};
ServiceFacts facts_of(const ServiceState& state);

// What is true once the kernel holds a batch. (Not inside FactBook: clang 14 would emit no assignment for it.)
template <typename T>
struct Waiting {
  T value;
  std::uint64_t generation = 0;  // of the batch
};

class FactBook {
 public:
  struct Applied {
    std::vector<Key> services;  // whose facts have changed; sorted
    bool addresses = false;     // node_port_addresses() has
    bool any() const { return addresses || !services.empty(); }
  };

  void sent(const Work& work);
  // After ledger.done(). The facts of a service that fails on its own wait until it works.
  Applied done(const Ledger& ledger);

  // Only services with something to say.
  const std::map<Key, ServiceFacts>& applied() const { return applied_; }
  ServiceFacts applied(const Key& service) const;
  const std::vector<net::Prefix>& node_port_addresses() const { return addresses_; }
  const WithoutLocal& without_local() const { return without_local_; }  // the sum

 private:
  void expect(const Key& service, const ServiceFacts& facts, std::uint64_t generation);
  void put(const Key& service, const ServiceFacts& facts);

  std::map<Key, ServiceFacts> applied_;
  std::map<Key, Waiting<ServiceFacts>> waiting_;
  WithoutLocal without_local_;
  std::vector<net::Prefix> addresses_;
  std::optional<Waiting<std::vector<net::Prefix>>> waiting_addresses_;
};

}  // namespace fairlead::agent
