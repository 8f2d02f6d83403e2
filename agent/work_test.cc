#include "agent/work.h"

#include <gtest/gtest.h>

#include "agent/fake_dataplane.h"

namespace fairlead::agent {
namespace {

Work changes(std::vector<ServiceState> upserted, std::vector<Key> deleted, std::uint64_t generation) {
  Origin origin;
  origin.generation = generation;
  return work_from(Changes{.upserted = std::move(upserted), .deleted = std::move(deleted)}, origin);
}

Work everything(std::vector<ServiceState> states, std::uint64_t generation) {
  Work work;
  work.all = Everything{.services = std::move(states)};
  work.origin.generation = generation;
  return work;
}

Work merged(Work earlier, Work later) {
  merge(earlier, std::move(later));
  return earlier;
}

const Key kA{"default", "a"};
const Key kB{"default", "b"};

TEST(MergeWork, TheLaterValueWinsPerKey) {
  const Work work =
      merged(changes({fake_state("a", 1), fake_state("b", 1)}, {}, 1), changes({fake_state("a", 2)}, {}, 2));
  EXPECT_EQ(work, changes({fake_state("a", 2), fake_state("b", 1)}, {}, 2));
}

TEST(MergeWork, ADeleteAndAnUpsertOfOneKeyLeaveOnlyTheLater) {
  EXPECT_EQ(merged(changes({fake_state("a")}, {}, 1), changes({}, {kA}, 2)), changes({}, {kA}, 2));
  EXPECT_EQ(merged(changes({}, {kA}, 1), changes({fake_state("a")}, {}, 2)), changes({fake_state("a")}, {}, 2));
}

TEST(MergeWork, ALaterCompleteStateWinsOverEverythingBefore) {
  const Work work = merged(changes({fake_state("a")}, {kB}, 1), everything({fake_state("c")}, 2));
  EXPECT_EQ(work, everything({fake_state("c")}, 2));
}

TEST(MergeWork, ChangesAfterACompleteStateAreLaidOverIt) {
  Work work = merged(everything({fake_state("a", 1), fake_state("b", 1)}, 1),
                     changes({fake_state("b", 2), fake_state("c", 1)}, {kA}, 2));
  EXPECT_EQ(work.origin.generation, 2U);
  EXPECT_EQ(folded(std::move(work)).services, (std::vector<ServiceState>{fake_state("b", 2), fake_state("c", 1)}));
}

TEST(MergeWork, IsAssociative) {
  const std::vector<Work> parts = {changes({fake_state("a", 1)}, {kB}, 1), everything({fake_state("b", 3)}, 2),
                                   changes({fake_state("a", 2)}, {kB}, 3), changes({fake_state("b", 9)}, {}, 4)};
  Work left = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) merge(left, Work(parts[i]));
  Work right = parts[3];
  for (std::size_t i = 3; i-- > 0;) right = merged(parts[i], right);
  EXPECT_EQ(left, right);
}

TEST(MergeWork, CountsAndTriggersAddUp) {
  Work earlier = changes({fake_state("a")}, {}, 1);
  earlier.origin.service_events = 1;
  earlier.origin.triggers = {base::WallTime(std::chrono::seconds(5))};
  Work later = changes({fake_state("a")}, {}, 2);
  later.origin.slice_events = 3;
  later.origin.triggers = {base::WallTime(std::chrono::seconds(6))};
  const Work work = merged(earlier, later);
  EXPECT_EQ(work.origin,
            (Origin{.generation = 2,
                    .service_events = 1,
                    .slice_events = 3,
                    .triggers = {base::WallTime(std::chrono::seconds(5)), base::WallTime(std::chrono::seconds(6))}}));
}

}  // namespace
}  // namespace fairlead::agent
