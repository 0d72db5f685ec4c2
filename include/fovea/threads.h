// The caller's pool of threads, and the only source of threads in fovea.
//
// run(tasks, f) calls f(task, thread) once for every task in [0, tasks), on count() threads (the calling
// thread is one of them), and returns when all are done. Tasks begin in ascending order, so that a
// task may wait for what one of lower index does; they may end in any. `thread` is in [0, count()) and
// names scratch memory: two calls with the same `thread` never overlap.
// Results must depend on `task` only, never on `thread`: that is what makes fovea give the same bits
// with any number of threads.
//
// Errors  The first exception that a task throws is thrown again by run, after all tasks have ended.
//         Threads that the system refuses to start are an Error of the constructor.
// Shared  Two threads may call run on one pool: one waits for the other. A task must not call run on
//         its own pool.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace fovea {

class Threads {
 public:
  // count 0: one for each processor that this process may use.
  explicit Threads(int count = 0);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const;
  void run(std::int64_t tasks, const std::function<void(std::int64_t task, int thread)>& f);

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

// Processors that this process may use (its affinity mask), at least 1.
int available_processors();

}  // namespace fovea
