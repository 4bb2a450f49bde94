// Memory aligned to cache lines, which is also what the widest vector loads want.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

namespace evenbit {

constexpr size_t kAlignment = 64;

// Sizes of what is to be allocated are computed in 64 bits, so that they do not overflow where size_t has 32.
constexpr uint64_t round_up(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// A fixed number of zeroed elements, aligned, movable and never resized.
template <typename T>
class Aligned {
 public:
  Aligned() = default;
  // Throws std::bad_alloc if there is not so much memory.
  explicit Aligned(uint64_t size) : size_(static_cast<size_t>(size)) {
    if (size == 0) return;
    if (size > std::numeric_limits<size_t>::max() / 2 / sizeof(T)) throw std::bad_alloc();
    const auto bytes = static_cast<size_t>(round_up(size * sizeof(T), kAlignment));
    data_.reset(static_cast<T*>(::operator new(bytes, std::align_val_t(kAlignment))));
    std::memset(static_cast<void*>(data_.get()), 0, bytes);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Delete {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(kAlignment)); }
  };
  std::unique_ptr<T, Delete> data_;
  size_t size_ = 0;
};

}  // namespace evenbit
