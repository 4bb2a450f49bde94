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

void Barrier::wait() {
  const unsigned phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  spin_until([&] { return phase_.load(std::memory_order_acquire) != phase; });
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
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    work_ = &work;
    running_.store(static_cast<int>(workers_.size()));
    round_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  work(0);
  spin_until([&] { return running_.load(std::memory_order_acquire) == 0; });
}

void Pool::serve(int index) {
  for (unsigned seen = 0;;) {
    for (int i = 0; i < kSpins && round_.load(std::memory_order_acquire) == seen; ++i) relax();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
    }
    ++seen;
    if (stop_.load()) return;
    (*work_)(index);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace evenbit
