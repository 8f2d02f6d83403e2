// damage: somebody else's hands in a dataplane's kernel objects. Never touches what "web" needs in ways that the
// dataplane does not promise to repair by itself.
#pragma once

#include <string>

#include "base/result.h"
#include "tests/chaos/stage.h"

namespace fairlead::tests::chaos {

struct Damage {
  std::string text;                // what was done
  bool loses_connections = false;  // until it is repaired
};

// Else it looks at its objects when it starts, and not before.
bool repairs_while_running(const std::string& dataplane);

// `choice` selects what is done; any number.
Result<Damage> damage(Stage& stage, unsigned node, unsigned choice);

}  // namespace fairlead::tests::chaos
