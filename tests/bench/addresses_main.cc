// fairlead-bench-addresses [PATH OF OUR host-local]: prints bench_addresses(). It writes records below /run/fairlead
// as any run of the plugin does; run it in a mount namespace (unshare -m) with a tmpfs there.
#include <cstdio>

#include "tests/bench/addresses.h"

int main(int argc, char** argv) {
  using namespace fairlead::tests::bench;
  AddressPlan plan;
  if (argc > 1) plan.plugin = argv[1];
  const auto rows = bench_addresses(plan);
  if (!rows) {
    std::fprintf(stderr, "error: %s\n", rows.error().message().c_str());
    return 1;
  }
  print_table(*rows);
  return 0;
}
