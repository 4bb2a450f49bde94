#include "base/threads.h"

#include <unistd.h>

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

Pool::Pool(int threads) : process_(getpid()) {
  try {
    for (int index = 1; index < threads; ++index) {
      workers_.emplace_back([state = state_.get(), index] { serve(*state, index); });
    }
  } catch (...) {
    stop();
    throw;
  }
}

Pool::~Pool() {
  if (forked()) {
    // Threads that do not exist can neither be joined nor detached: the process may have threads of its own under their
    // names. Nor can what they waited for be destroyed.
    (void)new std::vector<std::thread>(std::move(workers_));
    (void)state_.release();
  } else {
    stop();
  }
}

bool Pool::forked() const { return getpid() != process_; }

void Pool::stop() noexcept {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop.store(true);
    state_->round.fetch_add(1);
  }
  state_->wake.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(const std::function<void(int)>& work) noexcept {
  if (workers_.empty() || forked()) return work(0);
  State& state = *state_;
  state.work = &work;
  state.open.store(true);
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.round.fetch_add(1);
  }
  state.wake.notify_all();
  work(0);
  // A worker counts itself inside before it looks whether the pool is open, so either it is counted here or it finds
  // the pool closed.
  state.open.store(false);
  spin_until([&] { return state.inside.load() == 0; });
}

void Pool::serve(State& state, int index) {
  for (unsigned seen = 0;;) {
    for (int i = 0; i < kSpins && state.round.load(std::memory_order_acquire) == seen; ++i) relax();
    if (state.round.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(state.mutex);
      state.wake.wait(lock, [&] { return state.round.load(std::memory_order_acquire) != seen; });
    }
    seen = state.round.load();  // before `stop`, so that the last round is not taken for one already seen
    if (state.stop.load()) return;
    state.inside.fetch_add(1);
    if (state.open.load()) (*state.work)(index);
    state.inside.fetch_sub(1);
  }
}

}  // namespace evenbit
