// bfloat16: the upper half of a float, which keeps its range and 8 of the 24 bits of its mantissa.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/memory.h"

namespace evenbit::training {

using BFloat16 = int16_t;  // its bits

void widen(int n, const BFloat16* x, float* y);
// Rounds to the nearest, and to the even one of two that are as near; NaN stays NaN.
void narrow(int n, const float* x, BFloat16* y);

// Gives tiles of a map, of float or of BFloat16, to loops that work on floats.
template <typename T>
class Reader {
 public:
  Reader(const T* map, int longest) : map_(map), copy_(copies ? static_cast<size_t>(longest) : 0) {}
  // `count` floats, valid until the next call; null if there is no map.
  const float* tile(size_t first, int count) {
    if (!map_) return nullptr;
    if constexpr (copies) {
      widen(count, map_ + first, copy_.data());
      return copy_.data();
    } else {
      return map_ + first;
    }
  }

 private:
  static constexpr bool copies = !std::is_same_v<T, float>;
  const T* map_;
  Aligned<float> copy_;
};

// Brings tiles that loops make in floats to a map.
template <typename T>
class Writer {
 public:
  Writer(T* map, int longest) : map_(map), copy_(copies ? static_cast<size_t>(longest) : 0) {}
  // Calls work(to) with room for `count` floats.
  template <typename Work>
  void tile(size_t first, int count, const Work& work) {
    if constexpr (copies) {
      work(copy_.data());
      narrow(count, copy_.data(), map_ + first);
    } else {
      work(map_ + first);
    }
  }

 private:
  static constexpr bool copies = !std::is_same_v<T, float>;
  T* map_;
  Aligned<float> copy_;
};

}  // namespace evenbit::training
