// System: the seam to the kernel and to the iptables programs. system.cc has the real one, fake_system.h a kernel in
// memory with faults to order. One thread, in the network namespace it was in at open_system().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "proxy/dataplane/iptables/rule.h"

namespace fairlead::proxy::dataplane::iptables {

// The two ways iptables writes rules: its own tables (ip_tables), or nftables ones that look like it. Both can be in
// the kernel at once, and packets pass both.
enum class Flavour : std::uint8_t { Nft, Legacy };
constexpr Flavour kFlavours[] = {Flavour::Nft, Flavour::Legacy};
std::string_view to_string(Flavour flavour);  // "nft", "legacy"

class System {
 public:
  virtual ~System() = default;

  // iptables-save, iptables-restore --noflush, and that with --test.
  virtual Result<std::string> save(Flavour flavour, net::Family family) = 0;
  virtual Status restore(Flavour flavour, net::Family family, const std::string& input) = 0;
  virtual Status test(Flavour flavour, net::Family family, const std::string& input) = 0;

  // Cheap, without a process, and without a table coming to be.
  virtual bool has_chain(Flavour flavour, net::Family family, Table table, std::string_view chain) = 0;
  // Another value when somebody changed rules, ourselves included: what is compared every half second.
  virtual std::string fingerprint(Flavour flavour) = 0;
  // What `before` becomes when so many tables are committed and nobody else writes; empty: that cannot be told.
  virtual std::string fingerprint_after(Flavour flavour, const std::string& before, std::uint32_t commits) = 0;

  // Below /proc/sys; empty when there is no such file.
  virtual std::string read_sysctl(const std::string& name) = 0;
  virtual Status write_sysctl(const std::string& name, const std::string& value) = 0;

  // Readable when it is time to compare fingerprints; or -1.
  virtual int timer_fd() const = 0;
  virtual void acknowledge_timer() = 0;
};

Result<std::unique_ptr<System>> open_system(std::chrono::milliseconds deadline);

// "auto", "nft", "legacy": how Options name it. For people: why.
struct Choice {
  Flavour flavour = Flavour::Nft;
  std::string reason;
};
// kubelet's hint decides, then where others have more rules, then nft. The Error says why neither is usable.
Result<Choice> choose_flavour(System& system, std::string_view wanted);

}  // namespace fairlead::proxy::dataplane::iptables
