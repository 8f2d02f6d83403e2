// The parts of the table.
#pragma once

#include "tests/cni/row.h"

namespace fairlead::cnitest {

inline const std::vector<std::string> kSpecVersions = {"0.3.0", "0.3.1", "0.4.0", "1.0.0"};

std::vector<Row> address_rows();    // host-local, static
std::vector<Row> interface_rows();  // bridge, ptp, macvlan, ipvlan, loopback
std::vector<Row> chained_rows();    // portmap, bandwidth, firewall, tuning
std::vector<Row> protocol_rows();   // variables, versions, configurations nobody can serve

Attachment container(const std::string& name);
Attachment with_args(const std::string& cni_args);      // CNI_ARGS
Attachment with_capabilities(const std::string& json);  // what the runtime has
Attachment with_environment(const std::string& name, std::optional<std::string> value);

}  // namespace fairlead::cnitest
