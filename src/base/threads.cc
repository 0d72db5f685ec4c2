#include "fovea/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "fovea/error.h"

namespace fovea {
namespace {

// How long a waiting thread looks before it sleeps: as long as waking it takes, about, and the gap between two
// attention calls of one decoder step.
constexpr std::chrono::microseconds kWatch{50};

// Returns when ready() is true, or when it has not become so in that time. Where there are more threads than
// processors, those that have work go first.
template <class F>
void watch(const F& ready) {
  constexpr int kLooks = 256;  // about 0.2 microseconds
  const auto end = std::chrono::steady_clock::now() + kWatch;
  do {
    for (int look = 0; look < kLooks; ++look) {
      if (ready()) return;
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
}

}  // namespace

struct Threads::Pool {
  using Task = std::function<void(std::int64_t, int)>;

  explicit Pool(int threads) : count(threads) {
    try {
      for (int t = 1; t < threads; ++t) workers.emplace_back([this, t] { work(t); });
    } catch (const std::system_error& refusal) {
      const std::size_t given = workers.size() + 1;
      end();
      throw Error("threads: " + std::to_string(threads) +
                  " were asked for, but the system refused after " + std::to_string(given) + " (" +
                  refusal.code().message() + "): ask for fewer");
    }
  }

  ~Pool() { end(); }

  void end() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stop = true;
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  // Takes tasks until none is left.
  void drain(int thread) {
    for (;;) {
      const std::int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= tasks) return;
      try {
        (*task)(index, thread);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
  }

  void work(int thread) {
    std::uint64_t seen = 0;
    for (;;) {
      watch([&] { return generation.load(std::memory_order_acquire) != seen; });
      {
        std::unique_lock<std::mutex> lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
        seen = generation.load(std::memory_order_acquire);
        if (stop) return;
      }
      drain(thread);
      if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard<std::mutex> lock(mutex);
        done.notify_one();
      }
    }
  }

  void run(std::int64_t task_count, const Task& f) {
    std::lock_guard<std::mutex> one_caller(callers);
    {
      std::lock_guard<std::mutex> lock(mutex);
      task = &f;
      tasks = task_count;
      failure = nullptr;
      next.store(0, std::memory_order_relaxed);
      busy.store(count - 1, std::memory_order_relaxed);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    drain(0);
    watch([&] { return busy.load(std::memory_order_acquire) == 0; });
    std::unique_lock<std::mutex> lock(mutex);
    done.wait(lock, [&] { return busy.load(std::memory_order_acquire) == 0; });
    if (failure) std::rethrow_exception(failure);
  }

  const int count;
  std::vector<std::thread> workers;
  std::mutex callers;  // held by the thread that is inside run

  std::mutex mutex;  // guards what follows, except the atomics
  std::condition_variable wake;
  std::condition_variable done;
  const Task* task = nullptr;
  std::int64_t tasks = 0;
  std::exception_ptr failure;
  bool stop = false;
  std::atomic<std::uint64_t> generation{0};
  std::atomic<std::int64_t> next{0};
  std::atomic<int> busy{0};
};

Threads::Threads(int count)
    : pool_(std::make_unique<Pool>(count > 0 ? count : available_processors())) {}

Threads::~Threads() = default;

int Threads::count() const { return pool_->count; }

void Threads::run(std::int64_t tasks, const std::function<void(std::int64_t task, int thread)>& f) {
  if (tasks <= 0) return;
  if (pool_->count == 1 || tasks == 1) {
    std::lock_guard<std::mutex> one_caller(pool_->callers);  // scratch of thread 0 is ours
    std::exception_ptr failure;
    for (std::int64_t index = 0; index < tasks; ++index) {
      try {
        f(index, 0);
      } catch (...) {
        if (!failure) failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
    return;
  }
  pool_->run(tasks, f);
}

int available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace fovea
