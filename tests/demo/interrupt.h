// Interrupt: Ctrl-C, SIGTERM and SIGHUP as an Error at the next step, so that destructors clean up. A second signal
// ends the program at once; the testbed's reaper then cleans up.
#pragma once

#include <chrono>

#include "base/result.h"

namespace fairlead::demo {

class Interrupt {
 public:
  static Status install();                              // once, before any thread
  static int signal_number();                           // 0: none yet
  static Status check();                                // an Error once a signal has come
  static Status pause(std::chrono::milliseconds time);  // sleeps; ends early with an Error
};

}  // namespace fairlead::demo
