// ASSERT_OK / EXPECT_OK: a Status or Result is no Error; else the test shows its message.
#pragma once

#include <gtest/gtest.h>

#define ASSERT_OK(expression)                                            \
  do {                                                                   \
    const auto& ok_result_ = (expression);                               \
    ASSERT_TRUE(ok_result_.has_value()) << ok_result_.error().message(); \
  } while (false)

#define EXPECT_OK(expression)                                            \
  do {                                                                   \
    const auto& ok_result_ = (expression);                               \
    EXPECT_TRUE(ok_result_.has_value()) << ok_result_.error().message(); \
  } while (false)
