// Convolutions whose inner step multiplies a unit of 32 bits of the input with a unit of each output's weights.
//
// A step loads the units of all outputs in the tile once (one output a lane), broadcasts each pixel's unit, and adds
// the products lane by lane. The weights of a group of blocks stay in the first-level cache while the map passes by. A
// Product says what a unit is: start(op, channel), add(sum, a, w) for an `a` that is broadcast from a Unit in memory,
// finish(op, sum), the accumulator as floats, and how many steps(op) a kernel row takes. Where a row may end in half a
// unit, Product::Half says how that is added; else it is void.
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/rows.h"
#include "kernels/tail.h"

#ifdef EVENBIT_BODIES
namespace evenbit {
namespace {

template <typename Unit>
uint32_t unit_at(const uint8_t* p) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "units are made up of bytes, the lowest first");
  Unit unit;
  std::memcpy(&unit, p, sizeof unit);
  return unit;
}

// One step: the unit of each pixel, `step` bytes apart, with those of the weights.
template <class Product, int kP, int kB>
EVENBIT_INLINE void add_step(U (&sums)[kB][kP][kVectors], const uint8_t* at, int64_t step, const uint32_t* weight) {
  U w[kB][kVectors];
  EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
    EVENBIT_EACH(n) {
      w[b][n] = load_units(weight + b * kBlock + n * kLanes);
      opaque(w[b][n]);  // else it would be loaded again for each pixel
    }
  }
  EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
    const U a = broadcast_unit(unit_at<typename Product::Unit>(at + p * step));
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      EVENBIT_EACH(n) sums[b][p][n] = Product::add(sums[b][p][n], a, w[b][n]);
    }
  }
}

template <class Product, int kTilePixels, int kTileBlocks>
struct UnitTile {
  static constexpr int kPixels = kTilePixels;
  static constexpr int kBlocks = kTileBlocks;
  static constexpr int kRestBlocks = 1;
  // As many sums, where a block is one register; elsewhere there are enough with fewer pixels.
  static constexpr int kRestPixels = kVectors == 1 ? kPixels * kBlocks : kPixels;
  static constexpr int kLanesTogether = kTileBlocks * kBlock;  // outputs whose weights for a step lie together

  template <int kP, int kB, class Op>
  static void run(const Op& op, int y, int x, int block) {
    U sums[kB][kP][kVectors];
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      EVENBIT_EACH(n) {
        const U start = Product::start(op, (block + b) * kBlock + n * kLanes);
        EVENBIT_UNROLL for (int p = 0; p < kP; ++p) sums[b][p][n] = start;
      }
    }
    const uint8_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
    const int64_t step = int64_t{op.stride_x} * op.in_pixel;
    const int64_t group_stride = int64_t{op.kh} * Product::steps(op) * kLanesTogether;
    const uint32_t* weight =
        static_cast<const uint32_t*>(op.weight) + block / kBlocks * group_stride + block % kBlocks * kBlock;
    prefetch<kP, kB>(op.tail, y, x, block);
    for (int ky = 0; ky < op.kh; ++ky, in += op.in_row) {
      const uint8_t* at = in;
      for (int j = 0; j < op.run; ++j, at += sizeof(uint32_t), weight += kLanesTogether) {
        add_step<Product>(sums, at, step, weight);
      }
      if constexpr (!std::is_void_v<typename Product::Half>) {
        if (op.half) {
          add_step<typename Product::Half>(sums, at, step, weight);
          weight += kLanesTogether;
        }
      }
    }
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      BlockOf tile[kP];
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) { EVENBIT_EACH(n) tile[p].v[n] = Product::finish(op, sums[b][p][n]); }
      finish<kP>(op.tail, tile, y, x, block + b);
    }
  }
};

}  // namespace
}  // namespace evenbit
#endif
