// targets: what the figures are held against. Pure; a target that is missed is printed and fails nothing.
#pragma once

#include <vector>

#include "tests/bench/rows.h"

namespace fairlead::tests::bench {

struct Judgement {
  Row row;
  double limit = 0;  // in the row's unit; at most this much
  bool met() const { return row.value <= limit; }
};

// Per dataplane and cluster: change_visible_p50 at 50,000 services over that at 1,000, where both were measured.
std::vector<Row> growth_rows(const std::vector<Row>& rows);
// The rows that have a target, in their order.
std::vector<Judgement> judge(const std::vector<Row>& rows);
void print_judgements(const std::vector<Judgement>& judgements);

}  // namespace fairlead::tests::bench
