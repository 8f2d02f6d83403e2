// History: a random past of one cluster, event by event: Services, EndpointSlices, Nodes and ServiceCIDRs that come,
// go and change in every field. Pure; the same seed and universe yield the same history.
//
// It keeps what an API server keeps: no two Services hold one ClusterIP, node port or health check port; port names and
// (protocol, port) are unique in a Service. External and load balancer addresses come from a small pool, so that
// Services contest them; calm() ends that.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kube/objects.h"
#include "tests/apiserver/manifest.h"
#include "tests/chaos/objects.h"
#include "tests/chaos/random.h"

namespace fairlead::tests::chaos {

struct Universe {
  std::vector<kube::Node> nodes;            // as they are at first
  std::vector<kube::ServiceCidr> cidrs;     // likewise; the first one stays
  std::vector<net::Ip> endpoint_addresses;  // of both families
  unsigned services = 40;                   // about so many stand at a time
};

// One write to the API server.
struct Edit {
  apiserver::Resource resource = apiserver::Resource::Services;
  kube::Key key;
  std::optional<base::Value> object;  // nothing: deleted
};

struct Event {
  std::string_view kind;  // "service type", "slice moves", ...
  std::string text;       // for people: what changed in which object
  std::vector<Edit> edits;
};

class History {
 public:
  static constexpr const char* kNamespace = "chaos";

  History(std::uint64_t seed, Universe universe);

  Event next();
  // Ends every contest for an address.
  Event calm();
  // Service "marker" with `count` ready endpoints of IPv4: whoever has it has all that came before, of either kind.
  Event marker(unsigned count);

  // Everything that stands now.
  std::vector<apiserver::Manifest> objects() const;
  // The kinds of next(), for coverage.
  static std::vector<std::string_view> kinds();

 private:
  friend struct HistoryMoves;

  void put(const ServiceDraft& draft);
  void put(const kube::EndpointSlice& slice);
  void erase(apiserver::Resource resource, const kube::Key& key);
  void tidy(ServiceDraft& draft);
  ServiceDraft random_service(const std::string& name);
  void random_slices(const kube::Service& service);
  kube::Endpoint random_endpoint(net::Family family);
  kube::EndpointSlice random_slice(const kube::Service& service, net::Family family, unsigned number);
  std::vector<net::Ip> free_cluster_ips(const std::vector<net::Family>& families);
  std::uint16_t free_node_port(const ServiceDraft& own);
  std::uint16_t free_health_port();
  std::vector<net::Ip> some_external_ips();
  bool contested(const ServiceDraft& draft, const net::Ip& ip) const;
  std::string new_uid();

  Random random_;
  Universe universe_;
  std::map<kube::Key, ServiceDraft> services_;
  std::map<kube::Key, kube::EndpointSlice> slices_;
  std::map<kube::Key, kube::Node> nodes_;
  std::map<kube::Key, kube::ServiceCidr> cidrs_;
  std::uint64_t uids_ = 0;
  unsigned slices_made_ = 0;
  Event event_;  // being made
};

}  // namespace fairlead::tests::chaos
