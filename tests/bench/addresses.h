// What an address costs by how many are held: in process, by our plugin and by the reference plugin.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::tests::bench {

struct AddressPlan {
  std::vector<unsigned> held = {10, 1000, 60000};
  std::string subnet = "10.1.0.0/16";
  unsigned in_process = 2000;  // calls of each verb
  unsigned executed = 200;
  unsigned of_reference = 20;                                      // each reads every reservation
  std::string plugin;                                              // path of our host-local; empty: not measured
  std::string reference = "/usr/lib/cni/host-local";               // not measured where it is not installed
  std::string state_parent = "/var/tmp", run_parent = "/dev/shm";  // for directories that go again
};

struct AddressRow {
  std::string way;  // "in process", "fairlead", "reference"
  unsigned held = 0;
  double add_us = 0, del_us = 0, status_us = 0;  // medians; 0: not measured
  double add_p99_us = 0;
  double pairs_per_second = 0;  // one ADD and one DEL after the other
};

// Every ADD is followed by its DEL, so that what is held stays.
Result<std::vector<AddressRow>> bench_addresses(const AddressPlan& plan);
void print_table(const std::vector<AddressRow>& rows);

}  // namespace fairlead::tests::bench
