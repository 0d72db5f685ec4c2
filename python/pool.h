// Pools of threads for Python's callers.
//
// A fovea::Threads serves one caller at a time, and dies with a fork: its workers do not live on in the
// child. So a call borrows a pool for as long as it runs. Calls that overlap, from several Python
// threads, get a pool each; calls that follow each other get the same one again; a forked child starts
// without any.
#pragma once

#include <memory>

#include "fovea/threads.h"

namespace fovea::python {

class BorrowedThreads {
 public:
  explicit BorrowedThreads(int count);  // 0: one thread for each processor that may be used now
  ~BorrowedThreads();
  BorrowedThreads(const BorrowedThreads&) = delete;
  BorrowedThreads& operator=(const BorrowedThreads&) = delete;

  Threads& threads() { return *threads_; }

 private:
  std::unique_ptr<Threads> threads_;
};

}  // namespace fovea::python
