// Binary convolution by popcounts of carries, for instruction sets whose operations take three vectors of bits: a
// second kind of tile beside that of binary_popcount.h, faster where kernel rows are long.
//
// There, sum of K products = K - 2 * popcount(a xor w), in units of 32 channels. Here, two units of differing bits, x =
// a xor w and x' = a' xor w', go into a vector of ones, bit by bit, as a full adder does it:
//
//   u = ones xor x,   ones' = u xor x',   carry = u ? x' : ones = u ? not ones' : ones
//
// so that only the carries have to be counted: popcount(x) + popcount(x') = 2 * popcount(carry) + popcount(ones')
// - popcount(ones). With xors of three vectors, two units take five operations; counting both of them takes six.
// (The idea is that of Harley and Seal, in Warren, Hacker's Delight, 2nd edition, 2012, section 5-1.)
#pragma once

#include <type_traits>

#include "kernels/binary_popcount.h"

namespace evenbit {
namespace {

// How the bits in which a and w differ go into a vector of bits.
struct WholeUnit {
  using Unit = uint32_t;
  static U into(U bits, U a, U w) { return xor3(bits, a, w); }
};

struct HalfOfUnit {
  using Unit = HalfUnit;
  static U into(U bits, U a, U w) { return bits ^ xor_half(a, w); }
};

template <int kP, int kB>
struct CarrySums {
  U ones[kB][kP], carries[kB][kP];

  // The units First and Second of each pixel, `step` bytes apart, with those of the weights; Second may be void.
  template <class First, class Second, int kLanesTogether>
  EVENBIT_INLINE void add(const uint8_t* at, int64_t step, const uint32_t* weight) {
    constexpr bool kTwo = !std::is_void_v<Second>;
    using Last = std::conditional_t<kTwo, Second, First>;
    U w[kB], w2[kB];
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      w[b] = load_units(weight + b * kBlock);
      opaque(w[b]);  // else it would be loaded again for each pixel
      if constexpr (kTwo) {
        w2[b] = load_units(weight + kLanesTogether + b * kBlock);
        opaque(w2[b]);
      }
    }
    EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
      const uint8_t* const pixel = at + p * step;
      const U a = broadcast_unit(unit_at<typename First::Unit>(pixel));
      const U a2 = broadcast_unit(kTwo ? unit_at<typename Last::Unit>(pixel + sizeof(uint32_t)) : 0);
      EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
        const U u = First::into(ones[b][p], a, w[b]);
        const U next = kTwo ? Last::into(u, a2, w2[b]) : u;
        carries[b][p] = add_popcount(carries[b][p], carry(u, next, ones[b][p]));
        ones[b][p] = next;
      }
    }
  }
};

template <int kTilePixels, int kTileBlocks>
struct CarryTile {
  static_assert(kVectors == 1, "a block is a vector");
  static constexpr int kPixels = kTilePixels;
  static constexpr int kBlocks = kTileBlocks;
  static constexpr int kRestBlocks = 1;
  static constexpr int kRestPixels = kPixels * kBlocks;
  static constexpr int kLanesTogether = kTileBlocks * kBlock;  // outputs whose weights for a step lie together

  template <int kP, int kB>
  static void run(const BinaryConv& op, int y, int x, int block) {
    CarrySums<kP, kB> sums;
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) sums.ones[b][p] = sums.carries[b][p] = zero_counts();
    }
    const uint8_t* in = op.in + int64_t{y} * op.stride_y * op.in_row + int64_t{x} * op.stride_x * op.in_pixel;
    const int64_t step = int64_t{op.stride_x} * op.in_pixel;
    const int64_t group_stride = int64_t{op.kh} * Differences::steps(op) * kLanesTogether;
    const uint32_t* weight =
        static_cast<const uint32_t*>(op.weight) + block / kBlocks * group_stride + block % kBlocks * kBlock;
    prefetch<kP, kB>(op.tail, y, x, block);
    for (int ky = 0; ky < op.kh; ++ky, in += op.in_row) {
      const uint8_t* at = in;
      for (int j = 0; j + 2 <= op.run; j += 2, at += 2 * sizeof(uint32_t), weight += 2 * kLanesTogether) {
        sums.template add<WholeUnit, WholeUnit, kLanesTogether>(at, step, weight);
      }
      if (op.run % 2 && op.half) {
        sums.template add<WholeUnit, HalfOfUnit, kLanesTogether>(at, step, weight);
      } else if (op.run % 2) {
        sums.template add<WholeUnit, void, kLanesTogether>(at, step, weight);
      } else if (op.half) {
        sums.template add<HalfOfUnit, void, kLanesTogether>(at, step, weight);
      }
      weight += (op.run % 2 + (op.half ? 1 : 0)) * kLanesTogether;
    }
    EVENBIT_UNROLL for (int b = 0; b < kB; ++b) {
      BlockOf tile[kP];
      EVENBIT_UNROLL for (int p = 0; p < kP; ++p) {
        const U twice = add_units(sums.carries[b][p], sums.carries[b][p]);
        tile[p].v[0] = dot_from_count(op.fan_in, add_popcount(twice, sums.ones[b][p]));
      }
      finish<kP>(op.tail, tile, y, x, block + b);
    }
  }
};

// The inner step of a tile on registers alone, `rounds` times; returns the number of 1-bit multiply-adds.
int64_t carry_limit(int64_t rounds) {
  constexpr int kSums = kCarryPixels * kCarryBlocks;
  U ones[kSums], carries[kSums], a = broadcast_unit(3), w = broadcast_unit(5);
  EVENBIT_UNROLL for (int i = 0; i < kSums; ++i) ones[i] = carries[i] = broadcast_unit(static_cast<uint32_t>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    EVENBIT_UNROLL for (int i = 0; i < kSums; ++i) {
      opaque(a);
      opaque(w);
      const U u = xor3(ones[i], a, w), next = xor3(u, w, a);
      carries[i] = add_popcount(carries[i], carry(u, next, ones[i]));
      ones[i] = next;
    }
  }
  EVENBIT_UNROLL for (int i = 0; i < kSums; ++i) {
    opaque(ones[i]);
    opaque(carries[i]);
  }
  return rounds * kSums * kLanes * 2 * kStepBits;
}

}  // namespace
}  // namespace evenbit
