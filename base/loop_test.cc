#include "base/loop.h"

#include <gtest/gtest.h>

#include <thread>

namespace fairlead::base {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<Loop> make_loop() {
  auto loop = Loop::create();
  return loop ? std::move(*loop) : nullptr;
}

TEST(Loop, TimersFireInOrderAndStopEndsTheRun) {
  const auto loop = make_loop();
  std::string order;
  const auto second = loop->after(2ms, [&] {
    order += "2";
    loop->stop();
  });
  const auto first = loop->after(1ms, [&] { order += "1"; });
  loop->run();
  EXPECT_EQ(order, "12");
}

TEST(Loop, ACallbackMayDropItsOwnHandle) {
  const auto loop = make_loop();
  int fired = 0;
  Loop::Handle handle = Loop::none();
  handle = loop->every(1ms, [&] {
    ++fired;
    handle.reset();
  });
  const auto end = loop->after(10ms, [&] { loop->stop(); });
  loop->run();
  EXPECT_EQ(fired, 1);
}

TEST(Loop, OtherThreadsPostWork) {
  const auto loop = make_loop();
  const auto own = std::this_thread::get_id();
  std::thread::id ran_on;
  std::thread other([&] {
    loop->post([&] {
      ran_on = std::this_thread::get_id();
      loop->stop();
    });
  });
  loop->run();
  other.join();
  EXPECT_EQ(ran_on, own);
}

}  // namespace
}  // namespace fairlead::base
