// The engine's own threads, as helpers: who calls the pool begins at once and never waits for a thread that has not
// begun, so a busy machine costs the help and nothing more. Which thread computes what does not change any result.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace evenbit {

// Deals out numbered chunks of work, grouped in steps; a step's chunks are dealt when all earlier steps are finished.
class Dealer {
 public:
  // `step_of_chunk[i]` is the step of chunk i and `first_of_step[s]` the first chunk of step s.
  Dealer(const std::vector<int>& step_of_chunk, const std::vector<int>& first_of_step)
      : step_of_chunk_(step_of_chunk), first_of_step_(first_of_step) {}

  // The next chunk, which its taker must finish; waits until there is one. -1 when all have been dealt, though others
  // may still be at theirs.
  int take();
  void finish() { finished_.fetch_add(1, std::memory_order_release); }

 private:
  const std::vector<int>& step_of_chunk_;
  const std::vector<int>& first_of_step_;
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> finished_{0};
};

// A process that was forked has none of the threads: there, every call runs on its caller's thread alone.
class Pool {
 public:
  // The calling thread is one of `threads`; the others are started here and sleep until there is work. Throws
  // std::system_error if they cannot be started.
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(0) here, and work(i) with 0 < i < threads() on the others as they wake up, until work(0) has returned;
  // returns when all calls have. `work` must not throw. Not for two callers at once.
  void run(const std::function<void(int)>& work) noexcept;

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable wake;
    std::atomic<unsigned> round{0};
    std::atomic<bool> open{false};  // whether workers may begin
    std::atomic<int> inside{0};     // workers that are looking at the work or at it
    std::atomic<bool> stop{false};
    const std::function<void(int)>* work = nullptr;
  };

  static void serve(State& state, int index);
  void stop() noexcept;
  bool forked() const;

  std::unique_ptr<State> state_ = std::make_unique<State>();
  std::vector<std::thread> workers_;
  const int process_;
};

}  // namespace evenbit
