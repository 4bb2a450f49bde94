#include "base/pool.h"

namespace evenbit {
namespace {

constexpr int kSpins = 4000;  // about as long as waking a thread takes

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <typename Condition>
void spin_until(Condition done) {
  for (int i = 0; !done(); ++i) {
    if (i < kSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

int Dealer::take() {
  const int total = static_cast<int>(step_of_chunk_.size());
  int chunk = next_.load(std::memory_order_relaxed);
  for (;;) {
    if (chunk >= total) return -1;
    const int earlier = first_of_step_[step_of_chunk_[chunk]];
    if (finished_.load(std::memory_order_acquire) < earlier) {
      spin_until([&] {
        return finished_.load(std::memory_order_acquire) >= earlier || next_.load(std::memory_order_relaxed) != chunk;
      });
      chunk = next_.load(std::memory_order_relaxed);
    } else if (next_.compare_exchange_weak(chunk, chunk + 1, std::memory_order_relaxed)) {
      return chunk;
    }
  }
}

Pool::Pool(int threads) {
  for (int index = 1; index < threads; ++index) workers_.emplace_back([this, index] { serve(index); });
}

Pool::~Pool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
    round_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(const std::function<void(int)>& work) {
  if (workers_.empty()) return work(0);
  work_ = &work;
  open_.store(true);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    round_.fetch_add(1);
  }
  wake_.notify_all();
  work(0);
  // A worker counts itself inside before it looks whether the pool is open, so either it is counted here or it finds
  // the pool closed.
  open_.store(false);
  spin_until([&] { return inside_.load() == 0; });
}

void Pool::serve(int index) {
  for (unsigned seen = 0;;) {
    for (int i = 0; i < kSpins && round_.load(std::memory_order_acquire) == seen; ++i) relax();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
    }
    if (stop_.load()) return;
    inside_.fetch_add(1);
    seen = round_.load();
    if (open_.load()) (*work_)(index);
    inside_.fetch_sub(1);
  }
}

}  // namespace evenbit
