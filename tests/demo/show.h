// Show: the acts of the demo, in the order main() plays them. Each prints its step, its tables and the promises it
// checked; an Error means that the show cannot go on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/demo/answers.h"
#include "tests/demo/cluster.h"
#include "tests/demo/options.h"
#include "tests/demo/screen.h"

namespace fairlead::demo {

struct Latency {
  std::string dataplane;
  Answers direct;      // to the pods' own addresses
  Answers cluster_ip;  // to the same pods through the ClusterIP
};

struct Show {
  Options options;
  Screen screen;
  std::unique_ptr<Cluster> cluster;
  std::string dataplane;           // in use now
  std::vector<Latency> latencies;  // one per dataplane that was measured
};

// What has to be there before anything is made; the Error says what to do about it.
Status check_surroundings();

Status raise_the_cluster(Show& show);
Status start_the_agents(Show& show);
Status ask_every_service(Show& show);
Status count_who_answers(Show& show);
Status measure_latency(Show& show);
Status scale_up_and_down(Show& show);
Status let_an_endpoint_die(Show& show);
Status kill_an_agent(Show& show);
Status switch_the_dataplane(Show& show);
Status look_with_fairleadctl(Show& show);

// Removes the cluster and says what that was, or with --keep how to look inside.
Status leave(Show& show);
Status remove_kept(Screen& screen);

}  // namespace fairlead::demo
