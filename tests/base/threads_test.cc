#include "fovea/threads.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "fovea/error.h"

namespace fovea {
namespace {

class ThreadsTest : public ::testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Counts, ThreadsTest, ::testing::Values(1, 2, 3, 7));

TEST_P(ThreadsTest, EveryTaskRunsOnce) {
  Threads threads(GetParam());
  EXPECT_EQ(threads.count(), GetParam());
  for (const int tasks : {0, 1, 2, 3, 8, 1000}) {
    std::vector<std::atomic<int>> ran(static_cast<std::size_t>(tasks));
    threads.run(tasks, [&](std::int64_t task, int) { ++ran[static_cast<std::size_t>(task)]; });
    for (int t = 0; t < tasks; ++t)
      EXPECT_EQ(ran[static_cast<std::size_t>(t)], 1) << t << " of " << tasks;
  }
}

TEST_P(ThreadsTest, TheThreadNumberNamesScratchThatNobodyElseUses) {
  Threads threads(GetParam());
  std::vector<std::atomic<int>> users(static_cast<std::size_t>(GetParam()));
  std::atomic<int> faults{0};
  threads.run(400, [&](std::int64_t, int thread) {
    if (thread < 0 || thread >= GetParam()) {
      ++faults;
      return;
    }
    auto& mine = users[static_cast<std::size_t>(thread)];
    if (mine.fetch_add(1) != 0) ++faults;
    std::this_thread::yield();
    mine.fetch_sub(1);
  });
  EXPECT_EQ(faults, 0);
}

TEST_P(ThreadsTest, AnExceptionComesBackAfterAllTasksHaveEnded) {
  Threads threads(GetParam());
  std::atomic<int> ended{0};
  try {
    threads.run(100, [&](std::int64_t task, int) {
      if (task == 3) throw std::runtime_error("task 3");
      ++ended;
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "task 3");
  }
  EXPECT_EQ(ended, 99);
  std::atomic<int> after{0};
  EXPECT_NO_THROW(threads.run(50, [&](std::int64_t, int) { ++after; }));
  EXPECT_EQ(after, 50);
}

TEST_P(ThreadsTest, OfManyExceptionsOneComesBack) {
  Threads threads(GetParam());
  EXPECT_THROW(threads.run(64, [](std::int64_t, int) { throw std::logic_error("each"); }),
               std::logic_error);
  EXPECT_NO_THROW(threads.run(64, [](std::int64_t, int) {}));
}

TEST_P(ThreadsTest, TwoCallersTakeTurns) {
  Threads threads(GetParam());
  std::atomic<int> inside[2] = {0, 0}, ran{0}, mixed{0};
  const auto caller = [&](int me) {
    for (int round = 0; round < 200; ++round) {
      threads.run(8, [&](std::int64_t, int) {
        ++inside[me];
        if (inside[1 - me] != 0) ++mixed;
        ++ran;
        --inside[me];
      });
    }
  };
  std::thread other([&] { caller(1); });
  caller(0);
  other.join();
  EXPECT_EQ(ran, 2 * 200 * 8);
  EXPECT_EQ(mixed, 0) << "tasks of two calls ran at the same time: scratch would be shared";
}

TEST_P(ThreadsTest, ShortRunsInQuickSuccessionAndAfterAPause) {
  Threads threads(GetParam());
  std::int64_t sum = 0;  // written by the caller only, between runs
  for (int round = 0; round < 3000; ++round) {
    std::atomic<std::int64_t> part{0};
    threads.run(5, [&](std::int64_t task, int) { part += task; });
    sum += part;
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(sum, 3000 * 10);
}

TEST_P(ThreadsTest, WhatTasksWroteIsSeenAfterRun) {
  Threads threads(GetParam());
  std::vector<int> plain(5000, 0);  // no atomics: run itself must order the writes
  for (int round = 1; round <= 20; ++round) {
    threads.run(5000,
                [&](std::int64_t task, int) { plain[static_cast<std::size_t>(task)] += round; });
  }
  for (const int x : plain) ASSERT_EQ(x, 210);
}

TEST(Threads, ANegativeNumberOfTasksIsNone) {
  Threads threads(2);
  threads.run(-1, [](std::int64_t, int) { FAIL(); });
}

TEST(Threads, ZeroMeansOneForEachProcessorAllowed) {
  EXPECT_GE(available_processors(), 1);
  EXPECT_EQ(Threads(0).count(), available_processors());
  EXPECT_EQ(Threads().count(), available_processors());
}

TEST(Threads, TheAffinityMaskIsObeyed) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
      break;
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(available_processors(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(Threads, APoolThatNeverRanEndsQuietly) {
  for (int n = 0; n < 20; ++n) Threads idle(4);
}

// In a process of its own, which has address space for a few stacks only.
TEST(ThreadsRefusal, IsAnErrorAndEndsThoseThatRun) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take the address space for themselves";
#endif
  const auto ask = [] {
    std::ifstream in("/proc/self/statm");
    rlim_t pages = 0;
    in >> pages;
    const rlim_t room = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{256} << 20U);
    const rlimit limit{room, room};
    setrlimit(RLIMIT_AS, &limit);
    try {
      Threads threads(1000);
      std::exit(1);
    } catch (const Error& error) {
      const std::string text = error.what();
      const bool right =
          text.rfind("threads: 1000 were asked for, but the system refused after ", 0) == 0;
      std::exit(right ? 0 : 2);
    }
  };
  EXPECT_EXIT(ask(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace fovea
