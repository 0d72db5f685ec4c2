#include "pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace fovea::python {
namespace {

// Idle pools kept at most. Sleeping threads cost little; that many calls at once are rare.
constexpr std::size_t kIdlePools = 8;

struct Idle {
  Idle() { pools.reserve(kIdlePools); }  // so that giving back cannot fail

  std::mutex mutex;
  std::vector<std::unique_ptr<Threads>> pools;  // the one used last stands last
};

// Never destroyed, neither at exit, where joining threads could hang, nor after a fork, where there is
// nothing to join and the mutex may have been held by a thread that is no more.
std::atomic<Idle*> idle{nullptr};

Idle& idle_pools() {
  static const int at_fork =
      pthread_atfork(nullptr, nullptr, [] { idle.store(nullptr, std::memory_order_release); });
  static_cast<void>(at_fork);
  Idle* found = idle.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  auto made = std::make_unique<Idle>();
  if (idle.compare_exchange_strong(found, made.get())) found = made.release();
  return *found;
}

}  // namespace

BorrowedThreads::BorrowedThreads(int count) {
  if (count == 0) count = available_processors();
  Idle& kept = idle_pools();
  {
    const std::lock_guard<std::mutex> lock(kept.mutex);
    const auto found = std::find_if(kept.pools.rbegin(), kept.pools.rend(),
                                    [count](const auto& pool) { return pool->count() == count; });
    if (found != kept.pools.rend()) {
      threads_ = std::move(*found);
      kept.pools.erase(std::next(found).base());
      return;
    }
  }
  threads_ = std::make_unique<Threads>(count);
}

BorrowedThreads::~BorrowedThreads() {
  std::unique_ptr<Threads> oldest;  // joins its threads after the lock is given up
  Idle& kept = idle_pools();
  const std::lock_guard<std::mutex> lock(kept.mutex);
  if (kept.pools.size() >= kIdlePools) {
    oldest = std::move(kept.pools.front());
    kept.pools.erase(kept.pools.begin());
  }
  kept.pools.push_back(std::move(threads_));
}

}  // namespace fovea::python
