// How kernels see the values of a network in memory.
//
// Maps are stored with their channels last and padded to blocks of 16, so no vector loop has a remainder: the
// channels past the last real one hold values that nothing reads. A map that a convolution reads with padding has a
// border in memory, zeros for float maps and +1 for bit maps, so no convolution has border cases.
#pragma once

#include <cstdint>

// Always inlined, so that what ISA files share with others never exists as a function compiled for one of them.
#define EVENBIT_INLINE inline __attribute__((always_inline))

namespace evenbit {

constexpr int kBlock = 16;     // channels of a block
constexpr int kWordBits = 64;  // channels of a word of bits

// A float map, or a vector that stands for a map of equal pixels (strides 0). Strides are in floats.
struct FloatView {
  float* base = nullptr;
  int64_t row = 0;
  int64_t pixel = 0;

  EVENBIT_INLINE float* at(int64_t y, int64_t x) const { return base + y * row + x * pixel; }
};

// A constant map whose rows may lie in memory once for several rows.
struct ConstantView {
  const float* const* rows = nullptr;
  int64_t pixel = 0;

  EVENBIT_INLINE const float* at(int64_t y, int64_t x) const { return rows[y] + x * pixel; }
};

// A bit map, written in units of one block: 16 bits. Strides are in blocks.
struct BitView {
  uint16_t* base = nullptr;
  int64_t row = 0;
  int64_t pixel = 0;

  EVENBIT_INLINE uint16_t* at(int64_t y, int64_t x) const { return base + y * row + x * pixel; }
};

// A map of 8-bit integers q = round(clamp(v * multiplier)), written in the form of the kernels that read it: a byte a
// channel, q + 128, or two bytes, q. Strides are in bytes.
struct QuantizedView {
  uint8_t* base = nullptr;
  int64_t row = 0;
  int64_t pixel = 0;
  float multiplier = 0;
};

// Kernels work on tasks [begin, end), which can be computed in any order by any threads.
struct Range {
  int64_t begin;
  int64_t end;
};

}  // namespace evenbit
