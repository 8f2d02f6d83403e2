// moves: what can happen to a History, as a table of kinds with weights.
#pragma once

#include <string_view>
#include <vector>

#include "tests/chaos/random.h"

namespace fairlead::tests::chaos {

class History;

// Makes one move and describes it in the event being made. Another one when it finds nothing to change.
void make_move(History& history, Random& random);
std::vector<std::string_view> move_kinds();

}  // namespace fairlead::tests::chaos
