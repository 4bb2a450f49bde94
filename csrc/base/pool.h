// The engine's own threads. They are few, do equal shares, and meet at a barrier after every step, so there is no
// queue and no stealing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace evenbit {

// Where a fixed number of threads wait for each other. Waiting spins first: steps take microseconds.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();

 private:
  const int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> phase_{0};
};

class Pool {
 public:
  // The calling thread is one of `threads`; the others are started here and sleep until there is work.
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(0) here and work(1) .. work(threads - 1) on the other threads; returns when all have returned.
  void run(const std::function<void(int)>& work);

 private:
  void serve(int index);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> round_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> stop_{false};
  const std::function<void(int)>* work_ = nullptr;
};

}  // namespace evenbit
