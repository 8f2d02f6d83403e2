#include "ctl/dump.h"

#include "base/strings.h"
#include "net/nft/netlink.h"
#include "proxy/dataplane/nftables/dump.h"

namespace fairlead::ctl {

namespace nftables = proxy::dataplane::nftables;

Result<std::string> dump_nftables(const Options& options) {
  std::vector<net::Family> families{net::Family::V4, net::Family::V6};
  if (options.family) families = {*options.family};
  const auto kernel = TRY(net::nft::open_netlink());
  const auto sights = TRY(nftables::sights_of(*kernel, options.instance, families));
  if (sights.empty()) {
    const std::string kind = options.family ? base::cat(net::to_string(*options.family), " ") : std::string();
    return Error(base::cat("this network namespace has no ", kind, "table \"", options.instance, "\""));
  }
  std::string out;
  for (const nftables::Sight& sight : sights) out += (out.empty() ? "" : "\n") + nftables::text_of(sight);
  return out;
}

}  // namespace fairlead::ctl
