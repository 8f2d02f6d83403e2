// The two ends of `bench connect`: a server that answers one byte with one byte, and a client that times
// connect + exchange + close, taking its targets in turn so that a drift of the machine hits all alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/ip.h"

namespace fairlead::tests::bench {

struct ExchangeTarget {
  net::Ip ip;
  std::uint16_t port = 0;
};

// Microseconds of each exchange, one vector per target. `rounds` exchanges with each, after a tenth of that unmeasured.
Result<std::vector<std::vector<double>>> time_exchanges(const std::vector<ExchangeTarget>& targets, unsigned rounds);

// Children. The first two pin themselves to the last CPU.
//   child-serve PORT CHAR                      prints "ready"; answers every connection's byte with CHAR
//   child-exchange ROUNDS IP PORT [IP PORT..]  prints a line "p50 p99 mean" in us per target
//   child-until IP PORT                        for each line "CHAR" it reads: connects until a server answers CHAR,
//                                              then prints CLOCK_MONOTONIC in ns
int serve_child_main(int argc, char** argv);
int exchange_child_main(int argc, char** argv);
int until_child_main(int argc, char** argv);

std::uint64_t monotonic_ns();

}  // namespace fairlead::tests::bench
